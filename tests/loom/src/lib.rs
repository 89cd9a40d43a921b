//! The domain's gate, compiled against loom's atomics. Its own tests stay with the domain: loom's need a model around
//! them.

#[path = "../../../src/domain/gate.rs"]
pub mod gate;

/// Stands where the domain has the standard atomics.
pub mod atomic {
    pub use loom::sync::atomic::{AtomicUsize, Ordering};
}
