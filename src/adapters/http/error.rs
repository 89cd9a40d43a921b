//! The errors that the proxy answers by itself, in the shape of the caller's dialect.

use app::proxy::ProxyError;
use body_model::FindError;
use bytes::Bytes;
use domain::model_name::InvalidModelName;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Response, StatusCode, Uri};
use ports::upstream::BodyError;
use serde_json::json;

use super::body::ClientBody;
use super::header_set::HeaderSet;

/// What a client is told to wait before it asks again for a model that is on its way, in seconds.
const RETRY_SOON_SECONDS: u32 = 2;
/// What a client is told to wait that came while every replica was busy.
const RETRY_BUSY_SECONDS: u32 = 1;
/// The header in which Anthropic's clients look for the id of their request.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The code of a body that is larger than may be held, or decoded, to find its model.
pub const BODY_TOO_LARGE: &str = "body_too_large";

/// The code of what has no room among everything that is held.
pub const OVERLOADED: &str = "overloaded";

/// Whose shape an error takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error":{"message","type","param","code"}}`
    OpenAi,
    /// `{"type":"error","error":{"type","message"},"request_id"}`
    Anthropic,
}

impl Dialect {
    /// Anthropic's on `/v1/messages…` or with an `anthropic-version` header, OpenAI's otherwise.
    pub fn of(uri: &Uri, present: HeaderSet) -> Self {
        let path = uri.path();
        let messages = path.strip_prefix("/v1/messages").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match messages || present.any(HeaderSet::ANTHROPIC_VERSION) {
            true => Self::Anthropic,
            false => Self::OpenAi,
        }
    }
}

/// An error that the proxy answers by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The status.
    pub status: StatusCode,
    /// OpenAI's `code`.
    pub code: &'static str,
    /// What happened, to whom, and what to do about it.
    pub message: String,
    /// What it is about in the request, where that is one field.
    pub param: Option<&'static str>,
    /// After how many seconds to ask again.
    pub retry_after: Option<u32>,
    /// Whether the connection ends with it.
    pub close: bool,
}

