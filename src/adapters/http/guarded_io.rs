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
    flushes: AtomicU32,
    awaited: AtomicBool,
}

impl Phase {
    /// A new connection: a head is due.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { stands: AtomicU8::new(HEAD), flushes: AtomicU32::new(0), awaited: AtomicBool::new(false) })
    }

    /// A head was read.
    pub fn head_read(&self) {
        self.stands.store(BUSY, Ordering::Relaxed);
    }

    /// An answer is over.
    pub fn answered(&self) {
        self.stands.store(IDLE, Ordering::Relaxed);
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
                self.no_wait(Waits::ForReader);
                Poll::Ready(written)
            }
            Poll::Pending => {
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
