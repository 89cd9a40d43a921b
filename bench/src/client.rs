//! One client connection of the load: writes requests as they are, reads answers and their events.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::traffic::{EVENT_START, STAMP_DIGITS};

/// No exchange of the bench takes longer, unless something hangs.
const EXCHANGE_MAX: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 64 * 1024;

/// A connection that is opened when it is needed.
pub struct Client {
    port: u16,
    socket: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Whether it came to its end.
    pub whole: bool,
    /// From the request to the first event, or to the end where there is none.
    pub first: Duration,
}

/// Where the body of an answer ends.
enum Framing {
    Length(usize),
    /// Bytes left of the present chunk with its line end; zero is before the next size.
    Chunked(usize),
    Over,
}

impl Client {
    /// To this port of the loopback.
    pub fn new(port: u16) -> Self {
        Self { port, socket: None, buffer: Vec::new() }
    }

    /// Sends a request and reads its answer; `on_event` gets the moment at which each event was sent, and says whether
    /// to go on.
    ///
    /// # Errors
    /// The connection broke, or nothing came for very long. The next exchange uses a new one.
    pub async fn exchange(&mut self, request: &[u8], on_event: impl FnMut(u64) -> bool) -> io::Result<Answered> {
        let exchanged = match timeout(EXCHANGE_MAX, self.exchange_now(request, on_event)).await {
            Ok(exchanged) => exchanged,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if exchanged.is_err() {
            self.socket = None;
        }
        exchanged
    }

    async fn exchange_now(&mut self, request: &[u8], mut on_event: impl FnMut(u64) -> bool) -> io::Result<Answered> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
                socket.set_nodelay(true)?;
                none.insert(socket)
            }
        };
        self.buffer.clear();
        let begun = Instant::now();
        socket.write_all(request).await?;
        let head_end = loop {
            read_some(socket, &mut self.buffer).await?;
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8_lossy(self.buffer.get(..head_end).unwrap_or_default()).to_ascii_lowercase();
        self.buffer.drain(..head_end);
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        let mut framing = framing(&head);
        let (mut events, mut first, mut whole) = (Vec::new(), None, true);
        loop {
            framing.take(&mut self.buffer, &mut events)?;
            while let Some(at) = events.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = events.drain(..at + 2).collect();
                first.get_or_insert_with(|| begun.elapsed());
                if !stamp(&event).is_none_or(&mut on_event) {
                    whole = false;
                }
            }
            if !whole || matches!(framing, Framing::Over) {
                break;
            }
            read_some(socket, &mut self.buffer).await?;
        }
        if head.contains("\r\nconnection: close") {
            self.socket = None;
        }
        Ok(Answered { status, whole, first: first.unwrap_or_else(|| begun.elapsed()) })
    }
}

async fn read_some(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.reserve(READ_BYTES.min(4 * buffer.capacity().max(1024)));
    match socket.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn framing(head: &str) -> Framing {
    if head.contains("\r\ntransfer-encoding: chunked") {
        return Framing::Chunked(0);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Framing::Length(length.and_then(|length| length.trim().parse().ok()).unwrap_or(0))
}

impl Framing {
    /// Moves what is there of the body from `wire` to `body`.
    fn take(&mut self, wire: &mut Vec<u8>, body: &mut Vec<u8>) -> io::Result<()> {
        let mut at = 0;
        loop {
            let here = wire.get(at..).unwrap_or_default();
            match self {
                Self::Over => break,
                Self::Length(left) => {
                    let taken = here.len().min(*left);
                    body.extend_from_slice(here.get(..taken).unwrap_or_default());
                    (at, *left) = (at + taken, *left - taken);
                    if *left > 0 {
                        break;
                    }
                    *self = Self::Over;
                }
                Self::Chunked(0) => {
                    let Some(end) = here.windows(2).position(|two| two == b"\r\n") else { break };
                    let digits = std::str::from_utf8(here.get(..end).unwrap_or_default()).unwrap_or_default();
                    let size = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
                    if size == 0 {
                        if here.len() < end + 4 {
                            break;
                        }
                        *self = Self::Over;
                    } else {
                        at += end + 2;
                        *self = Self::Chunked(size + 2);
                    }
                }
                Self::Chunked(left) => {
                    if here.is_empty() {
                        break;
                    }
                    let taken = here.len().min(*left);
                    let data = taken.min(left.saturating_sub(2));
                    body.extend_from_slice(here.get(..data).unwrap_or_default());
                    (at, *left) = (at + taken, *left - taken);
                }
            }
        }
        wire.drain(..at);
        Ok(())
    }
}

/// The moment at which the backend sent an event.
fn stamp(event: &[u8]) -> Option<u64> {
    let digits = event.strip_prefix(EVENT_START)?.get(..STAMP_DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::traffic;

    #[test]
    fn events_come_out_however_the_bytes_are_cut() {
        let mut bytes = traffic::event_chunk();
        bytes.extend(traffic::event_chunk());
        bytes.extend_from_slice(traffic::LAST_CHUNK);
        for size in 1..40 {
            let (mut framing, mut wire, mut body) = (Framing::Chunked(0), Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                wire.extend_from_slice(piece);
                framing.take(&mut wire, &mut body).unwrap();
            }
            assert!(matches!(framing, Framing::Over), "cut every {size}");
            assert_eq!(body.windows(2).filter(|two| two == b"\n\n").count(), 3);
            assert!(stamp(&body).is_some() && body.ends_with(b"data: [DONE]\n\n"));
        }
    }
}
