//! One client connection, on hyper's plain HTTP/1 server.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::ending::Ending;
use super::forward;
use super::guarded_io::{GuardedIo, Phase, Stands};
use super::server::{Connection, Server};
use crate::adapters::bell::Bell;
use crate::app::interrupt::Interrupt;

/// The largest head, in bytes, and the largest piece of a body that is read at once.
const BUFFER_MAX: usize = 64 * 1024;
/// The most headers of a request.
const HEADERS_MAX: usize = 100;

/// How connections are served. hyper's automatic builder is not used: it does not end a connection that is silent.
pub(super) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // No timer: the deadlines are kept below it, by the socket, and beside it, by the rounds of the listener.
    builder.max_buf_size(BUFFER_MAX).max_headers(HEADERS_MAX).auto_date_header(false);
    builder
}

/// Serves one connection until it ends or is told to.
pub(super) async fn serve(
    server: Arc<Server>,
    builder: http1::Builder,
    socket: TcpStream,
    peer: SocketAddr,
    interrupt: Arc<Interrupt>,
    phase: Arc<Phase>,
) {
    let deadlines = server.deadlines();
    let io = GuardedIo::new(socket, Arc::clone(&phase), Arc::clone(&interrupt), deadlines);
    let standing = Arc::clone(&phase);
    let client = forward::client(peer.ip());
    let connection = Arc::new(Connection { peer, client, interrupt: Arc::clone(&interrupt), phase });
    let (shared, mut ending) = (Arc::clone(server.shared()), Ending::new(server.settings().stop_delay));
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, connection) = (Arc::clone(&server), Arc::clone(&connection));
        // Now, not when the answer is first polled: hyper looks at the socket once more in between, which would set a
        // timer for a head that is there.
        connection.phase.head_read();
        let (mut parts, body) = request.into_parts();
        // On the heap, so that it is gone while the answer streams.
        Box::pin(async move { Ok::<_, std::convert::Infallible>(server.answer(&connection, &mut parts, body).await) })
    });
    let mut served = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let bell = Arc::new(Bell::default());
    let ring = Waker::from(Arc::clone(&bell));
    poll_fn(|cx| {
        interrupt.register(cx.waker());
        bell.is_heard_by(cx.waker());
        if interrupt.is_aborted() {
            return Poll::Ready(());
        }
        let before = standing.stands();
        // Why a client's connection ended is its own business: broken answers were logged with their reasons.
        if served.as_mut().poll(&mut Context::from_waker(&ring)).is_ready() {
            return Poll::Ready(());
        }
        // What was there has been read, and it is no request.
        if standing.has_expired() {
            return Poll::Ready(());
        }
        let closing = interrupt.is_closing();
        if closing || shared.is_stopping() {
            ending.look(before, standing.stands());
        }
        // What was on its way when the listener closed has had its time.
        if !closing || ending.poll_due(standing.stands(), cx).is_pending() {
            return Poll::Pending;
        }
        served.as_mut().graceful_shutdown();
        match served.as_mut().poll(&mut Context::from_waker(&ring)) {
            // There is a part of a head: hyper would wait for the rest of it.
            Poll::Pending if standing.stands() == Stands::Head => Poll::Ready(()),
            polled => polled.map(drop),
        }
    })
    .await;
}
