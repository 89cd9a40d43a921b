//! One connection, as its script sees it: what is read and sent, byte for byte.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Seen;
use super::request::{RawRequest, header};
use super::waiting::soon;

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Fin,
    Reset,
}

/// One connection, as its script sees it.
pub struct Peer {
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
    /// Which one it is, from 0.
    pub connection: usize,
    pub(super) seen: watch::Sender<()>,
    pub(super) state: Arc<Mutex<Seen>>,
}

impl Peer {
    /// Reads a head and records it, with an empty body.
    pub async fn head(&mut self) -> io::Result<RawRequest> {
        let head = self.head_unrecorded().await?;
        let request = RawRequest { head, body: Vec::new(), trailers: String::new(), connection: self.connection };
        self.record(request.clone());
        Ok(request)
    }

    /// Reads a head only.
    pub async fn head_unrecorded(&mut self) -> io::Result<String> {
        let head = self.through(b"\r\n\r\n").await?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// Reads the body that belongs to a head, and records both.
    pub async fn rest(&mut self, head: String) -> io::Result<RawRequest> {
        let (body, trailers) = self.body(&head).await?;
        let request = RawRequest { head, body, trailers, connection: self.connection };
        self.record(request.clone());
        Ok(request)
    }

    /// Reads a whole request and records it.
    pub async fn request(&mut self) -> io::Result<RawRequest> {
        let head = self.head_unrecorded().await?;
        self.rest(head).await
    }

    /// Reads the body that belongs to a head.
    pub async fn body(&mut self, head: &str) -> io::Result<(Vec<u8>, String)> {
        if header(head, "transfer-encoding").is_some() {
            return self.chunked().await;
        }
        let length = header(head, "content-length").map_or(0, |value| value.parse().unwrap());
        Ok((self.exactly(length).await?, String::new()))
    }

    async fn chunked(&mut self) -> io::Result<(Vec<u8>, String)> {
        let mut body = Vec::new();
        loop {
            let size = self.through(b"\r\n").await?;
            let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).map_err(io::Error::other)?;
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size).await?);
            self.through(b"\r\n").await?;
        }
        let mut trailers = String::new();
        loop {
            let line = self.through(b"\r\n").await?;
            if line == b"\r\n" {
                return Ok((body, trailers));
            }
            trailers.push_str(&String::from_utf8_lossy(&line));
        }
    }

    /// Reads up to and with `mark`.
    pub async fn through(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.buffer.drain(..at + mark.len()).collect());
            }
            self.more().await?;
        }
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads what comes next, at least one byte.
    pub async fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.more().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Answers 200 with this body and its length.
    pub async fn answer(&mut self, body: impl AsRef<[u8]>) -> io::Result<()> {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat()).await
    }

    /// Answers with a list of these models.
    pub async fn list<M: AsRef<str>>(&mut self, models: &[M]) -> io::Result<()> {
        let data: Vec<_> = models.iter().map(|id| json!({"id": id.as_ref(), "object": "model"})).collect();
        self.answer(json!({"object": "list", "data": data}).to_string()).await
    }

    /// Sends `text` as one chunk of a chunked body.
    pub async fn send_chunk(&mut self, text: &str) -> io::Result<()> {
        self.send(format!("{:x}\r\n{text}\r\n", text.len())).await
    }

    /// Sends without end, until the kernel has taken no byte for `pause`; answers how many it took.
    pub async fn flood(&mut self, pause: Duration) -> io::Result<usize> {
        let block = [b'x'; 16 * 1024];
        let mut sent = 0;
        while let Ok(count) = tokio::time::timeout(pause, self.stream.write(&block)).await {
            sent += count?;
        }
        Ok(sent)
    }

    /// Sends nothing any more; goes on reading.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Breaks the connection with a reset.
    pub fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Waits until the client ends the connection, whatever it sends before.
    pub async fn ended(&mut self) -> Ended {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            match soon("the end of a connection", self.stream.read(&mut bytes)).await {
                Ok(0) => return Ended::Fin,
                Ok(_) => {}
                Err(_) => return Ended::Reset,
            }
        }
    }

    fn record(&self, request: RawRequest) {
        self.state.lock().unwrap().requests.push(request);
        self.seen.send_replace(());
    }
}
