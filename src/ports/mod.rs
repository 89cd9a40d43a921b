//! Ports: container discovery, upstream client, telemetry, and the activity of servers.
//!
//! The documentation of a trait is its contract. Every clause is a named test in the contract suite of the port, which
//! the fake and the real adapter both pass.

pub mod activity;
pub mod container_source;
pub mod telemetry;
pub mod upstream;
