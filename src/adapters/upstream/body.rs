//! An answer's body: it drives its connection, and gives it back or closes it at its end.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use ports::upstream::BodyError;

use super::connection::Progress;
use super::failure::body_failure;
use super::pool::PooledConn;
use crate::adapters::shared::conn_waker::suppress_self_wake;

/// A body on its way from the backend. Dropping it before its end closes the connection.
pub(super) struct UpstreamBody {
    // Goes before `incoming`: a connection that is gone needs not be told that nobody reads any more.
    conn: Option<PooledConn>,
    incoming: Incoming,
    /// Whether `incoming` was empty when it was last asked. Only driving the connection puts anything into it.
    drained: bool,
    how_it_ended: Option<hyper::Error>,
}

impl UpstreamBody {
    /// The body of an answer whose head came over `conn`.
    pub(super) fn new(incoming: Incoming, conn: PooledConn) -> Self {
        Self { conn: Some(conn), incoming, drained: false, how_it_ended: None }
    }

    /// What is there already. Being woken is the connection's part.
    fn next(&mut self) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        suppress_self_wake(|| Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(Waker::noop()))).0
    }

    /// Moves what the connection has; says whether anything can have changed.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(link) = self.conn.as_mut().and_then(PooledConn::link) else { return false };
        match link.drive(cx) {
            Progress::Idle => false,
            Progress::Advanced => true,
            Progress::Closed => {
                self.how_it_ended = link.take_failure();
                link.close();
                self.conn = None;
                true
            }
        }
    }

    /// The exchange is over: keeps the connection if it is fit for another one.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if let Some(conn) = self.conn.take() {
            settle(conn, cx);
        }
    }

    fn hand_on(
        &mut self,
        cx: &mut Context<'_>,
        frame: Option<Result<Frame<Bytes>, hyper::Error>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        match frame {
            Some(Ok(frame)) => {
                // Whoever reads need not ask again after the last one.
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.settle(cx);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.conn = None;
                Some(Err(body_failure(&error, self.how_it_ended.as_ref())))
            }
            None => {
                self.settle(cx);
                None
            }
        }
    }
}

/// Keeps the connection of a complete answer, if the request is complete too and both sides would go on.
pub(super) fn settle(mut conn: PooledConn, cx: &mut Context<'_>) {
    if let Some(link) = conn.link() {
        link.served += 1;
        if !link.is_free() {
            // It may not have noticed yet that the answer is over.
            link.push(cx);
        }
    }
    conn.give_back();
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut next = if self.drained { Poll::Pending } else { self.next() };
        if next.is_pending() && self.drive(cx) {
            next = self.next();
        }
        self.drained = next.is_pending();
        match next {
            Poll::Ready(frame) => Poll::Ready(self.hand_on(cx, frame)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
