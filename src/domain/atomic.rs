//! The atomics that the domain uses, named in one place so that a model checker can put its own there.

pub use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
