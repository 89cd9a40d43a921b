//! The atomics of the domain, in one place so that a model checker can replace them.

pub use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
