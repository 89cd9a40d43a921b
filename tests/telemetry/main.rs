//! What a collector receives of the proxy's work, over gRPC and over HTTP.
#![cfg(feature = "otel")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod bad_collector;
mod every_end;
mod last_telemetry;
mod off;
mod otlp_receiver;
mod proxy;
mod while_it_runs;

use otlp_receiver::Receiver;
use serde_json::Value;
use support::raw_backend::{Peer, RawBackend, Signal, soon};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const MODELS: &str = r#"{"object":"list","data":[{"id":"org/model"}]}"#;
const CHAT: &str = r#"{"model":"org/model","messages":[]}"#;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A backend with one model. A request's path says how it answers; `held` streams until `release`.
async fn backend(release: Signal) -> RawBackend {
    RawBackend::start(move |mut peer| {
        let release = release.clone();
        async move {
            loop {
                let request = peer.request().await?;
                match request.line() {
                    line if line.contains("/v1/models") => json_answer(&mut peer, MODELS).await?,
                    line if line.contains("how=stream") => {
                        stream(&mut peer).await?;
                        peer.send_chunk("data: [DONE]\n\n").await?;
                        peer.send("0\r\n\r\n").await?;
                    }
                    line if line.contains("how=held") => {
                        stream(&mut peer).await?;
                        release.given().await;
                    }
                    line if line.contains("how=broken") => {
                        stream(&mut peer).await?;
                        return peer.reset();
                    }
                    _ => json_answer(&mut peer, r#"{"ok":true}"#).await?,
                }
            }
        }
    })
    .await
}

async fn json_answer(peer: &mut Peer, body: &str) -> std::io::Result<()> {
    let length = body.len();
    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"))
        .await
}

async fn stream(peer: &mut Peer) -> std::io::Result<()> {
    peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    peer.send_chunk("data: {}\n\n").await
}

/// Waits for the first event of a stream.
async fn first_event(socket: &mut tokio::net::TcpStream) {
    let mut seen = Vec::new();
    soon("an event", async {
        while !seen.windows(6).any(|bytes| bytes == b"data: ") {
            assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
        }
    })
    .await;
}

/// Exports soon, so that tests need not wait.
const QUICK: [(&str, &str); 2] = [("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_METRIC_EXPORT_INTERVAL", "100")];

fn quick<'a>(endpoint: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&QUICK[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)], more].concat()
}

fn outcomes(receiver: &Receiver) -> Vec<Value> {
    receiver.spans_of("SERVER").iter().map(|span| span["attributes"]["proxy.outcome"].clone()).collect()
}

fn ended(receiver: &Receiver, outcome: &str) -> Value {
    let spans = receiver.spans_of("SERVER");
    let found = spans.iter().find(|span| span["attributes"]["proxy.outcome"] == outcome);
    found.unwrap_or_else(|| panic!("no span of a request that ended {outcome}: {spans:#?}")).clone()
}

/// A collector that takes connections and never says a word.
async fn mute() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}
