//! The HTTP side end to end on loopback: real sockets on both sides of the real proxy, in one process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod deadlines;
mod endings;
mod errors;
mod faults;
mod headers;
mod leaving;
mod lingering;
mod manners;
mod models;
mod old_versions;
mod own_answers;
mod paths;
mod replica_faults;
mod replicas;
mod retries;
mod stopping;
mod streams;
mod tunnels;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// The head of an answer that streams events.
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const MODEL: &str = r#"{"model":"m"}"#;
