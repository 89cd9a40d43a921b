//! Reads just enough of a request to name its model.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use app::proxy::ReplicaHints;
use app::replay::REPLAY_MAX_BYTES;
use body_model::{AmbiguousModel, FindError, InvalidBody, ModelFinder, PREFIX_MAX_BYTES, Prefix};
use bytes::Bytes;
use domain::balance::PrefixKeys;
use domain::model_name::ModelName;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};
use http_body::{Body, Frame};

use super::buffer::{Buffer, BufferBudget};
use super::buffered_body::{BufferedBody, IdleTimeout, Search, SearchError, broken, take};
use super::decode::{DecodeError, Decoder};
use super::error::ErrorResponse;
use super::header_set::HeaderSet;
use super::request_body::RequestBody;

/// The bounds of the search.
#[derive(Clone)]
pub struct SearchLimits {
    /// The most bytes of one body that are held or decoded.
    pub buffered_body: usize,
    /// What all bodies hold together.
    pub buffer_budget: Arc<BufferBudget>,
    /// The longest time between two pieces of a body.
    pub body_idle: Duration,
}

/// What is to be known of a request beside its model, because a model may have several replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hinting {
    /// Nothing: no model has.
    None,
    /// Its body, to be sent once more.
    Body,
    /// That, and how it begins.
    Prefix,
}

/// The model that a request names, what helps to choose among its replicas, and the body, whole.
pub type Extracted = (ModelName, Option<Box<ReplicaHints>>, Pin<Box<BufferedBody>>);

type Found = (ModelName, Option<PrefixKeys>);

/// The most bytes that are held only to know how a request begins: what the finder looks at, and what came with it.
const HINT_MAX_BYTES: usize = PREFIX_MAX_BYTES as usize;

/// Finds the model: in the body, or in the query where there is no body. The body comes back whole.
///
/// # Errors
/// The answer to the client, where no model can be named.
pub async fn extract_model(
    parts: &Parts,
    present: HeaderSet,
    body: RequestBody,
    limits: &SearchLimits,
    hinting: Hinting,
) -> Result<Extracted, ErrorResponse> {
    let held = Buffer::new(&limits.buffer_budget);
    let (patience, idle) = (IdleTimeout::default(), limits.body_idle);
    // On the heap from the beginning: it goes all the way to the backend.
    let mut body = Box::pin(BufferedBody { held, rest: Some(body), search: None, passing: None, patience, idle });
    if body.is_end_stream() {
        body.has_ended();
        return Ok((from_query(&parts.uri)?, None, body));
    }
    body.search = Some(Search {
        finder: finder(&parts.headers).map_err(|error| ErrorResponse::no_model(&error))?,
        decoder: match present.any(HeaderSet::CONTENT_ENCODING) {
            true => Decoder::for_headers(&parts.headers, limits.buffered_body, &limits.buffer_budget)?,
            false => None,
        },
    });
    if let (Hinting::Prefix, Some(search)) = (hinting, &mut body.search) {
        search.finder.hash_prefix();
    }
    let (model, prefix) = match from_body(&mut body, limits.buffered_body).await? {
        Some(found) => found,
        // What said nothing of its length turned out to be empty.
        None => (from_query(&parts.uri)?, None),
    };
    let hints = match hinting {
        Hinting::None => None,
        Hinting::Body | Hinting::Prefix => {
            let replay = if body.rest.is_none() { body.held.replay(REPLAY_MAX_BYTES) } else { None };
            Some(Box::new(ReplicaHints { prefix, replay }))
        }
    };
    Ok((model, hints, body))
}

/// The finder for the one `Content-Type`, or for none. Of two, some servers take the first and some the last.
fn finder(headers: &HeaderMap) -> Result<ModelFinder, FindError> {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    match (kinds.next(), kinds.next()) {
        (_, Some(_)) => Err(FindError::InvalidBody(InvalidBody::TwoTypes)),
        (kind, None) => ModelFinder::for_content_type(kind.map(http::HeaderValue::as_bytes)),
    }
}

