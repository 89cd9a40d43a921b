//! Fuzzes the reading of a container's labels; see `src/checks/labels.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lw_inference_proxy_fuzz::checks::labels(input));
