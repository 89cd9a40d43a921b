//! Fuzzes the model finder for forms; see `src/checks/finder.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lw_inference_proxy_fuzz::checks::model_finder_multipart(input));
