//! The use cases of the application, on mocks of its ports and under paused time.
//!
//! Not here, because they need a socket: who keeps a client's connection open, and when the server reports that it has
//! finished (`tests/http`, `tests/process`). A tunnel here would be a pipe, of which `tests/http/tunnels.rs` says more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod discovery;
mod drains;
mod log;
mod records;
mod retries;
mod stage;
mod starting;
mod stopping;
