#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| inferwatch_fuzz::claims::hold("bedrock", data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    inferwatch_fuzz::mutate::either(data, size, max_size, seed, fuzzer_mutate)
});
