//! A client's connection, bounded at every step.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::bytes;
use super::plan::{How, Segments};
use super::play::{Log, STEP};

/// The receive buffer of a slow reader, how much it reads at once, and its pause.
const SLOW_ROOM: u32 = 4096;
const SLOW_PART: u64 = 8 << 10;
const SLOW_PAUSE: Duration = Duration::from_millis(2);
/// How much others read at once.
const PART: u64 = 1 << 20;

/// Why a step did not give what it should.
#[derive(Debug)]
pub enum Stop {
    Ended(How),
    Hung(String),
    Wrong(String),
}

/// A connection.
pub struct Wire {
    pub incoming: Incoming,
    pub outgoing: Outgoing,
}

impl Wire {
    pub async fn connect(address: SocketAddr, reads_slowly: bool, log: &Log) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if reads_slowly {
            socket.set_recv_buffer_size(SLOW_ROOM)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let incoming = Incoming { reader, buffer: Vec::new(), reads_slowly };
        Ok(Self { incoming, outgoing: Outgoing { writer, log: log.clone() } })
    }

    /// Ends the connection.
    pub fn leave(self, how: How) {
        if how == How::Reset {
            let _ = self.outgoing.writer.as_ref().set_zero_linger();
        }
        self.outgoing.log.note(format_args!("client: leaves, {how:?}"));
    }
}

/// What comes.
pub struct Incoming {
    reader: OwnedReadHalf,
    buffer: Vec<u8>,
    reads_slowly: bool,
}

impl Incoming {
    /// Waits for bytes, or for the end. A socket may be called readable when all of it was read, so one byte is.
    pub async fn is_there(&mut self) {
        while self.buffer.is_empty() && self.reader.readable().await.is_ok() {
            let mut byte = [0];
            match self.reader.try_read(&mut byte) {
                Ok(1) => self.buffer.extend(byte),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Reads what comes next into the buffer.
    async fn more(&mut self) -> Result<(), Stop> {
        let mut part = (&mut self.reader).take(if self.reads_slowly { SLOW_PART } else { PART });
        match tokio::time::timeout(STEP, part.read_buf(&mut self.buffer)).await {
            Err(_) => Err(Stop::Hung(format!("no byte came within {STEP:?}"))),
            Ok(Ok(0)) => Err(Stop::Ended(How::Fin)),
            Ok(Err(_)) => Err(Stop::Ended(How::Reset)),
            Ok(Ok(_)) => {
                if self.reads_slowly {
                    tokio::time::sleep(SLOW_PAUSE).await;
                }
                Ok(())
            }
        }
    }

    /// Takes bytes up to and with `mark`.
    pub async fn through(&mut self, mark: &[u8]) -> Result<Vec<u8>, Stop> {
        let mut looked_at = 0;
        loop {
            let from = looked_at.min(self.buffer.len());
            if let Some(at) = self.buffer[from..].windows(mark.len()).position(|window| window == mark) {
                return Ok(self.buffer.drain(..from + at + mark.len()).collect());
            }
            looked_at = (self.buffer.len() + 1).saturating_sub(mark.len());
            self.more().await?;
        }
    }

    /// Takes at least one byte and at most so many.
    pub async fn some(&mut self, most: usize) -> Result<Vec<u8>, Stop> {
        if self.buffer.is_empty() {
            self.more().await?;
        }
        let count = most.min(self.buffer.len());
        Ok(self.buffer.drain(..count).collect())
    }

    /// Takes so many bytes.
    pub async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Stop> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Waits for the end; no byte may come before.
    pub async fn closed(&mut self) -> Result<How, Stop> {
        let come = if self.buffer.is_empty() { self.more().await } else { Ok(()) };
        match come {
            Err(Stop::Ended(how)) => Ok(how),
            Err(stop) => Err(stop),
            Ok(()) => Err(Stop::Wrong(format!("{} bytes behind the last response", self.buffer.len()))),
        }
    }
}

/// What goes.
pub struct Outgoing {
    pub writer: OwnedWriteHalf,
    log: Log,
}

impl Outgoing {
    /// Sends bytes in segments. Where the other end takes no more, the rest is left.
    pub async fn send(&mut self, mut rest: &[u8], kind: Segments, seed: u64) -> Result<(), Stop> {
        for (size, pause) in bytes::segments(kind, rest.len(), seed) {
            let (segment, behind) = rest.split_at(size);
            match tokio::time::timeout(STEP, self.writer.write_all(segment)).await {
                Err(_) => return Err(Stop::Hung(format!("no room for {} bytes within {STEP:?}", rest.len()))),
                Ok(Err(error)) => {
                    self.log.note(format_args!("client: {} bytes not sent: {error}", rest.len()));
                    return Ok(());
                }
                Ok(Ok(())) => {}
            }
            if behind.is_empty() {
                return Ok(());
            }
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => tokio::task::yield_now().await,
            }
            rest = behind;
        }
        Ok(())
    }
}
