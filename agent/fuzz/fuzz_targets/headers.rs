//! What becomes of header fields: see `agent/src/proxy/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenement_agent::proxy::fuzz_headers(data));
