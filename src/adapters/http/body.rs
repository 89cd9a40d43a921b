//! The body of an answer to a client: carried from a backend, or made here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use app::leased_body::LeasedBody as Forwarded;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use ports::upstream::BodyError;

use super::conn_state::{Connection, Flushes};

/// How much of an answer waits for its reader, in bytes, and one piece more. hyper would hold four times as much.
const UNREAD_MAX: usize = 16 * 1024;

/// What a client's connection writes.
pub struct ClientBody {
    source: Source,
    connection: Option<Arc<Connection>>,
    broken: Option<Broken>,
    unread: Unread,
}

/// What was handed over since everything had left.
#[derive(Default)]
struct Unread {
    bytes: usize,
    flushes_before: u32,
}

/// An answer that broke off. The error waits until what came before it has left: hyper drops what it still holds.
struct Broken {
    error: BodyError,
    flushes_before: u32,
}

enum Source {
    Here(Full<Bytes>),
    Forwarded(Forwarded),
    Routed(axum::body::Body),
}

impl ClientBody {
    /// Made here.
    pub fn here(bytes: Bytes) -> Self {
        Self { source: Source::Here(Full::new(bytes)), connection: None, broken: None, unread: Unread::default() }
    }

    /// Forwarded from a backend.
    pub fn forwarded(body: Forwarded) -> Self {
        Self { source: Source::Forwarded(body), connection: None, broken: None, unread: Unread::default() }
    }

    /// From the router.
    pub fn routed(body: axum::body::Body) -> Self {
        Self { source: Source::Routed(body), connection: None, broken: None, unread: Unread::default() }
    }

    /// Whether the proxy answers by itself.
    pub fn is_own(&self) -> bool {
        match self.source {
            Source::Here(_) | Source::Routed(_) => true,
            Source::Forwarded(_) => false,
        }
    }

    /// Tells the connection when the answer is over.
    pub(super) fn ending(mut self, connection: Arc<Connection>) -> Self {
        self.connection = Some(connection);
        self
    }
}

impl Unread {
    /// Whether nothing may follow until it has left; whoever drives the connection is woken then.
    fn is_enough(&mut self, flushes: &Flushes) -> bool {
        if self.bytes < UNREAD_MAX {
            return false;
        }
        if flushes.any_since(self.flushes_before) {
            *self = Self { bytes: 0, flushes_before: flushes.count() };
            return false;
        }
        flushes.awaited();
        // It may have left in between.
        !flushes.any_since(self.flushes_before)
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(broken) = &this.broken {
            return match this.connection.as_ref().is_none_or(|c| c.flushes.any_since(broken.flushes_before)) {
                true => Poll::Ready(Some(Err(broken.error.clone()))),
                false => Poll::Pending,
            };
        }
        if let Some(connection) = &this.connection
            && this.unread.is_enough(&connection.flushes)
        {
            return Poll::Pending;
        }
        match &mut this.source {
            Source::Forwarded(body) => match (Pin::new(body).poll_frame(cx), &this.connection) {
                (Poll::Ready(Some(Ok(frame))), _) => {
                    this.unread.bytes += frame.data_ref().map_or(0, Bytes::len);
                    Poll::Ready(Some(Ok(frame)))
                }
                (Poll::Ready(Some(Err(error))), Some(connection)) => {
                    this.broken = Some(Broken { error, flushes_before: connection.flushes.awaited() });
                    Poll::Pending
                }
                (polled, _) => polled,
            },
            Source::Here(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Source::Routed(body) => Pin::new(body).poll_frame(cx).map_err(|error| BodyError::Broken(error.to_string())),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Forwarded(body) => body.is_end_stream(),
            Source::Here(body) => body.is_end_stream(),
            Source::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Forwarded(body) => body.size_hint(),
            Source::Here(body) => body.size_hint(),
            Source::Routed(body) => body.size_hint(),
        }
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.end_response();
        }
    }
}
