//! Fuzzes the model finder for JSON bodies; see `checks.rs` for what must hold.
#![no_main]

#[allow(dead_code, unused_imports)]
#[path = "../checks.rs"]
mod checks;
#[allow(dead_code, unused_imports)]
#[path = "../../src/domain/mod.rs"]
mod domain;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::model_finder_json(input));
