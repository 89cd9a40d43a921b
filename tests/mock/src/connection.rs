//! One client connection: read requests, write answers, notice that the client has left.

use crate::request::{Body, Request, read_body, read_head};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How often a waiting answer looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for the next byte of a request that has begun, and for a client to take bytes of an answer.
const STALLED: Duration = Duration::from_secs(600);

/// The client left, or the connection broke.
#[derive(Debug)]
pub struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Gone
    }
}

/// A connection and the name that its answers carry.
pub struct Connection {
    io: BufReader<TcpStream>,
    name: String,
    keep: bool,
}

impl Connection {
    pub fn new(stream: TcpStream, name: &str) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(STALLED))?;
        Ok(Self { io: BufReader::new(stream), name: name.to_owned(), keep: true })
    }

    /// The next request without its body; `None` when the client closed or was idle for too long.
    pub fn next(&mut self, idle: Option<Duration>) -> Option<Request> {
        if !self.keep {
            return None;
        }
        self.io.get_ref().set_read_timeout(idle).ok()?;
        self.io.fill_buf().ok().filter(|ready| !ready.is_empty())?;
        self.io.get_ref().set_read_timeout(Some(STALLED)).ok()?;
        let head = read_head(&mut self.io).ok()??;
        self.keep = head.keep_alive();
        Some(head)
    }

    /// Reads the body of the request that [`Connection::next`] gave.
    pub fn body(&mut self, head: &Request) -> Result<Body, Gone> {
        if head.header("expect").is_some() {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(read_body(&mut self.io, head)?)
    }

    /// An answer with a known length.
    pub fn answer(&mut self, status: u16, kind: &str, body: &[u8]) -> Result<(), Gone> {
        let head = self.head(status, kind, &format!("content-length: {}", body.len()));
        let mut whole = head.into_bytes();
        whole.extend_from_slice(body);
        self.write(&whole)
    }

    pub fn json(&mut self, status: u16, body: &str) -> Result<(), Gone> {
        self.answer(status, "application/json", body.as_bytes())
    }

    /// Begins an answer of unknown length; then [`Connection::chunk`]s, then [`Connection::end_chunks`].
    pub fn begin_chunks(&mut self, kind: &str) -> Result<(), Gone> {
        let head = self.head(200, kind, "transfer-encoding: chunked");
        self.write(head.as_bytes())
    }

    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.write(&framed)
    }

    pub fn end_chunks(&mut self) -> Result<(), Gone> {
        self.write(b"0\r\n\r\n")
    }

    /// Closes the connection in the middle of an answer.
    pub fn cut(&mut self) {
        self.keep = false;
        let _ = self.io.get_ref().shutdown(Shutdown::Both);
    }

    /// The head of an answer, with `lines` as further header lines.
    pub fn head(&self, status: u16, kind: &str, lines: &str) -> String {
        let close = if self.keep { "" } else { "connection: close\r\n" };
        format!(
            "HTTP/1.1 {status} {}\r\nserver: mock-inference\r\nx-mock-name: {}\r\ncontent-type: {kind}\r\n{close}{lines}\r\n\r\n",
            reason(status),
            self.name
        )
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        Ok(self.io.get_ref().write_all(bytes)?)
    }

    /// What comes after the head of an upgraded connection.
    pub fn raw(&mut self) -> &mut BufReader<TcpStream> {
        self.keep = false;
        &mut self.io
    }

    /// Waits, looking whether the client has left all the while.
    pub fn wait(&mut self, time: Duration) -> Result<(), Gone> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now()).min(LOOK);
            if left.is_zero() {
                return Ok(());
            }
            self.look(left)?;
        }
    }

    /// Waits for `time` at most, or until the client has left.
    fn look(&mut self, time: Duration) -> Result<(), Gone> {
        let stream = self.io.get_ref();
        stream.set_read_timeout(Some(time))?;
        match stream.peek(&mut [0]) {
            Ok(0) => Err(Gone),
            Ok(_) => {
                // The client has sent its next request already: a close cannot be seen behind it.
                std::thread::sleep(time);
                Ok(())
            }
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(why) if why.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Gone),
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
