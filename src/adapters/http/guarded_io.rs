//! A client's socket, with the deadlines that hyper does not keep and the interrupt that ends a stalled answer.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::app::interrupt::Interrupt;

/// A request's head is on its way, or should be: the connection is new.
const HEAD: u8 = 0;
/// A request is being worked on.
const BUSY: u8 = 1;
/// The last answer is over and no byte of a further request has come.
const IDLE: u8 = 2;

/// How many rounds an idle connection lives: the more, the closer to its limit it ends, and the more often all
/// connections are looked at.
pub const IDLE_ROUNDS: u8 = 16;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// A head is due, and not complete.
    Head,
    /// A request is being worked on.
    Busy,
    /// The last answer is over and no byte of a further request has come.
    Idle,
}

/// Where a connection stands now; shared by its socket and the service that answers on it.
#[derive(Debug)]
pub struct Phase {
    stands: AtomicU8,
    idle_rounds: AtomicU8,
    stalled: AtomicBool,
    flushes: AtomicU32,
    awaited: AtomicBool,
}

impl Phase {
    /// A new connection: a head is due.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            stands: AtomicU8::new(HEAD),
            idle_rounds: AtomicU8::new(0),
            stalled: AtomicBool::new(false),
            flushes: AtomicU32::new(0),
            awaited: AtomicBool::new(false),
        })
    }

    /// A head was read.
    pub fn head_read(&self) {
        self.stands.store(BUSY, Ordering::Relaxed);
    }

    /// An answer is over.
    pub fn answered(&self) {
        self.idle_rounds.store(0, Ordering::Relaxed);
        self.stands.store(IDLE, Ordering::Relaxed);
    }

    /// Another round of whoever looks for idle connections: says whether it has been idle for too many of them. That
    /// costs a connection nothing, where a timer of its own would have to be set for each request.
    pub fn grows_older(&self) -> bool {
        match self.get() == IDLE && !self.stalled.load(Ordering::Relaxed) {
            true => self.idle_rounds.fetch_add(1, Ordering::Relaxed) >= IDLE_ROUNDS,
            false => false,
        }
    }

    /// Whether it has been idle for too many rounds, and still is.
    pub fn has_expired(&self) -> bool {
        self.get() == IDLE && self.idle_rounds.load(Ordering::Relaxed) > IDLE_ROUNDS
    }

    /// Where the connection stands.
    pub fn stands(&self) -> Stands {
        match self.get() {
            HEAD => Stands::Head,
            BUSY => Stands::Busy,
            _ => Stands::Idle,
        }
    }

    fn get(&self) -> u8 {
        self.stands.load(Ordering::Relaxed)
    }

    /// How often everything that was written has left. The next time, whoever drives the connection is woken.
    pub fn await_flush(&self) -> u32 {
        self.awaited.store(true, Ordering::Relaxed);
        self.flushes.load(Ordering::Relaxed)
    }

    /// How often everything that was written has left.
    pub fn flushes(&self) -> u32 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Whether everything has left since [`Phase::await_flush`] gave this number.
    pub fn has_flushed_since(&self, before: u32) -> bool {
        self.flushes.load(Ordering::Relaxed) != before
    }

    fn flushed(&self, cx: &Context<'_>) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        if self.awaited.swap(false, Ordering::Relaxed) {
            cx.waker().wake_by_ref();
        }
    }

    fn head_begins(&self) {
        self.stands.store(HEAD, Ordering::Relaxed);
    }
}

/// The deadlines of a client's socket.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the first byte of a head, or from the beginning of the connection, to its last byte. hyper's own timeout
    /// for this also ends idle connections, and those have to live longer.
    pub head: Duration,
    /// How long an answer may wait for the client to read.
    pub write_stall: Duration,
}

/// A client's socket.
pub struct GuardedIo {
    socket: TcpStream,
    phase: Arc<Phase>,
    interrupt: Arc<Interrupt>,
    deadlines: Deadlines,
    timer: Option<(Waits, Pin<Box<Sleep>>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    ForHead,
    ForReader,
}

impl GuardedIo {
    /// Guards a socket.
    pub fn new(socket: TcpStream, phase: Arc<Phase>, interrupt: Arc<Interrupt>, deadlines: Deadlines) -> Self {
        Self { socket, phase, interrupt, deadlines, timer: None }
    }

