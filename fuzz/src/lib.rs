//! What must hold of the parts of the proxy that are fuzzed.

pub mod checks;
