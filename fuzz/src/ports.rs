//! The one port that the fuzzed adapters name.

#[path = "../../src/ports/upstream.rs"]
pub mod upstream;
