//! The model finder, seen from outside: tables of bodies, generated bodies, and other parsers as judges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ask;
mod bodies;
#[path = "../../fuzz/checks.rs"]
mod checks;
mod forms;
mod generated;
mod json_bodies;
mod oracle;
mod seeds;

/// Where `checks` looks for the domain.
mod domain {
    pub use lw_inference_proxy::domain::{finder, model_name};
}
