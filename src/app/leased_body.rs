//! An answer on its way to the client: its body carries the lease and the record of the request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body::{Body, Frame, SizeHint};
use ports::telemetry::Outcome;
use ports::upstream::{BodyError, BoxBody, Duplex, UpstreamResponse};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::cancel::RequestCancel;
use super::lease::Lease;
use super::request_tracker::RequestTracker;

/// The response of a backend, and the request's place in flight there.
pub struct Forwarded {
    response: UpstreamResponse,
    lease: Lease,
}

/// What goes to the client.
pub enum Relayed {
    /// A response.
    Response(http::Response<LeasedBody>),
    /// A switch of protocols: its head, and the connection from here on.
    Tunnel(http::Response<()>, Tunnel),
}

impl Forwarded {
    pub(super) fn new(response: UpstreamResponse, lease: Lease, tracker: &mut RequestTracker) -> Self {
        match &response {
            UpstreamResponse::Response(response) => {
                let kind = response.headers().get(CONTENT_TYPE);
                let streamed = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
                tracker.answered(response.status(), streamed);
            }
            UpstreamResponse::Tunnel(head, _) => tracker.answered(head.status(), true),
        }
        Self { response, lease }
    }

    /// Has the lease and the record of the request last as long as the body, or the tunnel.
    pub fn track(self, tracker: RequestTracker) -> Relayed {
        let Self { response, mut lease } = self;
        match response {
            UpstreamResponse::Response(response) => {
                Relayed::Response(response.map(|body| LeasedBody::new(body, lease, tracker)))
            }
            UpstreamResponse::Tunnel(head, upstream) => {
                lease.first_byte();
                lease.cancel().begin_streaming();
                let upstream = Box::new(ObservedTunnel { upstream, cancel: Arc::clone(lease.cancel()) });
                Relayed::Tunnel(head, Tunnel { upstream, lease, tracker })
            }
        }
    }
}

/// The backend's side of a connection whose protocol was switched. In flight until it is dropped.
pub struct Tunnel {
    /// Both directions.
    pub upstream: Box<dyn Duplex>,
    /// Its place in flight.
    pub lease: Lease,
    /// Its record.
    pub tracker: RequestTracker,
}

impl Tunnel {
    /// Notes how it ended and how many bytes went to the client.
    pub fn ended(mut self, to_client: u64, complete: bool) {
        self.tracker.handed_over(usize::try_from(to_client).unwrap_or(usize::MAX));
        self.tracker.ends(match (complete, self.lease.cancel().is_force_closed()) {
            (_, true) => Outcome::ForceClosed,
            (true, false) => Outcome::Complete,
            (false, false) => {
                self.lease.broke();
                Outcome::BackendBroke
            }
        });
    }
}

/// The backend's side of a tunnel; what comes from it is noted.
struct ObservedTunnel {
    upstream: Box<dyn Duplex>,
    cancel: Arc<RequestCancel>,
}

impl AsyncRead for ObservedTunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.upstream).poll_read(cx, into);
        if read.is_ready() {
            self.cancel.note_received();
        }
        read
    }
}

impl AsyncWrite for ObservedTunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.upstream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upstream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upstream).poll_shutdown(cx)
    }
}

/// The body of an answer. Bytes pass as they come. The lease and the record end with it: when it ended, when the client
/// left, or when the drain deadline cut it.
pub struct LeasedBody {
    upstream: BoxBody,
    in_flight: Option<InFlight>,
}

struct InFlight {
    lease: Lease,
    tracker: RequestTracker,
}

impl LeasedBody {
    fn new(upstream: BoxBody, lease: Lease, tracker: RequestTracker) -> Self {
        lease.cancel().begin_streaming();
        let mut body = Self { upstream, in_flight: Some(InFlight { lease, tracker }) };
        body.note_end();
        body
    }

    /// An answer that has no further byte is over now, not when somebody looks.
    fn note_end(&mut self) {
        if self.upstream.is_end_stream() {
            self.end(Outcome::Complete);
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(mut in_flight) = self.in_flight.take() {
            in_flight.tracker.ends(outcome);
        }
    }

    fn break_off(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(mut in_flight) = self.in_flight.take() {
            match error {
                BodyError::ForceClosed => in_flight.tracker.ends(Outcome::ForceClosed),
                _ => {
                    in_flight.tracker.broke(&error.to_string());
                    in_flight.lease.broke();
                }
            }
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for LeasedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.in_flight.as_ref().is_some_and(|i| i.lease.cancel().is_force_closed()) {
            return this.break_off(BodyError::ForceClosed);
        }
        match this.upstream.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some(in_flight)) = (frame.data_ref(), &mut this.in_flight) {
                    in_flight.lease.cancel().note_received();
                    in_flight.lease.first_byte();
                    in_flight.tracker.handed_over(data.len());
                }
                this.note_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.break_off(error),
            Poll::Ready(None) => {
                this.end(Outcome::Complete);
                Poll::Ready(None)
            }
            Poll::Pending if this.in_flight.as_ref().is_some_and(|i| i.lease.cancel().must_fail_waiting()) => {
                this.break_off(BodyError::Broken("the backend is gone".to_owned()))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upstream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.upstream.size_hint()
    }
}

impl Drop for LeasedBody {
    fn drop(&mut self) {
        let cut = self.in_flight.as_ref().is_some_and(|i| i.lease.cancel().is_drain_over());
        self.end(if cut { Outcome::ForceClosed } else { Outcome::ClientLeft });
    }
}
