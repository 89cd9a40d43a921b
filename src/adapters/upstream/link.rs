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
use super::wire::{Wire, WireState};
use crate::adapters::bell::Bell;

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
pub(super) struct Link {
    pub(super) sender: SendRequest<BoxBody>,
    conn: Option<Connection<Wire, BoxBody>>,
    ended: bool,
    failure: Option<hyper::Error>,
    bell: Arc<Bell>,
    ring: Waker,
    pub(super) wire: Arc<WireState>,
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
pub(super) enum Driven {
    /// It had nothing to do.
    Still,
    /// It may have brought something, and waits for more.
    Moved,
    /// It is over.
    Ended,
}

impl Link {
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
            Err(_) => Err(SendFailure::ConnectTimeout(u64::try_from(within.as_millis()).unwrap_or(u64::MAX))),
        }
    }

    async fn on(socket: Socket, may_idle: Duration) -> Result<Self, SendFailure> {
        let wire = Arc::new(WireState::default());
        let mut http = Builder::new();
        http.max_buf_size(BUFFER_BYTES);
        let bell = Arc::new(Bell::default());
        let (sender, conn) = http
            .handshake(Wire::new(socket, Arc::clone(&wire)))
            .await
            .map_err(|error| SendFailure::Unreachable(error.to_string()))?;
        let ring = Waker::from(Arc::clone(&bell));
        let (conn, failure, serves) = (Some(conn), None, u32::MAX);
        let kind = ResponseKind::default();
        Ok(Self { sender, conn, ended: false, failure, bell, ring, wire, served: 0, serves, may_idle, kind })
    }

    /// Moves bytes both ways as far as that goes now. Where nothing has rung since the last time, nothing can have
    /// changed, and it costs next to nothing: hyper's server asks for more of a body twice as often as there is any.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Driven {
        if self.ended {
            return Driven::Ended;
        }
        // Before it is asked whether it rang: what rings in between wakes.
        self.bell.is_heard_by(cx.waker());
        match self.bell.rang() {
            true => self.poll(),
            false => Driven::Still,
        }
    }

    /// The same, also where nothing has rung.
    pub(super) fn push(&mut self, cx: &mut Context<'_>) -> Driven {
        self.bell.is_heard_by(cx.waker());
        self.poll()
    }

    fn poll(&mut self) -> Driven {
        let polled = match &mut self.conn {
            Some(conn) if !self.ended => Pin::new(conn).poll(&mut Context::from_waker(&self.ring)),
            _ => return Driven::Ended,
        };
        let Poll::Ready(end) = polled else { return Driven::Moved };
        self.ended = true;
        self.failure = end.err();
        Driven::Ended
    }

    /// Returns true if the backend has closed it while it was idle. Looks at the socket itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.wire.look_first();
        self.poll() == Driven::Ended
    }

    /// Nobody waits for it until it is driven again.
    pub(super) fn rest(&self) {
        self.bell.is_heard_by_nobody();
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
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(SendFailure::Refused),
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
