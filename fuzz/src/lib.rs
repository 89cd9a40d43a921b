//! The parts of the proxy that are fuzzed, compiled from their own files, and what must hold of them.
#![allow(dead_code, unused_imports)]

mod adapters;
mod app;
pub mod checks;
#[path = "../../src/domain/mod.rs"]
mod domain;
mod ports;
