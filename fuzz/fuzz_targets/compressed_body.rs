//! Fuzzes the search for the model in compressed bodies; see `src/checks/compressed_body.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lw_inference_proxy_fuzz::checks::compressed_body(input));
