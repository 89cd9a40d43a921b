//! The clients: many at a time come, stay, and leave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;

use super::support::raw_backend::{Signal, soon};
use super::support::raw_client::{End, RawClient, post};

/// How many come at a time: fewer than wait to be accepted at most.
const AT_A_TIME: usize = 64;
/// What a client's system keeps for it unread, in bytes; the least that systems give. What stalls is then the proxy.
const ROOM: u32 = 4096;
const MODEL: &str = r#"{"model":"m"}"#;
/// An upload begins and ends with these; between them is one long text.
const UPLOAD: (&str, &str) = (r#"{"model":"m","x":""#, r#""}"#);
/// A slow upload sends a piece of this size in each pause.
const PIECE_BYTES: usize = 1024;
const PAUSE: Duration = Duration::from_millis(200);

/// When what the crowd does ends; each crowd has an end of its own.
#[derive(Clone, Default)]
pub struct Ends(Arc<Mutex<Signal>>);

impl Ends {
    /// A new end for what begins from here on.
    pub fn renew(&self) -> Signal {
        let end = Signal::new();
        *self.0.lock().unwrap() = end.clone();
        end
    }

    pub fn now(&self) -> Signal {
        self.0.lock().unwrap().clone()
    }
}

pub struct Crowd {
    address: SocketAddr,
    streams: Vec<RawClient>,
    /// Those that never read, and those that never say a word.
    others: Vec<RawClient>,
    uploads: JoinSet<()>,
}

impl Crowd {
    pub fn before(address: SocketAddr) -> Self {
        Self { address, streams: Vec::new(), others: Vec::new(), uploads: JoinSet::new() }
    }

    /// Opens so many connections, `AT_A_TIME`, and does the same on each.
    async fn come<Fut>(&self, count: usize, first: impl Fn(RawClient) -> Fut + Clone) -> Vec<RawClient>
    where
        Fut: Future<Output = RawClient>,
    {
        let come = (0..count).map(|_| {
            let first = first.clone();
            async move { first(connected(self.address).await).await }
        });
        stream::iter(come).buffer_unordered(AT_A_TIME).collect().await
    }

    pub async fn open_streams(&mut self, count: usize) {
        let opened = self.come(count, |mut client| async move {
            client.send(post("/v1/stream", MODEL)).await;
            assert_eq!(client.head().await.expect("an answer").status, 200);
            assert_eq!(client.next_chunk().await, Ok(Some(b"data: one\n\n".to_vec())));
            client
        });
        self.streams = opened.await;
    }

    /// Asks for much, and reads no more than the head.
    pub async fn stall(&mut self, count: usize) {
        let stalled = self.come(count, |mut client| async move {
            client.send(post("/v1/flood", MODEL)).await;
            assert_eq!(client.head().await.expect("an answer").status, 200);
            client
        });
        self.others.extend(stalled.await);
    }

    /// Begins uploads that go on, a little at a time, until the end.
    pub async fn upload_slowly(&mut self, count: usize, end: &Signal) {
        let begun = self.come(count, |mut client| async move {
            client.send("POST /v1/upload HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
            send_chunk(&mut client, UPLOAD.0).await;
            client
        });
        for client in begun.await {
            self.uploads.spawn(upload(client, end.clone()));
        }
    }

    /// Connections on which nothing is said.
    pub async fn say_nothing(&mut self, count: usize) {
        self.others = self.come(count, |client| async move { client }).await;
    }

    /// How many of so many more connections are refused.
    pub async fn told_503(&self, count: usize) -> usize {
        let mut told = 0;
        for _ in 0..count {
            let mut client = RawClient::connect(self.address).await;
            told += usize::from(client.head().await.is_some_and(|answer| answer.status == 503));
        }
        told
    }

    /// Waits until the proxy has closed every connection that said nothing.
    pub async fn are_closed(&mut self, within: Duration) {
        let closed = async {
            for mut client in self.others.drain(..) {
                let mut byte = [0; 1];
                let read = tokio::io::AsyncReadExt::read(&mut client.stream, &mut byte).await;
                assert!(matches!(read, Ok(0) | Err(_)), "{read:?}: nothing is said on it");
            }
        };
        tokio::time::timeout(within, closed).await.expect("every silent connection is closed");
    }

    /// The end was given: streams and uploads are complete, and the others go without a word.
    pub async fn leave(mut self) {
        self.others.clear();
        for mut client in self.streams.drain(..) {
            assert_eq!(client.next_chunk().await, Ok(Some(b"data: [DONE]\n\n".to_vec())));
            assert_eq!(client.next_chunk().await, Ok(None));
        }
        while let Some(done) = soon("the end of an upload", self.uploads.join_next()).await {
            done.expect("an upload that is answered");
        }
    }
}

async fn connected(address: SocketAddr) -> RawClient {
    RawClient::connect_with_room(address, ROOM).await.expect("a connection")
}

async fn upload(mut client: RawClient, end: Signal) {
    let piece = "x".repeat(PIECE_BYTES);
    let mut sent = UPLOAD.0.len() + UPLOAD.1.len();
    while tokio::time::timeout(PAUSE, end.until_given()).await.is_err() {
        send_chunk(&mut client, &piece).await;
        sent += piece.len();
    }
    send_chunk(&mut client, UPLOAD.1).await;
    client.send("0\r\n\r\n").await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text(), answer.end), (200, sent.to_string(), End::Complete));
}

async fn send_chunk(client: &mut RawClient, text: &str) {
    client.send(format!("{:x}\r\n{text}\r\n", text.len())).await;
}
