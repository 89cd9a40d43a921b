//! One client connection, on hyper's plain HTTP/1 server: its requests, then the tunnel that it may become, then its end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use app::leased_body::Tunnel;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::closing::{MaySend, ResetGuard, linger};
use super::conn_io::ConnIo;
use super::conn_state::{ConnState, Connection};
use super::grace_period::GracePeriod;
use super::server::Server;
use super::tunnel;
use crate::adapters::shared::conn_waker::ConnWaker;

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

/// What follows the last request of a connection.
enum Next {
    /// The other protocol, with what the client has sent of it already.
    Tunnel(Box<Tunnel>, Bytes),
    /// The end in order.
    Close(MaySend),
    /// The end at once.
    Drop,
}

/// Serves one connection until it ends or is told to.
pub(super) async fn serve(
    server: Arc<Server>,
    builder: http1::Builder,
    mut socket: TcpStream,
    connection: Arc<Connection>,
) {
    let deadlines = server.deadlines();
    let next = {
        // A half for reading reads as tokio does; everything else needs no more than to see the socket.
        let (read, write) = socket.split();
        let socket = write.as_ref();
        let _guard = ResetGuard { socket, connection: &connection };
        speak(server, builder, ConnIo::new(read, socket, &connection, deadlines), socket, &connection).await
    };
    match next {
        Next::Tunnel(tunnel, early) => {
            Box::pin(tunnel::carry(&mut socket, &early, *tunnel, &connection.cancel)).await;
        }
        Next::Close(may_send) => {
            connection.begin_closing();
            let mut lingers = Box::pin(linger(&mut socket, may_send));
            poll_fn(|cx| {
                connection.cancel.register(cx.waker());
                match connection.cancel.is_aborted() {
                    true => Poll::Ready(()),
                    false => lingers.as_mut().poll(cx),
                }
            })
            .await;
        }
        Next::Drop => {}
    }
}

/// Speaks HTTP until there is no further request.
async fn speak(
    server: Arc<Server>,
    builder: http1::Builder,
    io: ConnIo<'_>,
    socket: &TcpStream,
    connection: &Arc<Connection>,
) -> Next {
    let (routes, mut ending) = (Arc::clone(server.routes()), GracePeriod::new(server.settings().stop_delay));
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, connection) = (Arc::clone(&server), Arc::clone(connection));
        let (mut parts, body) = request.into_parts();
        // Now, not when the answer is first polled: hyper looks at the socket once more in between, which would set a
        // timer for a head that is there.
        let body = connection.begin_request(body);
        // On the heap, so that it is gone while the answer streams.
        Box::pin(async move { Ok::<_, Infallible>(server.serve(&connection, &mut parts, body).await) })
    });
    let mut served = builder.serve_connection(TokioIo::new(io), service);
    let conn_waker = Arc::new(ConnWaker::default());
    let ring = Waker::from(Arc::clone(&conn_waker));
    let mut left = pin!(client_left(socket));
    let spoken = poll_fn(|cx| {
        connection.cancel.register(cx.waker());
        conn_waker.set_waker(cx.waker());
        if connection.cancel.is_aborted() {
            return Poll::Ready(None);
        }
        let before = connection.state();
        connection.set_reads(false);
        if let Poll::Ready(end) = Pin::new(&mut served).poll(&mut Context::from_waker(&ring)) {
            return Poll::Ready(Some(end));
        }
        if connection.may_miss_the_end() && left.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if connection.state() == ConnState::Draining {
            match connection.request.poll_discard(cx) {
                Poll::Ready(()) => connection.drained(),
                // The deadline begins when the socket is asked, which was while the answer was on its way.
                Poll::Pending if before != ConnState::Draining => cx.waker().wake_by_ref(),
                Poll::Pending => {}
            }
        }
        // What was there has been read, and it is not a request.
        if connection.has_expired() {
            return Poll::Ready(Some(Ok(())));
        }
        let (now, closing) = (connection.state(), connection.cancel.is_closing());
        if closing || routes.is_stopping() {
            ending.look(before, now);
        }
        // What was on its way when the listener closed has had its time.
        if !closing || ending.poll_due(now, cx).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut served).graceful_shutdown();
        match Pin::new(&mut served).poll(&mut Context::from_waker(&ring)) {
            // There is a part of a head, or of a body: hyper would wait for the rest of it.
            Poll::Pending if !connection.is_in_use() => Poll::Ready(Some(Ok(()))),
            polled => polled.map(Some),
        }
    })
    .await;
    next(spoken, connection, || served.into_parts().read_buf)
}

/// Why a client's connection ended is its own business: broken answers were logged with their reasons.
fn next(spoken: Option<Result<(), hyper::Error>>, connection: &Connection, early: impl FnOnce() -> Bytes) -> Next {
    match spoken {
        Some(Ok(())) => match connection.take_tunnel() {
            Some(tunnel) => Next::Tunnel(tunnel, early()),
            None if connection.request.is_unread() => Next::Close(MaySend::Yes),
            None => Next::Close(MaySend::No),
        },
        // What is not a head was answered by hyper, and not read any further.
        Some(Err(error)) if error.is_parse() => Next::Close(MaySend::Yes),
        Some(Err(_)) | None => Next::Drop,
    }
}

/// Waits until the client has sent its end, or a reset, whatever stands unread before it.
#[cfg(target_os = "linux")]
async fn client_left(socket: &TcpStream) {
    // An interest that bytes do not satisfy, only the end of them: urgent data is not asked for.
    while matches!(socket.ready(tokio::io::Interest::PRIORITY).await, Ok(ready) if !ready.is_read_closed()) {}
}

/// Elsewhere the end is noticed when what stands before it is read.
#[cfg(not(target_os = "linux"))]
async fn client_left(_: &TcpStream) {
    std::future::pending().await
}
