//! The one file of the application that is fuzzed.

#[path = "../../src/app/target.rs"]
pub mod target;
