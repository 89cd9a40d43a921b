//! What tests share: mocks of the ports, channels that behave in one way, bodies, and a builder of containers.

pub mod bodies;
pub mod channels;
pub mod container;
pub mod mocks;
