//! What touches the world. Adapters never import each other; only `http` drives `app`.

pub mod cli;
pub mod docker;
pub mod fixed;
pub mod http;
pub mod samples;
pub mod upstream;
