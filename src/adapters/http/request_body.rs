//! A request's body, and what is left of it when its answer is ready.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// The most bytes of a request's body that are read and discarded so that its connection can carry a further request.
pub const REST_MAX_BYTES: u64 = 256 * 1024;
/// The turns in which the connection may bring nothing before the rest counts as not there yet.
const SILENT_TURNS: u8 = 2;
/// The length of what is left where only the end will tell.
const UNKNOWN: u64 = u64::MAX;

/// How far the present request of a connection was read.
#[derive(Debug, Default)]
pub struct RequestProgress {
    unread: AtomicU64,
    /// Whether the rest is kept to be discarded, rather than given up together with the connection.
    keeps_rest: AtomicBool,
    rest: Mutex<Option<Incoming>>,
}

impl RequestProgress {
    /// Begins a request with this body.
    pub fn begin(self: &Arc<Self>, incoming: Incoming) -> RequestBody {
        let unread = match incoming.is_end_stream() {
            true => 0,
            false => left_of(&incoming),
        };
        if self.is_unread() {
            self.give_up_rest();
        }
        self.unread.store(unread, Ordering::Relaxed);
        self.keeps_rest.store(true, Ordering::Relaxed);
        RequestBody { incoming: Some(incoming), progress: Arc::clone(self) }
    }

    /// Returns true if a part of the request's body was not read.
    pub fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed) != 0
    }

    /// Returns true if what is left is known to be little enough to be discarded.
    pub fn is_rest_small(&self) -> bool {
        self.unread.load(Ordering::Relaxed) <= REST_MAX_BYTES
    }

    /// Gives up what is left, now and when it is let go later: the connection ends with the answer.
    pub fn give_up_rest(&self) {
        self.keeps_rest.store(false, Ordering::Relaxed);
        drop(self.take_rest());
    }

    /// Discards the rest as it comes. Ready when all of it was read, or it broke off.
    pub fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut rest) = self.take_rest() else {
            // It is read by the one that sends it on.
            return if self.is_unread() { Poll::Pending } else { Poll::Ready(()) };
        };
        loop {
            match self.poll_rest(&mut rest, cx) {
                // Not asked for what follows the last byte: hyper tells that with the next head.
                Poll::Ready(Some(_)) if self.is_unread() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.put_rest(rest);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Discards what is there already, within [`REST_MAX_BYTES`]. The connection brings it between two turns.
    pub async fn discard_present(&self) {
        let Some(mut rest) = self.take_rest() else { return };
        let (mut silent, mut discarded) = (0, 0);
        std::future::poll_fn(|cx| {
            loop {
                match self.poll_rest(&mut rest, cx) {
                    Poll::Ready(Some(length)) => {
                        silent = 0;
                        discarded += length;
                        if discarded > REST_MAX_BYTES || !self.is_unread() {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending if silent < SILENT_TURNS => {
                        silent += 1;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Pending => return Poll::Ready(()),
                }
            }
        })
        .await;
        if self.is_unread() {
            self.put_rest(rest);
        }
    }

    /// The length of the next chunk; `None` behind the last one.
    fn poll_rest(&self, rest: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        Pin::new(&mut *rest).poll_frame(cx).map(|frame| {
            self.note(rest, is_last(frame.as_ref()));
            frame?.ok().map(|frame| frame.data_ref().map_or(0, |data| data.len() as u64))
        })
    }

    fn note(&self, incoming: &Incoming, ended: bool) {
        let unread = if ended || incoming.is_end_stream() { 0 } else { left_of(incoming) };
        self.unread.store(unread, Ordering::Relaxed);
    }

    fn put_rest(&self, rest: Incoming) {
        if self.keeps_rest.load(Ordering::Relaxed) {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        }
    }

    fn take_rest(&self) -> Option<Incoming> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Returns true if nothing follows: a body ends with its trailers, and a reader need not ask for more.
fn is_last(frame: Option<&Result<Frame<Bytes>, hyper::Error>>) -> bool {
    frame.is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers))
}

fn left_of(incoming: &Incoming) -> u64 {
    incoming.size_hint().exact().unwrap_or(UNKNOWN)
}

/// The body of a client's request. What of it is let go unread stays with the connection, which hyper would close.
pub struct RequestBody {
    incoming: Option<Incoming>,
    progress: Arc<RequestProgress>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            this.progress.note(incoming, is_last(frame.as_ref()));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.progress.is_unread()
            && let Some(incoming) = self.incoming.take()
        {
            self.progress.put_rest(incoming);
        }
    }
}
