//! The application on the ports and the domain: it compiles without any library that touches the world.

#[path = "../../../../src/app/mod.rs"]
pub mod app;
#[path = "../../../../src/domain/mod.rs"]
pub mod domain;
#[path = "../../../../src/ports/mod.rs"]
pub mod ports;
