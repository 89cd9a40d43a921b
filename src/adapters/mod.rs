//! What touches the world. Adapters never import each other; only `http` drives `app`; `cli` and `otel` read its settings. What several of them use stands
//! beside them: `conn_waker`, `own_container`, `watches`.

pub mod cli;
mod conn_waker;
pub mod docker;
pub mod http;
#[cfg(feature = "otel")]
pub mod otel;
#[cfg(not(feature = "otel"))]
#[path = "otel_off.rs"]
pub mod otel;
pub mod own_container;
pub mod samples;
pub mod static_backends;
pub mod upstream;
mod watches;
