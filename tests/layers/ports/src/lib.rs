//! The ports on the domain: they compile with the vocabulary of HTTP and bare traits, and nothing that does anything.

#[path = "../../../../src/domain/mod.rs"]
pub mod domain;
#[path = "../../../../src/ports/mod.rs"]
pub mod ports;
