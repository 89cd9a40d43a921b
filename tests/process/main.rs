//! The real binary as a process: signals, limits, memory, what it prints, what of its environment it obeys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/fake_engine/mod.rs"]
mod fake_engine;

mod clock;
mod environment;
mod limits;
mod memory;
mod restarts;
mod signals;

use support::raw_backend::{Peer, RawBackend};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// The head of an answer that streams events.
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const MODEL: &str = r#"{"model":"m"}"#;

/// A backend that lists the model `m`; every other request is the script's, with its head already read.
async fn serving<F, Fut>(script: F) -> RawBackend
where
    F: Fn(Peer, String) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = std::io::Result<()>> + Send + 'static,
{
    RawBackend::start(move |mut peer| {
        let script = script.clone();
        async move {
            loop {
                let head = peer.head_unrecorded().await?;
                if !head.starts_with("GET /v1/models ") {
                    return script(peer, head).await;
                }
                peer.list(&["m"]).await?;
            }
        }
    })
    .await
}

/// A backend that begins a stream and holds it until `end` is given.
async fn holding(end: &support::raw_backend::Signal) -> RawBackend {
    let end = end.clone();
    serving(move |mut peer, head| {
        let end = end.clone();
        async move {
            peer.rest(head).await?;
            peer.send(EVENTS).await?;
            peer.send_chunk("data: one\n\n").await?;
            end.until_given().await;
            peer.send_chunk("data: [DONE]\n\n").await?;
            peer.send("0\r\n\r\n").await
        }
    })
    .await
}
