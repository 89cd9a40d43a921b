//! What several test files use.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

pub mod bodies;
pub mod fake_upstream;
pub mod raw_backend;
pub mod upstream_contract;
