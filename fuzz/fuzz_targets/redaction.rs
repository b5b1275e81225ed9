#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inferwatch_fuzz::claims::hold("redaction", data));
