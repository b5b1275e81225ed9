#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inferwatch_fuzz::claims::hold("delta_log", data));
