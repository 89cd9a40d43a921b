//! Everything that does I/O: the implementations of the ports, the server, the command line.
//!
//! Adapters never import each other; what several of them use is in `shared` and `status`. Only `http` drives the app;
//! `cli` and `status` know its reports, `cli` and `otel` its settings.
#![allow(missing_docs, reason = "the composition root alone uses these items; most names say all that a doc would")]

pub mod cli;
pub mod docker;
pub mod http;
#[cfg(feature = "otel")]
pub mod otel;
#[cfg(not(feature = "otel"))]
#[path = "otel_off.rs"]
pub mod otel;
pub mod samples;
pub mod shared;
pub mod static_backends;
mod status;
pub mod upstream;
