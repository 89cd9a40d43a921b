//! A request that can be sent once more: where a replica declined it, another one may take it.

use std::any::Any;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use ports::upstream::{BodyError, BoxBody, BoxRequest};

/// The largest body that is kept to be sent once more, in bytes.
pub const REPLAY_MAX_BYTES: usize = 64 * 1024;

/// The whole body of a request.
pub struct Replay {
    first: Option<Bytes>,
    others: VecDeque<Bytes>,
    /// What the body is charged to, until it is dropped.
    _charge: Box<dyn Any + Send>,
}

impl Replay {
    /// A body of these chunks. `charge` is dropped with it.
    pub fn new(mut chunks: impl Iterator<Item = Bytes>, charge: Box<dyn Any + Send>) -> Self {
        // Nearly always there is one, and no room for others has to be made.
        Self { first: chunks.next(), others: chunks.collect(), _charge: charge }
    }

    /// Saves a request that has this body.
    pub(super) fn save(self, request: &Request<BoxBody>) -> Box<Saved> {
        Box::new(Saved {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            body: self,
        })
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.first.take().or_else(|| self.others.pop_front()).map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.first.iter().chain(&self.others).map(|chunk| chunk.len() as u64).sum())
    }
}

/// A request, ready to be sent once more.
pub(super) struct Saved {
    method: Method,
    uri: Uri,
    /// In a list: a map costs twice as much to copy, and is rarely needed.
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Replay,
}

impl Saved {
    /// Makes the request again.
    pub(super) fn into_request(self) -> BoxRequest {
        let mut request = Request::new(Box::pin(self.body) as BoxBody);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        let headers = request.headers_mut();
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        Box::new(request)
    }
}
