//! Servers as they are met: one that does one thing at a time, one that asks for its own name, one that closes its
//! connections without a word, and one that speaks HTTP/1.0. Each lists the model `m`, answers `/v1/stream` with a
//! stream of events, and anything else with the length of the body that came.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::raw_backend::{Peer, RawBackend};

/// How a scripted server differs from one that takes everything at once and keeps its connections.
#[derive(Debug, Clone)]
pub struct Manner {
    pub speaks: Speaks,
    pub works: Works,
    pub closes: Closes,
    /// The only `Host` it knows, with the status that others get.
    pub host: Option<(String, u16)>,
    /// How many events a stream has, and the time before each.
    pub events: usize,
    pub pace: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http11,
    /// Streams end with the connection.
    Http10,
}

/// What waits while it generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Works {
    AllAtOnce,
    /// One connection at a time: a second one is not read before the first one has ended.
    OneConnection,
    /// The list of models waits for the end of a stream.
    ListWaits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closes {
    Never,
    /// Without a word, a moment after each stream.
    AfterStreams,
    /// Without a word, a moment after each response.
    AfterEach,
}

impl Default for Manner {
    fn default() -> Self {
        let (speaks, works, closes) = (Speaks::Http11, Works::AllAtOnce, Closes::Never);
        Self { speaks, works, closes, host: None, events: 5, pace: Duration::from_millis(20) }
    }
}

/// One event of a stream.
pub const EVENT: &str = "data: {}\n\n";
/// The time between a response and a close that was not announced.
const CLOSES_AFTER: Duration = Duration::from_millis(3);

/// Starts such a server.
pub async fn start(manner: Manner) -> RawBackend {
    let (manner, one) = (Arc::new(manner), Arc::new(Mutex::new(())));
    RawBackend::start(move |peer| serve(peer, Arc::clone(&manner), Arc::clone(&one))).await
}

async fn serve(mut peer: Peer, manner: Arc<Manner>, one: Arc<Mutex<()>>) -> io::Result<()> {
    let _whole = if manner.works == Works::OneConnection { Some(one.lock().await) } else { None };
    loop {
        let request = peer.request().await?;
        let (line, host) = (request.line(), request.header("host").unwrap_or_default());
        if let Some((own, status)) = &manner.host
            && own != host
        {
            peer.send(format!("HTTP/1.1 {status} Host\r\ncontent-length: 0\r\n\r\n")).await?;
            continue;
        }
        let streams = line.contains("/stream");
        if streams {
            let _busy = if manner.works == Works::ListWaits { Some(one.lock().await) } else { None };
            stream(&mut peer, &manner).await?;
        } else if line.starts_with("GET /v1/models ") {
            let _idle = if manner.works == Works::ListWaits { Some(one.lock().await) } else { None };
            sized(&mut peer, &manner, r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#).await?;
        } else {
            sized(&mut peer, &manner, &request.body.len().to_string()).await?;
        }
        match (manner.speaks, manner.closes, streams) {
            (Speaks::Http10, ..) => return Ok(()),
            (_, Closes::AfterEach, _) | (_, Closes::AfterStreams, true) => {
                tokio::time::sleep(CLOSES_AFTER).await;
                return Ok(());
            }
            _ => {}
        }
    }
}

async fn sized(peer: &mut Peer, manner: &Manner, body: &str) -> io::Result<()> {
    let version = if manner.speaks == Speaks::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    peer.send(format!("{version} 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await
}

async fn stream(peer: &mut Peer, manner: &Manner) -> io::Result<()> {
    let is_old = manner.speaks == Speaks::Http10;
    let head = match is_old {
        true => "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        false => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    };
    peer.send(head).await?;
    for _ in 0..manner.events {
        tokio::time::sleep(manner.pace).await;
        match is_old {
            true => peer.send(EVENT).await?,
            false => peer.send_chunk(EVENT).await?,
        }
    }
    if is_old { Ok(()) } else { peer.send("0\r\n\r\n").await }
}
