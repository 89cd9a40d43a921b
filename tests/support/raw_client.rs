//! A client that says on the wire what a test says, byte for byte, and tells how an answer ended.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::raw_backend::soon;

/// How a connection, or the body of an answer, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As its framing says.
    Complete,
    /// The connection was closed before.
    Fin,
    /// The connection was reset before.
    Reset,
}

/// An answer as it stood on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
    pub end: End,
}

impl RawAnswer {
    /// The values of the headers of that name, in order.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// OpenAI's `code`.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]).into_owned();
        let head: String = self.head.chars().take(600).collect();
        write!(f, "{head:?} {shown:?} ({} bytes), {:?}", self.body.len(), self.end)
    }
}

/// A connection to the proxy.
pub struct RawClient {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl RawClient {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await.unwrap();
        Self::on(stream)
    }

    /// The same, with this much room for what is not yet read. It ends with a reset, so that its port is free at once.
    pub async fn connect_with_room(address: SocketAddr, room: u32) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(room)?;
        let stream = soon("a connection", socket.connect(address)).await?;
        stream.set_zero_linger()?;
        Ok(Self::on(stream))
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// Over a connection that was made otherwise.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        soon("room to send", self.stream.write_all(bytes.as_ref())).await.unwrap();
        self
    }

    /// Sends bytes; the other end may have closed meanwhile.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon("room to send", self.stream.write_all(bytes.as_ref())).await
    }

    /// Sends one request and reads its answer.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> RawAnswer {
        let head = request.as_ref().starts_with(b"HEAD ");
        self.send(request).await;
        self.answer_to(head).await.expect("an answer")
    }

    /// The next answer, if one comes before the end.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        self.answer_to(false).await
    }

    /// The next answer; one to HEAD has no body.
    pub async fn answer_to(&mut self, head_only: bool) -> Option<RawAnswer> {
        let mut answer = self.head().await?;
        if answer.status == 100 {
            return Some(answer);
        }
        let bare = head_only || matches!(answer.status, 101 | 204 | 304);
        if bare {
            return Some(answer);
        }
        let end = if answer.header("transfer-encoding").is_some() {
            self.chunked(&mut answer).await
        } else if let Some(length) = answer.header("content-length").map(|length| length.parse().unwrap()) {
            self.fill(length).await.map(|()| answer.body = self.buffer.drain(..length).collect())
        } else {
            let end = self.drain(&mut answer.body).await;
            if end == End::Fin { Ok(()) } else { Err(end) }
        };
        if let Err(end) = end {
            answer.end = end;
            answer.body.append(&mut self.buffer);
        }
        Some(answer)
    }

    /// The head of the next answer; its body is still to be read.
    pub async fn head(&mut self) -> Option<RawAnswer> {
        let head = self.through(b"\r\n\r\n").await.ok()?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        Some(RawAnswer { status, head, body: Vec::new(), trailers: String::new(), end: End::Complete })
    }

    async fn chunked(&mut self, answer: &mut RawAnswer) -> Result<(), End> {
        while let Some(mut chunk) = self.next_chunk().await? {
            answer.body.append(&mut chunk);
        }
        loop {
            let line = self.through(b"\r\n").await?;
            if line == b"\r\n" {
                return Ok(());
            }
            answer.trailers.push_str(&String::from_utf8_lossy(&line));
        }
    }

    /// The next chunk of a chunked body; `None` for the last one, whose trailers are still to come.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, End> {
        let size = self.through(b"\r\n").await?;
        let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).expect("a chunk size");
        if size == 0 {
            return Ok(None);
        }
        self.fill(size + 2).await?;
        let chunk = self.buffer.drain(..size).collect();
        self.buffer.drain(..2);
        Ok(Some(chunk))
    }

    /// Reads up to and with `mark`.
    pub async fn through(&mut self, mark: &[u8]) -> Result<Vec<u8>, End> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.buffer.drain(..at + mark.len()).collect());
            }
            self.more().await?;
        }
    }

    async fn fill(&mut self, count: usize) -> Result<(), End> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Ok(())
    }

    async fn more(&mut self) -> Result<(), End> {
        match soon("bytes of an answer", self.stream.read_buf(&mut self.buffer)).await {
            Ok(0) => Err(End::Fin),
            Ok(_) => Ok(()),
            Err(_) => Err(End::Reset),
        }
    }

    async fn drain(&mut self, into: &mut Vec<u8>) -> End {
        let end = loop {
            if let Err(end) = self.more().await {
                break end;
            }
        };
        into.append(&mut self.buffer);
        end
    }

    /// Reads a body of this length; answers how much of it came, or how the connection ended before.
    pub async fn body_of(&mut self, length: usize) -> Result<usize, End> {
        self.fill(length).await?;
        Ok(self.buffer.drain(..length).count())
    }

    /// Waits for the end of the connection; what comes before it is thrown away.
    pub async fn ended(&mut self) -> End {
        self.drain(&mut Vec::new()).await
    }

    /// Whether the connection takes a further request.
    pub async fn still_open(&mut self) -> bool {
        let probe = b"GET /healthz HTTP/1.1\r\nhost: probe\r\n\r\n";
        self.try_send(probe).await.is_ok() && self.answer().await.is_some_and(|answer| answer.status == 200)
    }
}

/// A request with a JSON body.
pub fn post(path: &str, body: &str) -> String {
    post_with(path, "", body)
}

/// The same, with header lines, each of which ends with CRLF.
pub fn post_with(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// A request without a body.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}
