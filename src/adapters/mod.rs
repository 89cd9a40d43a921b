//! What touches the world. Adapters never import each other; only `http` drives `app`.

pub mod docker;
