//! What of the contract of the way to backends shows only on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod asking;
mod breaking;
mod connections;
mod flowing;
mod framing;
mod keeping;
mod switching;

use std::sync::Arc;
use std::time::Duration;

use lw_inference_proxy::adapters::upstream::{HttpUpstream, UpstreamSettings};
use ports::upstream::{Channel, UpstreamClient};
use support::raw_backend::RawBackend;
use support::upstream_contract::target;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A channel to this backend, with the defaults, but for what it would have to learn of the backend first.
fn channel(backend: &RawBackend) -> Arc<dyn Channel> {
    channel_with(backend, trusting())
}

/// Connections are used again at once, until one is closed without a word.
fn trusting() -> UpstreamSettings {
    UpstreamSettings { probation: Duration::ZERO, ..UpstreamSettings::default() }
}

fn channel_with(backend: &RawBackend, settings: UpstreamSettings) -> Arc<dyn Channel> {
    HttpUpstream::new(settings).unwrap().open(&target(backend.address()))
}

/// Connections that wait no longer than this for their next request.
fn idle_for(millis: u64) -> UpstreamSettings {
    UpstreamSettings { idle_timeout: Duration::from_millis(millis), ..trusting() }
}
