//! One backend for all of them: it streams, floods, or reads an upload, as the path says.

use std::time::Duration;

use super::crowd::Ends;
use super::support::raw_backend::{Peer, RawBackend};

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// What is sent to readers that stall, at most, in bytes: more than all buffers on the way hold.
const FLOOD: usize = 64 << 20;

/// Streams wait for the end that is valid when they begin.
pub async fn start(ends: &Ends) -> RawBackend {
    let ends = ends.clone();
    RawBackend::start(move |mut peer| {
        let ends = ends.clone();
        async move {
            loop {
                let head = peer.head_unrecorded().await?;
                let path = head.split(' ').nth(1).unwrap_or_default();
                match path {
                    "/v1/models" => peer.list(&["m"]).await?,
                    "/v1/stream" => {
                        peer.body(&head).await?;
                        stream(&mut peer, &ends).await?;
                    }
                    "/v1/flood" => {
                        peer.body(&head).await?;
                        flood(&mut peer).await?;
                    }
                    _ => {
                        let (body, _) = peer.body(&head).await?;
                        peer.answer(body.len().to_string()).await?;
                    }
                }
            }
        }
    })
    .await
}

async fn stream(peer: &mut Peer, ends: &Ends) -> std::io::Result<()> {
    let end = ends.now();
    peer.send(STREAM).await?;
    peer.send_chunk("data: one\n\n").await?;
    end.until_given().await;
    peer.send_chunk("data: [DONE]\n\n").await?;
    peer.send("0\r\n\r\n").await
}

/// Goes on until the reader leaves.
async fn flood(peer: &mut Peer) -> std::io::Result<()> {
    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {FLOOD}\r\n\r\n")).await?;
    peer.flood(Duration::from_secs(3600)).await.map(drop)
}