impl ErrorResponse {
    /// An error without anything special.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None, retry_after: None, close: false }
    }

    /// A request that breaks the protocol. The connection ends with it: where the next request begins is not sure.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self { close: true, ..Self::new(StatusCode::BAD_REQUEST, "invalid_request", message) }
    }

    /// The proxy is being stopped.
    pub fn shutting_down() -> Self {
        let message = "the proxy is shutting down; send the request again";
        Self { close: true, ..Self::soon("shutting_down", message) }
    }

    /// The body is larger than may be held.
    pub fn too_large(limit: usize) -> Self {
        let message = format!(
            "the model was not found within the first {limit} bytes of the body; put \"model\" before the large \
             fields, or raise PROXY_MAX_BUFFERED_BODY"
        );
        Self { close: true, ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, BODY_TOO_LARGE, message) }
    }

    /// All bodies together are larger than may be held.
    pub fn overloaded() -> Self {
        let message = "the proxy holds as many request bodies as it may; send the request again";
        Self { close: true, ..Self::soon(OVERLOADED, message) }
    }

    /// The body names no model that can be used.
    pub fn no_model(error: &FindError) -> Self {
        Self { param: Some("model"), ..Self::new(StatusCode::BAD_REQUEST, error.code(), error.to_string()) }
    }

    /// The model that the request names is not a valid model name.
    pub fn invalid_name(why: InvalidModelName) -> Self {
        let message = format!(
            "The `model` of the request cannot be used: {why}. Set it to one of the ids that GET /v1/models lists."
        );
        Self { param: Some("model"), ..Self::new(StatusCode::BAD_REQUEST, "invalid_model", message) }
    }

    /// The body failed while it was read.
    pub fn body(error: &BodyError) -> Self {
        match error {
            BodyError::Rejected { code: OVERLOADED, .. } => Self::overloaded(),
            BodyError::Rejected { code, message } => {
                let param = code.ends_with("_model").then_some("model");
                let status = match *code {
                    BODY_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
                    _ => StatusCode::BAD_REQUEST,
                };
                Self { param, close: true, ..Self::new(status, code, message.clone()) }
            }
            BodyError::Stalled(_) => {
                Self { close: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", error.to_string()) }
            }
            BodyError::Broken(_) | BodyError::Malformed(_) | BodyError::ForceClosed => {
                Self { close: true, ..Self::new(StatusCode::BAD_REQUEST, "invalid_body", error.to_string()) }
            }
        }
    }

    /// A panic.
    pub fn internal() -> Self {
        let message = "the proxy failed at this request; its log says more";
        Self { close: true, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message) }
    }

    /// No backend responded.
    pub fn proxy(error: &ProxyError, model: &str) -> Self {
        match error {
            ProxyError::Unknown { left_out: true, .. } => {
                let message = format!("the model `{model}` is left out: there are too many models; status says more");
                Self { param: Some("model"), ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message) }
            }
            ProxyError::Unknown { names, more, starting, .. } => {
                let message = not_found(model, names, *more) + &still_starting(*starting);
                Self { param: Some("model"), ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message) }
            }
            ProxyError::Draining => Self::soon(
                "model_draining",
                format!("the backend of the model `{model}` is draining; send the request again"),
            ),
            ProxyError::Cut(reason) => {
                let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                Self::soon(
                    "model_draining",
                    format!(
                        "the backend of the model `{model}` went out of service{why}, and its drain deadline came \
                         before it answered; send the request again"
                    ),
                )
            }
            ProxyError::Unavailable => Self::soon(
                "model_unavailable",
                format!("the model `{model}` is known but its backend is not ready; send the request again"),
            ),
            ProxyError::AllBusy => Self {
                retry_after: Some(RETRY_BUSY_SECONDS),
                ..Self::soon(
                    "model_busy",
                    format!(
                        "every replica of the model `{model}` has as many requests as it may; send the request again"
                    ),
                )
            },
            ProxyError::Busy => Self::soon(
                "model_unavailable",
                format!("the backend of the model `{model}` has as many connections as it may; send the request again"),
            ),
            ProxyError::Unreachable => {
                let message = format!("the backend of the model `{model}` did not answer");
                Self::new(StatusCode::BAD_GATEWAY, "backend_unreachable", message)
            }
            ProxyError::InvalidResponse(why) => {
                let message =
                    format!("the backend of the model `{model}` sent an answer that is not valid HTTP: {why}");
                Self::new(StatusCode::BAD_GATEWAY, "backend_unreachable", message)
            }
            ProxyError::RequestBody(error) => Self::body(error),
            ProxyError::Target => Self::malformed("the request's target cannot be passed on"),
        }
    }

    fn soon(code: &'static str, message: impl Into<String>) -> Self {
        Self { retry_after: Some(RETRY_SOON_SECONDS), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    /// The response, in this dialect.
    pub fn into_response(self, dialect: Dialect, request_id: &str) -> Response<ClientBody> {
        let body = match dialect {
            Dialect::OpenAi => json!({"error": {
                "message": self.message, "type": self.openai_type(), "param": self.param, "code": self.code,
            }}),
            Dialect::Anthropic => json!({
                "type": "error",
                "error": {"type": self.anthropic_type(), "message": self.message},
                "request_id": request_id,
            }),
        };
        let mut response = Response::new(ClientBody::here(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let (Dialect::Anthropic, Ok(id)) = (dialect, HeaderValue::from_str(request_id)) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }

    fn openai_type(&self) -> &'static str {
        match self.status.is_server_error() {
            true => "server_error",
            false => "invalid_request_error",
        }
    }

    /// The types as Anthropic's API documentation lists them.
    fn anthropic_type(&self) -> &'static str {
        match self.status {
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        }
    }
}

/// What may yet turn out to serve the model; nothing where no container is on its way.
pub fn still_starting(containers: usize) -> String {
    match containers {
        0 => String::new(),
        1 => "; 1 container is still starting".to_owned(),
        many => format!("; {many} containers are still starting"),
    }
}

fn not_found(model: &str, names: &[domain::model_name::ModelName], more: usize) -> String {
    let there = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match (names.is_empty(), more) {
        (true, _) => format!("the model `{model}` does not exist: no model is being served"),
        (false, 0) => format!("the model `{model}` does not exist; there are {there}"),
        (false, more) => format!("the model `{model}` does not exist; there are {there} and {more} more"),
    }
}
