//! One connection to a backend, and the two halves by which hyper runs it.
//!
//! No task of its own runs it: whoever waits for its answer polls it. So an answer's bytes reach the client in the
//! same turn in which they were read, and a request that is dropped takes its connection with it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use ports::upstream::{BoxBody, SendFailure};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::probation::ResponseKind;
use super::socket::Socket;
use super::tls::ServerTls;
use super::upstream_io::{IoState, UpstreamIo};
use crate::adapters::shared::conn_waker::ConnWaker;

/// The most that is buffered of an answer on its way, in bytes; its head must fit as well. It decides what a reader that
/// stalls costs: hyper holds about three times as much for it.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long a connection may be silent before the kernel asks whether the other end still lives.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// How long the kernel waits between such questions.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How many of them may stay without an answer.
const PROBES: u32 = 4;

/// A connection.
pub(super) struct Conn {
    pub(super) sender: SendRequest<BoxBody>,
    conn: Option<Connection<UpstreamIo, BoxBody>>,
    ended: bool,
    failure: Option<hyper::Error>,
    conn_waker: Arc<ConnWaker>,
    ring: Waker,
    pub(super) wire: Arc<IoState>,
    /// How many answers it has brought.
    pub(super) served: u32,
    /// How many it may bring.
    pub(super) serves: u32,
    /// How long it may wait for its next request.
    pub(super) may_idle: Duration,
    /// Of which kind its last response was.
    pub(super) kind: ResponseKind,
}

/// How it went on with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It had nothing to do.
    Idle,
    /// It may have brought something, and waits for more.
    Advanced,
    /// It is over.
    Closed,
}

impl Conn {
    /// Connects.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) async fn open(
        to: SocketAddr,
        tls: Option<&ServerTls>,
        within: Duration,
        may_idle: Duration,
    ) -> Result<Self, SendFailure> {
        match tokio::time::timeout(within, connect(to, tls)).await {
            Ok(socket) => Self::on(socket?, may_idle).await,
            Err(_) => Err(SendFailure::ConnectTimeout(within)),
        }
    }

    async fn on(socket: Socket, may_idle: Duration) -> Result<Self, SendFailure> {
        let wire = Arc::new(IoState::default());
        let mut http = Builder::new();
        http.max_buf_size(BUFFER_BYTES);
        let conn_waker = Arc::new(ConnWaker::default());
        let (sender, conn) = http
            .handshake(UpstreamIo::new(socket, Arc::clone(&wire)))
            .await
            .map_err(|error| SendFailure::Unreachable(error.to_string()))?;
        let ring = Waker::from(Arc::clone(&conn_waker));
        let (conn, failure, serves) = (Some(conn), None, u32::MAX);
        let kind = ResponseKind::default();
        Ok(Self { sender, conn, ended: false, failure, conn_waker, ring, wire, served: 0, serves, may_idle, kind })
    }

    /// Moves bytes both ways as far as that goes now. Where nothing has rung since the last time, nothing can have
    /// changed, and it costs next to nothing: hyper's server asks for more of a body twice as often as there is any.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.ended {
            return Progress::Closed;
        }
        // Before it is asked whether it notified: what rings in between wakes.
        self.conn_waker.set_waker(cx.waker());
        match self.conn_waker.take_notified() {
            true => self.poll(),
            false => Progress::Idle,
        }
    }

    /// The same, also where nothing has rung.
    pub(super) fn push(&mut self, cx: &mut Context<'_>) -> Progress {
        self.conn_waker.set_waker(cx.waker());
        self.poll()
    }

    fn poll(&mut self) -> Progress {
        let polled = match &mut self.conn {
            Some(conn) if !self.ended => Pin::new(conn).poll(&mut Context::from_waker(&self.ring)),
            _ => return Progress::Closed,
        };
        let Poll::Ready(end) = polled else { return Progress::Advanced };
        self.ended = true;
        self.failure = end.err();
        Progress::Closed
    }

    /// Returns true if the backend has closed it while it was idle. Looks at the socket itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.wire.check_liveness();
        self.poll() == Progress::Closed
    }

    /// Nobody waits for it until it is driven again.
    pub(super) fn rest(&self) {
        self.conn_waker.clear_waker();
    }

    /// Closes the socket. What was read of the answer stays readable.
    pub(super) fn close(&mut self) {
        self.ended = true;
        self.conn = None;
    }

    /// Why the connection ended, if it did not end in order.
    pub(super) fn take_failure(&mut self) -> Option<hyper::Error> {
        self.failure.take()
    }

    /// Whether the last exchange is complete and both sides would go on.
    pub(super) fn is_free(&self) -> bool {
        !self.ended && self.sender.is_ready() && self.served < self.serves
    }

    /// The bare socket after the protocol was switched, with what was already read of the new one.
    pub(super) fn into_socket(mut self) -> Option<(Socket, Bytes)> {
        let parts = self.conn.take()?.into_parts();
        Some((parts.io.into_socket(), parts.read_buf))
    }
}

/// Connects, and opens TLS where that is wanted.
async fn connect(to: SocketAddr, tls: Option<&ServerTls>) -> Result<Socket, SendFailure> {
    let stream = match TcpStream::connect(to).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(SendFailure::ConnectionRefused),
        Err(error) => return Err(SendFailure::Unreachable(error.to_string())),
    };
    let unusable = |error: io::Error| SendFailure::Unreachable(error.to_string());
    stream.set_nodelay(true).map_err(unusable)?;
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    SockRef::from(&stream).set_tcp_keepalive(&probes).map_err(unusable)?;
    match tls {
        None => Ok(Socket::Plain(stream)),
        Some(tls) => match tls.open(stream).await {
            Ok(stream) => Ok(Socket::Tls(Box::new(stream))),
            Err(error) => Err(SendFailure::Unreachable(format!("no TLS: {error}"))),
        },
    }
}
