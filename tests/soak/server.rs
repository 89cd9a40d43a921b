//! An inference server: its answers by path, its models as they are at the moment.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::raw_backend::{Peer, RawBackend};

/// How many events a stream has, and the time between two.
pub const EVENTS: usize = 5;
const PACE: Duration = Duration::from_millis(20);
/// The length of a large answer, in bytes.
pub const BLOB: usize = 256 << 10;

type Models = Arc<Mutex<Vec<String>>>;

pub struct Server {
    backend: RawBackend,
    models: Models,
}

impl Server {
    pub async fn start(models: &[&str]) -> Self {
        let models: Models = Arc::new(Mutex::new(models.iter().map(|model| (*model).to_owned()).collect()));
        let listed = Arc::clone(&models);
        let backend = RawBackend::start(move |peer| serve(peer, Arc::clone(&listed))).await;
        Self { backend, models }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.backend.address()
    }

    /// From now on it lists these.
    pub fn list(&self, models: &[&str]) {
        *self.models.lock().unwrap() = models.iter().map(|model| (*model).to_owned()).collect();
    }

    /// Ends at once, with every connection.
    pub async fn crash(&mut self) {
        self.backend.end().await;
    }
}

async fn serve(mut peer: Peer, models: Models) -> io::Result<()> {
    loop {
        let head = peer.head_unrecorded().await?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        match target.split('?').next().unwrap_or_default() {
            "/v1/models" => {
                let listed: Vec<_> = models.lock().unwrap().iter().cloned().collect();
                peer.list(&listed).await?;
            }
            "/v1/realtime" => return echo(&mut peer).await,
            "/v1/late" => {
                // Until the client leaves: it gets no answer.
                peer.ended().await;
                return Ok(());
            }
            path => {
                let (body, _) = peer.body(&head).await?;
                match path {
                    "/v1/stream" => stream(&mut peer).await?,
                    "/v1/blob" => peer.answer(vec![b'x'; BLOB]).await?,
                    _ => peer.answer(body.len().to_string()).await?,
                }
            }
        }
    }
}

async fn stream(peer: &mut Peer) -> io::Result<()> {
    peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    for _ in 0..EVENTS {
        peer.send_chunk("data: {}\n\n").await?;
        tokio::time::sleep(PACE).await;
    }
    peer.send("0\r\n\r\n").await
}

async fn echo(peer: &mut Peer) -> io::Result<()> {
    peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
    loop {
        let said = peer.some().await?;
        peer.send(said).await?;
    }
}
