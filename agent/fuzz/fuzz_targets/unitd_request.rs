//! What a stolen agent may send to the unit helper, which is root: names and limits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenement_agent::unitd::fuzz_request(data));
