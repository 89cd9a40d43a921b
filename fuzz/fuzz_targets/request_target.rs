//! Fuzzes the check of a request's target; see `src/checks/request_target.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lw_inference_proxy_fuzz::checks::request_target(input));
