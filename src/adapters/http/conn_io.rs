//! A client's socket, with the deadlines that hyper does not keep and the cancel that ends a stalled answer.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::time::{Instant, Sleep};

use super::conn_state::{ConnState, Connection};

/// The deadlines of a client's socket.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the first byte of a head, or from the beginning of the connection, to its last byte; and for the rest of a
    /// request's body that is discarded. hyper's own timeout for a head also ends idle connections, and those have to
    /// live longer.
    pub head: Duration,
    /// The longest time that an answer waits for the client to read.
    pub write_stall: Duration,
}

/// A client's socket. The task that serves the connection keeps the socket itself: it closes it, or carries a tunnel.
pub(super) struct ConnIo<'a> {
    read: ReadHalf<'a>,
    socket: &'a TcpStream,
    connection: &'a Connection,
    deadlines: Deadlines,
    /// Runs while a head, or the rest of a body, is due.
    head: Timer,
    /// Runs while the client does not read.
    reader: Timer,
}

/// A deadline that runs or does not.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Waits, from the first call on, for no longer than this.
    fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<io::Error> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        sleep.as_mut().poll(cx).map(|()| io::Error::from(ErrorKind::TimedOut))
    }

    fn stop(&mut self) {
        self.0 = None;
    }
}

impl<'a> ConnIo<'a> {
    /// Guards a socket, given its half for reading.
    pub(super) fn new(
        read: ReadHalf<'a>,
        socket: &'a TcpStream,
        connection: &'a Connection,
        deadlines: Deadlines,
    ) -> Self {
        Self { read, socket, connection, deadlines, head: Timer::default(), reader: Timer::default() }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.reader.stop();
                Poll::Ready(written)
            }
            Poll::Pending => self.reader.poll(self.deadlines.write_stall, cx).map(Err),
        }
    }

    /// Tries to write as soon as there may be room.
    fn poll_try_write(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        // An answer that the client does not read is ended here: its body is not asked for more while the socket is full.
        if self.connection.cancel.must_break() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match write(self.socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncRead for ConnIo<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.read).poll_read(cx, buf) {
            // Within a head the deadline stays: bytes that drip do not put it off.
            if buf.filled().len() > before && this.connection.bytes_came() {
                this.head.stop();
            }
            return Poll::Ready(read);
        }
        this.connection.set_reads(true);
        match this.connection.state() {
            ConnState::New | ConnState::Head | ConnState::Draining => this.head.poll(this.deadlines.head, cx).map(Err),
            ConnState::Serving | ConnState::Tunnel | ConnState::Idle | ConnState::Closing => {
                this.head.stop();
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for ConnIo<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.poll_try_write(cx, |socket| socket.try_write(buf));
        self.wrote(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.poll_try_write(cx, |socket| socket.try_write_vectored(bufs));
        self.wrote(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.flushed(cx);
        Poll::Ready(Ok(()))
    }

    /// The task that serves the connection closes it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// Writes once; 0 where there is no room.
    async fn write_once(io: &mut ConnIo<'_>, chunk: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| match Pin::new(&mut *io).poll_write(cx, chunk) {
            Poll::Ready(taken) => Poll::Ready(taken),
            Poll::Pending => Poll::Ready(Ok(0)),
        })
        .await
    }

    /// Writes until there is no more room, and returns how much that was.
    async fn fill(io: &mut ConnIo<'_>) -> usize {
        // The socket is full when it takes nothing several times: it may still be growing.
        let (chunk, mut written, mut full) = (vec![0; 64 * 1024], 0, 0);
        while full < 3 {
            match write_once(io, &chunk).await.unwrap() {
                0 => full += 1,
                taken => (full, written) = (0, written + taken),
            }
            tokio::task::yield_now().await;
        }
        written
    }

    #[tokio::test]
    async fn an_answer_that_waits_for_its_reader_is_not_idle() {
        let (mut reader, mut socket) = pair().await;
        let connection = Connection::new(reader.local_addr().unwrap());
        let long = Duration::from_secs(60);
        let (read, write) = socket.split();
        let mut io = ConnIo::new(read, write.as_ref(), &connection, Deadlines { head: long, write_stall: long });
        connection.begin_serving();
        let written = fill(&mut io).await;
        connection.end_response();
        assert_eq!(connection.state(), ConnState::Serving);
        reader.read_exact(&mut vec![0; written]).await.unwrap();
        io.write_all(b"the rest").await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(connection.state(), ConnState::Idle);
    }

    #[tokio::test]
    async fn a_head_that_is_due_does_not_put_the_reader_s_deadline_off() {
        let (_reader, mut socket) = pair().await;
        let connection = Connection::new(socket.peer_addr().unwrap());
        let deadlines = Deadlines { head: Duration::from_secs(60), write_stall: Duration::from_millis(200) };
        let (read, write) = socket.split();
        let mut io = ConnIo::new(read, write.as_ref(), &connection, deadlines);
        fill(&mut io).await;
        let started = Instant::now();
        // Both are asked for again and again, as an HTTP connection does.
        let stalled = tokio::time::timeout(Duration::from_secs(5), async {
            loop {
                poll_fn(|cx| {
                    let mut bytes = [0; 8];
                    assert!(Pin::new(&mut io).poll_read(cx, &mut ReadBuf::new(&mut bytes)).is_pending());
                    Poll::Ready(())
                })
                .await;
                if let Err(error) = write_once(&mut io, b"more").await {
                    return error;
                }
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(stalled.await.unwrap().kind(), ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn what_comes_in_two_parts_is_read_in_two() {
        let (mut client, mut socket) = pair().await;
        let connection = Connection::new(socket.peer_addr().unwrap());
        let long = Duration::from_secs(60);
        let (read, write) = socket.split();
        let mut io = ConnIo::new(read, write.as_ref(), &connection, Deadlines { head: long, write_stall: long });
        for part in [b"one", b"two"] {
            client.write_all(part).await.unwrap();
            let mut bytes = [0; 64];
            let count = io.read(&mut bytes).await.unwrap();
            assert_eq!(bytes.get(..count), Some(part.as_slice()));
        }
        drop(client);
        assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 0);
    }
}
