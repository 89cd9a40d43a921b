//! What touches the world. Adapters never import each other; only `http` drives `app`; `cli` and `otel` read its settings. What several of them use stands
//! beside them: `bell`, `own_container`, `watches`.

mod bell;
pub mod cli;
pub mod docker;
pub mod fixed;
pub mod http;
#[cfg(feature = "otel")]
pub mod otel;
#[cfg(not(feature = "otel"))]
#[path = "otel_off.rs"]
pub mod otel;
pub mod own_container;
pub mod samples;
pub mod upstream;
mod watches;
