//! The domain alone: it compiles with nothing but the standard library, and `clippy.toml` beside this member bans the
//! parts of that which it must not use.

#[path = "../../../../src/domain/mod.rs"]
pub mod domain;
