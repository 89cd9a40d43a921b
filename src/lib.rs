//! A proxy that turns the inference servers of a Docker host into one endpoint, routed by model.
//!
//! The layers, from the inside out: [`domain`] decides, [`ports`] speaks, `app` runs, [`adapters`] touches the world.

pub mod adapters;
pub mod app;
pub mod domain;
pub mod ports;
