//! The socket below a connection: what hyper reads and writes through.
//!
//! It adds two things to a plain socket. Before a request goes out it looks whether the backend has closed the connection
//! meanwhile, with a system call, because the runtime's own news may be late. And a failed write does not end the
//! exchange: a backend that answers early and closes has its answer read first.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};

use super::socket::Socket;

/// How much is read at once after a write has failed; only what is left of an early answer comes this way.
const LAST_WORDS_BYTES: usize = 4 * 1024;

/// What the exchange and the socket below it tell each other.
#[derive(Debug, Default)]
pub(super) struct IoState {
    check_liveness: AtomicBool,
    has_unsolicited_data: AtomicBool,
}

impl IoState {
    /// The next read looks at the socket itself before it believes that nothing is there.
    pub(super) fn check_liveness(&self) {
        self.check_liveness.store(true, Ordering::Relaxed);
    }

    /// Whether bytes came that no request had asked for.
    pub(super) fn has_unsolicited_data(&self) -> bool {
        self.has_unsolicited_data.load(Ordering::Relaxed)
    }
}

/// A connected socket.
pub(super) struct UpstreamIo {
    io: TokioIo<Socket>,
    state: Arc<IoState>,
    write_failed: Option<io::ErrorKind>,
    /// Whether the backend has sent anything. With TLS it may send keys before that, which no request has asked for.
    has_read: bool,
}

impl UpstreamIo {
    /// A socket whose exchange tells it through `state` what to do.
    pub(super) fn new(socket: Socket, state: Arc<IoState>) -> Self {
        Self { io: TokioIo::new(socket), state, write_failed: None, has_read: false }
    }

    /// The socket itself.
    pub(super) fn into_socket(self) -> Socket {
        self.io.into_inner()
    }

    /// Whether the connection is closed, or has bytes that nobody asked for: then no request may go out on it.
    fn spent(&self) -> io::Result<bool> {
        let socket = self.io.inner();
        match SockRef::from(socket.tcp()).peek(&mut [MaybeUninit::uninit(); 1]) {
            Ok(0) => Ok(true),
            Ok(_) if matches!(socket, Socket::Tls(_)) => Ok(self.has_read),
            Ok(_) => {
                self.state.has_unsolicited_data.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what is left after a failed write. The end is then that failure: the backend did not end it in order.
    fn read_last_words(
        &mut self,
        cx: &mut Context<'_>,
        failed: io::ErrorKind,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; LAST_WORDS_BYTES];
        let fits = into.remaining().min(LAST_WORDS_BYTES);
        let mut buffer = ReadBuf::new(bytes.get_mut(..fits).unwrap_or_default());
        let read = Pin::new(self.io.inner_mut()).poll_read(cx, &mut buffer);
        match read {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(failed.into())),
            Poll::Ready(Ok(())) => {
                into.put_slice(buffer.filled());
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    /// Holds a write that failed because the peer is gone: from then on nothing can be written, and reading tells how
    /// the exchange ends.
    fn hold_failure(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.write_failed = Some(error.kind());
                Poll::Pending
            }
            other => other,
        }
    }
}

impl Read for UpstreamIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.state.check_liveness.swap(false, Ordering::Relaxed) && self.spent()? {
            return Poll::Ready(Ok(()));
        }
        let read = match self.write_failed {
            None => Pin::new(&mut self.io).poll_read(cx, into),
            Some(failed) => self.read_last_words(cx, failed, into),
        };
        self.has_read |= read.is_ready();
        read
    }
}

impl Write for UpstreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_failed.is_some() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.hold_failure(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.write_failed.is_some() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.hold_failure(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_failed.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
