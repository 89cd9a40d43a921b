//! The doors of the proxy: what it is told of containers, how it reaches backends, what it reports; and what the
//! application tells the adapters of the requests in flight.
//!
//! Each trait's documentation is its contract. Every clause is a named test in the port's contract suite, which the
//! fake and the real adapter both pass.

pub mod activity;
pub mod container_source;
pub mod telemetry;
pub mod upstream;
