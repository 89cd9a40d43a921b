//! Reads just enough of a request to name its model.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use body_model::{AmbiguousModel, FindError, InvalidBody, ModelFinder};
use bytes::Bytes;
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

/// Finds the model: in the body, or in the query where there is no body. The body comes back whole.
///
/// # Errors
/// The answer to the client, where no model can be named.
pub async fn extract_model(
    parts: &Parts,
    present: HeaderSet,
    body: RequestBody,
    limits: &SearchLimits,
) -> Result<(ModelName, Pin<Box<BufferedBody>>), ErrorResponse> {
    let held = Buffer::new(&limits.buffer_budget);
    let (patience, idle) = (IdleTimeout::default(), limits.body_idle);
    // On the heap from the beginning: it goes all the way to the backend.
    let mut body = Box::pin(BufferedBody { held, rest: Some(body), search: None, passing: None, patience, idle });
    if body.is_end_stream() {
        body.has_ended();
        return Ok((from_query(&parts.uri)?, body));
    }
    body.search = Some(Search {
        finder: finder(&parts.headers).map_err(|error| ErrorResponse::no_model(&error))?,
        decoder: match present.any(HeaderSet::CONTENT_ENCODING) {
            true => Decoder::for_headers(&parts.headers, limits.buffered_body, &limits.buffer_budget)?,
            false => None,
        },
    });
    let model = match from_body(&mut body, limits.buffered_body).await? {
        Some(model) => model,
        // What said nothing of its length turned out to be empty.
        None => from_query(&parts.uri)?,
    };
    Ok((model, body))
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
async fn from_body(body: &mut BufferedBody, limit: usize) -> Result<Option<ModelName>, ErrorResponse> {
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
        if let Some(model) = body.search.as_ref().and_then(|search| search.finder.model()) {
            return named(model).map(Some);
        }
        if body.held.bytes() > limit {
            return Err(ErrorResponse::too_large(limit));
        }
    }
    let search = body.search.take();
    body.has_ended();
    match is_empty {
        true => Ok(None),
        false => whole(search).map(Some),
    }
}

/// The body ended: it has a model and is complete, or it is refused.
fn whole(search: Option<Search>) -> Result<ModelName, ErrorResponse> {
    let missing = || ErrorResponse::no_model(&FindError::MissingModel);
    let mut finder = search.ok_or_else(missing)?.finder;
    finder.finish().map_err(|error| ErrorResponse::no_model(&error))?;
    named(finder.model().ok_or_else(missing)?)
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
