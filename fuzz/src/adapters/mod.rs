//! The fuzzed files of the adapters, which are private to the proxy. What they take from their neighbours and what is
//! itself not fuzzed is put in here in small: an error of the engine, and an answer to the client.

#[path = "../../../src/adapters/bell.rs"]
mod bell;
pub mod docker;
pub mod http;
