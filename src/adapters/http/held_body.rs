//! A request's body on its way to a backend: what was held to find the model, then the rest as it comes.
//!
//! The search goes on in what passes. A second model that is seen late breaks the request off, so that no backend can
//! act upon a body which other parsers read differently.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::decode::{DecodeError, Decoder};
use super::error::BODY_TOO_LARGE;
use super::request_body::RequestBody;
use crate::adapters::bell::unwoken;
use crate::domain::finder::{FindError, ModelFinder};
use crate::ports::upstream::BodyError;

/// What one held piece costs beside its bytes: its handle, and its share of the buffer that it pins.
const PIECE_OVERHEAD: usize = size_of::<Frame<Bytes>>() + 16;

/// How much is held for all requests together.
#[derive(Debug)]
pub struct HeldTotal {
    bytes: AtomicUsize,
    limit: usize,
}

impl HeldTotal {
    /// Nothing is held, and this much may be.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), limit })
    }

    fn add(&self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// The pieces of one body that were read and not yet passed on.
pub struct Held {
    pieces: VecDeque<Frame<Bytes>>,
    cost: usize,
    total: Arc<HeldTotal>,
}

impl Held {
    /// Holds nothing yet.
    pub fn new(total: Arc<HeldTotal>) -> Self {
        Self { pieces: VecDeque::new(), cost: 0, total }
    }

    /// What is held costs this much.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Holds a piece; `false` if there is no room for it among all requests.
    pub fn push(&mut self, piece: Frame<Bytes>) -> bool {
        let cost = piece_cost(&piece);
        let fits = self.total.add(cost);
        if fits {
            self.cost += cost;
            self.pieces.push_back(piece);
        }
        fits
    }

    fn pop(&mut self) -> Option<Frame<Bytes>> {
        let piece = self.pieces.pop_front()?;
        self.give_back(piece_cost(&piece));
        Some(piece)
    }

    fn give_back(&mut self, cost: usize) {
        self.cost = self.cost.saturating_sub(cost);
        self.total.bytes.fetch_sub(cost, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.cost);
    }
}

fn piece_cost(piece: &Frame<Bytes>) -> usize {
    piece.data_ref().map_or(0, Bytes::len) + PIECE_OVERHEAD
}

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
    /// Looks through the next piece.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), SearchError> {
        match &mut self.decoder {
            None => self.finder.feed(chunk).map_err(SearchError::Find),
            Some(decoder) => match decoder.decode(chunk, |text| self.finder.feed(text)) {
                Ok(found) => found.map_err(SearchError::Find),
                Err(error) => Err(SearchError::Decode(error)),
            },
        }
    }
}

impl SearchError {
    fn into_body_error(self) -> BodyError {
        match self {
            Self::Find(error) => BodyError::Refused { code: error.code(), message: error.to_string() },
            Self::Decode(DecodeError::TooLarge) => BodyError::Refused {
                code: BODY_TOO_LARGE,
                message: "the body is larger, when it is decoded, than the proxy looks through".to_owned(),
            },
            Self::Decode(DecodeError::Invalid) => BodyError::Refused {
                code: "invalid_body",
                message: "the body is not what its Content-Encoding says".to_owned(),
            },
        }
    }
}

/// Ends a body that does not come.
#[derive(Default)]
pub struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// A byte came, or the end.
    pub fn came(&mut self) {
        self.0 = None;
    }

    /// Nothing came yet; an error once that has lasted for `limit`.
    pub fn wait(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<BodyError> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        sleep.as_mut().poll(cx).map(|()| BodyError::Stalled(limit.as_secs()))
    }
}

/// The body as the backend gets it.
pub struct HeldBody {
    /// What was read to find the model.
    pub held: Held,
    /// What is still to come.
    pub rest: Option<RequestBody>,
    /// Looks through what is still to come.
    pub search: Option<Search>,
    /// Waits for what is still to come, no longer than `idle`.
    pub patience: Patience,
    /// The longest time between two pieces.
    pub idle: Duration,
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(piece) = this.held.pop() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        match take(rest, cx) {
            Poll::Pending => this.patience.wait(this.idle, cx).map(|error| Some(Err(error))),
            Poll::Ready(None) => {
                this.rest = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken(&error)))),
            Poll::Ready(Some(Ok(frame))) => {
                this.patience.came();
                if let (Some(data), Some(search)) = (frame.data_ref(), &mut this.search)
                    && let Err(error) = search.feed(data)
                {
                    return Poll::Ready(Some(Err(error.into_body_error())));
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.pieces.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let held: u64 = self.held.pieces.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
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
    let (taken, rang) = unwoken(|| Pin::new(&mut *body).poll_frame(cx));
    if rang && !(taken.is_ready() && body.is_end_stream()) {
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
