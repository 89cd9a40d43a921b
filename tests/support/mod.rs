//! What several test files use.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
// The port's error carries the request back, and is that large.
#![allow(clippy::result_large_err)]

pub mod bodies;
pub mod corpus_case;
pub mod dice;
pub mod fake_container_source;
pub mod fake_upstream;
pub mod http_stage;
pub mod nginx;
pub mod not_run;
pub mod proxy_process;
pub mod raw_backend;
pub mod raw_client;
pub mod scripted;
pub mod upstream_contract;

pub use not_run::not_run;
