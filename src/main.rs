//! Composes the proxy.

fn main() {}
