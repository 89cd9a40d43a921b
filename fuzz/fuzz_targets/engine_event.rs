//! Fuzzes the reading of the engine's event stream; see `src/checks/engine_event.rs` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lw_inference_proxy_fuzz::checks::engine_event(input));
