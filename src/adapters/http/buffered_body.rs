//! A request's body on its way to a backend: what was held to find the model, then the rest as it comes.
//!
//! The search goes on in what passes. A second model that is seen late breaks the request off, so that no backend can
//! act upon a body which other parsers read differently.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use body_model::{FindError, ModelFinder};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use ports::upstream::BodyError;
use tokio::time::Sleep;

use super::buffer::Buffer;
use super::decode::{DecodeError, Decoder};
use super::error::{BODY_TOO_LARGE, OVERLOADED};
use super::request_body::RequestBody;
use crate::adapters::shared::conn_waker::suppress_self_wake;

/// Looks for the model in what passes by.
pub struct Search {
    /// Looks through what was decoded.
    pub finder: ModelFinder,
    /// Undoes the compression, if there is one.
    pub decoder: Option<Decoder>,
}

/// Why the search failed.
#[derive(Debug)]
pub enum SearchError {
    /// The body names no usable model, or two.
    Find(FindError),
    /// The compression cannot be undone.
    Decode(DecodeError),
}

impl Search {
    /// Looks through the next slice of the chunk and takes that off its front. True: there is more to look through, and it
    /// is time to let others have their turn.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn step(&mut self, chunk: &mut &[u8]) -> Result<bool, SearchError> {
        match &mut self.decoder {
            None => self.finder.feed(std::mem::take(chunk)).map(|()| false).map_err(SearchError::Find),
            Some(decoder) => match decoder.decode(chunk, |text| self.finder.feed(text)) {
                Ok((found, more)) => found.map(|()| more).map_err(SearchError::Find),
                Err(error) => Err(SearchError::Decode(error)),
            },
        }
    }
}

impl SearchError {
    fn into_body_error(self) -> BodyError {
        match self {
            Self::Find(error) => BodyError::Rejected { code: error.code(), message: error.to_string() },
            Self::Decode(DecodeError::TooLarge) => BodyError::Rejected {
                code: BODY_TOO_LARGE,
                message: "the body is larger, when it is decoded, than the proxy looks through".to_owned(),
            },
            Self::Decode(DecodeError::Invalid) => BodyError::Rejected {
                code: "invalid_body",
                message: "the body is not what its Content-Encoding says".to_owned(),
            },
            Self::Decode(DecodeError::NoRoom) => BodyError::Rejected {
                code: OVERLOADED,
                message: "the proxy holds as much of request bodies as it may; send the request again".to_owned(),
            },
        }
    }
}

/// Ends a body that does not come.
#[derive(Default)]
pub struct IdleTimeout(Option<Pin<Box<Sleep>>>);

impl IdleTimeout {
    /// A byte came, or the end.
    pub fn came(&mut self) {
        self.0 = None;
    }

    /// Nothing came yet; an error once that has lasted for `limit`.
    pub fn wait(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<BodyError> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        sleep.as_mut().poll(cx).map(|()| BodyError::Stalled(limit))
    }
}

/// The body as the backend gets it.
pub struct BufferedBody {
    /// What was read to find the model.
    pub held: Buffer,
    /// What is still to come.
    pub rest: Option<RequestBody>,
    /// Looks through what is still to come.
    pub search: Option<Search>,
    /// What came and is being looked through, and how far that has gone.
    pub passing: Option<(Frame<Bytes>, usize)>,
    /// Waits for what is still to come, no longer than `idle`.
    pub patience: IdleTimeout,
    /// The longest time between two pieces.
    pub idle: Duration,
}

impl BufferedBody {
    /// Nothing more comes: what looked for the model is of no more use, and may hold much.
    pub fn has_ended(&mut self) {
        self.rest = None;
        self.search = None;
    }

    /// Looks through the next slice of what came, and passes it on behind the last one.
    fn pass(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let (Some((frame, seen)), Some(search)) = (&mut self.passing, &mut self.search)
            && let Some(data) = frame.data_ref()
        {
            let mut left = data.get(*seen..).unwrap_or_default();
            match search.step(&mut left) {
                Ok(false) => {}
                Ok(true) => {
                    *seen = data.len() - left.len();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Some(Err(error.into_body_error()))),
            }
        }
        let passed = self.passing.take().map(|(frame, _)| Ok(frame));
        if self.rest.as_ref().is_some_and(Body::is_end_stream) {
            self.has_ended();
        }
        Poll::Ready(passed)
    }
}

impl Body for BufferedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(piece) = this.held.pop() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if this.passing.is_none() {
            let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
            match take(rest, cx) {
                Poll::Pending => return this.patience.wait(this.idle, cx).map(|error| Some(Err(error))),
                Poll::Ready(None) => {
                    this.has_ended();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(broken(&error)))),
                Poll::Ready(Some(Ok(frame))) => {
                    this.patience.came();
                    this.passing = Some((frame, 0));
                }
            }
        }
        this.pass(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.passing.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let passing = self.passing.as_ref().and_then(|(frame, _)| frame.data_ref()).map_or(0, Bytes::len);
        let held = (self.held.bytes() + passing) as u64;
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(held.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Takes the next piece of a client's body. Taking one wakes the client's connection, so that it reads the next one;
/// behind the last one there is none.
pub fn take(body: &mut RequestBody, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let (taken, notified) = suppress_self_wake(|| Pin::new(&mut *body).poll_frame(cx));
    if notified && !(taken.is_ready() && body.is_end_stream()) {
        cx.waker().wake_by_ref();
    }
    taken
}

/// What hyper says of a client's body that broke off.
pub fn broken(error: &hyper::Error) -> BodyError {
    match error.is_parse() || error.is_user() {
        true => BodyError::Malformed(error.to_string()),
        false => BodyError::Broken(error.to_string()),
    }
}
