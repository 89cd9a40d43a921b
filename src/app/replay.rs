//! A request that can be sent once more: where a replica declined it, another one may take it.

use std::any::Any;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use ports::upstream::{BodyError, BoxBody, BoxRequest};

/// The largest body that is kept to be sent once more, in bytes.
pub const REPLAY_MAX_BYTES: usize = 64 * 1024;

/// The whole body of a request.
pub struct Replay {
    chunks: VecDeque<Bytes>,
    /// What the body is charged to, until it is dropped.
    _charge: Box<dyn Any + Send>,
}

impl Replay {
    /// A body of these chunks. `charge` is dropped with it.
    pub fn new(chunks: VecDeque<Bytes>, charge: Box<dyn Any + Send>) -> Self {
        Self { chunks, _charge: charge }
    }

    /// Saves a request that has this body.
    pub(super) fn save(self, request: &Request<BoxBody>) -> Box<Saved> {
        Box::new(Saved {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: self,
        })
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.chunks.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.chunks.iter().map(|chunk| chunk.len() as u64).sum())
    }
}

/// A request, ready to be sent once more.
pub(super) struct Saved {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Replay,
}

impl Saved {
    /// Makes the request again.
    pub(super) fn into_request(self) -> BoxRequest {
        let mut request = Request::new(Box::pin(self.body) as BoxBody);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        Box::new(request)
    }
}