    /// Waits no longer than this for what it waits for.
    fn poll_deadline(&mut self, waits: Waits, limit: Duration, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !matches!(&self.timer, Some((what, _)) if *what == waits) {
            self.timer = Some((waits, Box::pin(tokio::time::sleep_until(Instant::now() + limit))));
        }
        let Some((_, sleep)) = &mut self.timer else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(io::Error::from(ErrorKind::TimedOut))
    }

    fn no_wait(&mut self, waits: Waits) {
        if matches!(&self.timer, Some((what, _)) if *what == waits) {
            self.timer = None;
        }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                if self.timer.is_some() {
                    self.no_wait(Waits::ForReader);
                    self.phase.stalled.store(false, Ordering::Relaxed);
                }
                Poll::Ready(written)
            }
            Poll::Pending => {
                self.phase.stalled.store(true, Ordering::Relaxed);
                let limit = self.deadlines.write_stall;
                self.poll_deadline(Waits::ForReader, limit, cx).map(Err)
            }
        }
    }

    /// An answer that nobody reads is ended here: its body is not asked for more while the socket is full.
    fn broken(&self) -> Option<io::Error> {
        self.interrupt.must_break().then(|| io::Error::from(ErrorKind::ConnectionAborted))
    }
}

impl AsyncRead for GuardedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Ready(read) => {
                // Within a head the deadline stays: bytes that drip do not put it off.
                if buf.filled().len() > before && self.phase.get() == IDLE {
                    self.no_wait(Waits::ForHead);
                    self.phase.head_begins();
                }
                Poll::Ready(read)
            }
            Poll::Pending if self.phase.get() == HEAD => {
                let limit = self.deadlines.head;
                self.poll_deadline(Waits::ForHead, limit, cx).map(Err)
            }
            Poll::Pending => {
                self.no_wait(Waits::ForHead);
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for GuardedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        if flushed.is_ready() {
            self.phase.flushed(cx);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Whether so many rounds end a connection.
    fn survives(phase: &Phase, rounds: u8) -> bool {
        !(0..rounds).any(|_| phase.grows_older()) && !phase.has_expired()
    }

    #[test]
    fn only_a_connection_that_is_idle_for_long_expires() {
        let phase = Phase::new();
        assert!(survives(&phase, 100), "its first head is due");
        phase.head_read();
        assert!(survives(&phase, 100), "an answer is on its way");
        phase.answered();
        assert!(survives(&phase, IDLE_ROUNDS));
        phase.head_begins();
        assert!(survives(&phase, 100), "a head is on its way");
        phase.answered();
        assert!(survives(&phase, IDLE_ROUNDS) && !survives(&phase, 1));
    }

    #[tokio::test]
    async fn an_answer_that_waits_for_its_reader_is_not_idle() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (phase, interrupt) = (Phase::new(), Arc::new(Interrupt::new()));
        let long = Duration::from_secs(60);
        let deadlines = Deadlines { head: long, write_stall: long };
        let mut io = GuardedIo::new(listener.accept().await.unwrap().0, Arc::clone(&phase), interrupt, deadlines);

        let (piece, mut written) = (vec![0; 64 * 1024], 0);
        let one = async |io: &mut GuardedIo| {
            poll_fn(|cx| match Pin::new(&mut *io).poll_write(cx, &piece) {
                Poll::Ready(taken) => Poll::Ready(taken.unwrap()),
                Poll::Pending => Poll::Ready(0),
            })
            .await
        };
        // The socket is full when it takes nothing several times: it may still be growing.
        let mut full = 0;
        while full < 3 {
            match one(&mut io).await {
                0 => full += 1,
                taken => (full, written) = (0, written + taken),
            }
            tokio::task::yield_now().await;
        }
        phase.answered();
        assert!(survives(&phase, 100));

        reader.read_exact(&mut vec![0; written]).await.unwrap();
        io.write_all(b"the rest").await.unwrap();
        assert!(!survives(&phase, IDLE_ROUNDS + 1));
    }
}
