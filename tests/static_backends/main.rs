//! Backends that are no containers, end to end on loopback: what their answers, their silence and their load mean for the
//! requests that they carry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod busy;
mod itself;
mod names;
mod stage;
mod tls;

/// The head of an answer that streams events.
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