/// Reads pieces until one of them completes the model's name; `None` for a body without a byte.
async fn from_body(body: &mut BufferedBody, limit: usize) -> Result<Option<Found>, ErrorResponse> {
    let mut is_empty = true;
    while let Some(piece) = next_frame(body).await? {
        if let (Some(data), Some(search)) = (piece.data_ref(), &mut body.search) {
            is_empty &= data.is_empty();
            let mut left = &data[..];
            while search.step(&mut left).map_err(|error| search_failed(error, limit))? {
                tokio::task::yield_now().await;
            }
        }
        if !body.held.push(piece) {
            return Err(ErrorResponse::overloaded());
        }
        if body.rest.as_ref().is_none_or(Body::is_end_stream) {
            break;
        }
        if let Some(Search { finder, .. }) = &body.search
            && let Some(model) = finder.model()
            && (!finder.awaits_prefix() || body.held.bytes() > limit.min(HINT_MAX_BYTES))
        {
            return Ok(Some((named(model)?, keys(finder))));
        }
        if body.held.bytes() > limit {
            return Err(ErrorResponse::too_large(limit));
        }
    }
    // In place: the finder is large.
    let found = if is_empty { Ok(None) } else { whole(body.search.as_mut()).map(Some) };
    body.has_ended();
    found
}

/// The body ended: it has a model and is complete, or it is refused.
fn whole(search: Option<&mut Search>) -> Result<Found, ErrorResponse> {
    let missing = || ErrorResponse::no_model(&FindError::MissingModel);
    let finder = &mut search.ok_or_else(missing)?.finder;
    finder.finish().map_err(|error| ErrorResponse::no_model(&error))?;
    Ok((named(finder.model().ok_or_else(missing)?)?, keys(finder)))
}

fn keys(finder: &ModelFinder) -> Option<PrefixKeys> {
    finder.prefix().map(|Prefix { shared, conversation }| PrefixKeys { shared, conversation })
}

fn named(model: &Arc<str>) -> Result<ModelName, ErrorResponse> {
    ModelName::from_shared(Arc::clone(model)).map_err(ErrorResponse::invalid_name)
}

async fn next_frame(body: &mut BufferedBody) -> Result<Option<Frame<Bytes>>, ErrorResponse> {
    poll_fn(|cx| {
        let Some(rest) = &mut body.rest else { return Poll::Ready(Ok(None)) };
        match take(rest, cx) {
            Poll::Pending => body.patience.wait(body.idle, cx).map(|error| Err(ErrorResponse::body(&error))),
            Poll::Ready(None) => {
                body.rest = None;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Some(Ok(frame))) => {
                body.patience.came();
                Poll::Ready(Ok(Some(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(ErrorResponse::body(&broken(&error)))),
        }
    })
    .await
}

fn search_failed(error: SearchError, limit: usize) -> ErrorResponse {
    match error {
        SearchError::Find(error) => ErrorResponse::no_model(&error),
        SearchError::Decode(DecodeError::NoRoom) => ErrorResponse::overloaded(),
        SearchError::Decode(DecodeError::TooLarge) => ErrorResponse::too_large(limit),
        SearchError::Decode(DecodeError::Invalid) => {
            let message = "the body is not what its Content-Encoding says";
            ErrorResponse::new(StatusCode::BAD_REQUEST, "invalid_body", message)
        }
    }
}

/// The `model` parameter of the query (`GET /v1/realtime?model=…`). Two of them are ambiguous.
fn from_query(uri: &Uri) -> Result<ModelName, ErrorResponse> {
    let refuse = |error: FindError| Err(ErrorResponse::no_model(&error));
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut models = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("model"));
    match (models.next(), models.next()) {
        (Some((name, value)), None) if name == "model" => ModelName::parse(&value).map_err(ErrorResponse::invalid_name),
        (None, _) => refuse(FindError::MissingModel),
        _ => refuse(FindError::AmbiguousModel(AmbiguousModel::Repeated)),
    }
}
