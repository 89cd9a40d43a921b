//! The adapters of the proxy: what touches the world. `domain` decides, `ports` speaks, `app` runs; each is a crate where
//! it stands.

pub mod adapters;
