//! The upstream client: lists the models of backends, and sends them requests.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::backend_url::Origin;
use domain::labels::BasePath;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

/// A body in transit. If it is truncated, it ends with an error, and the message must not look complete.
pub type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>;

/// A request to a backend. It is boxed, as it is moved often.
pub type BoxRequest = Box<http::Request<BoxBody>>;

/// The target of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The address and port of the container. No client can change it.
    pub address: SocketAddr,
    /// The prefix of its API.
    pub base_path: BasePath,
    /// The scheme and authority, if the backend is named by a URL. `None`: plain HTTP, with the address as authority.
    pub origin: Option<Arc<Origin>>,
}

impl Target {
    /// Returns the URL of its list of models for messages, with the address if the URL has a host name.
    pub fn models_url(&self) -> String {
        let (path, ip) = (self.base_path.as_str(), self.address.ip());
        match &self.origin {
            None => format!("http://{}{path}/models", self.address),
            Some(origin) => {
                let url = format!("{}://{}{path}/models", origin.scheme(), origin.authority);
                if origin.authority.contains(&ip.to_string()) { url } else { format!("{url} at {ip}") }
            }
        }
    }
}

/// The reason why a body is truncated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The sender's connection was closed or broke.
    #[error("the connection broke in the middle of the body: {0}")]
    Broken(String),
    /// It breaks the protocol.
    #[error("the body's framing is invalid: {0}")]
    Malformed(String),
    /// No byte came for this long.
    #[error("no byte of the body came for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    /// The proxy rejects it: the backend must not act on what it has received.
    #[error("{message}")]
    Rejected {
        /// The code of the error for the client.
        code: &'static str,
        /// The fault, and how to mend it.
        message: String,
    },
    /// The drain timeout was reached.
    #[error("closed at the drain timeout")]
    ForceClosed,
}

/// How far a request that failed may have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// No byte reached a live backend, and the body was not touched: the request is in its slot again, and may be sent
    /// to another backend.
    NotSent,
    /// The backend may have begun to process it: it must not be sent again.
    MaybeSent,
}

/// The reason why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum SendFailure {
    /// The connection was refused.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// The connection was not established within this time.
    #[error("no connection within {} s", .0.as_secs_f32())]
    ConnectTimeout(Duration),
    /// The address cannot be reached, or the attempt failed otherwise.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The connection ended before a response began.
    #[error("the connection broke before a response began: {0}")]
    Broken(String),
    /// The response breaks the protocol.
    #[error("the response breaks the protocol: {0}")]
    InvalidResponse(String),
    /// The body of the request failed; the backend is not at fault.
    #[error("the request's body ended early: {0}")]
    RequestBody(BodyError),
    /// The limit of connections to the backend is reached.
    #[error("{0} connections to it are open, which is the limit")]
    TooManyConnections(usize),
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError {
    /// How far it may have come.
    pub sent: Sent,
    /// The failure.
    pub failure: SendFailure,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for SendError {}

/// A request that waits for a connection. A channel takes it when it has one, so the backend has not seen a request
/// that is still in its slot, and another backend may take it.
pub struct RequestSlot(Mutex<Option<BoxRequest>>);

impl RequestSlot {
    /// Returns a slot with this request.
    pub fn new(request: BoxRequest) -> Self {
        Self(Mutex::new(Some(request)))
    }

    /// Takes the request. From now on the backend may have begun to process it.
    pub fn take(&self) -> Option<BoxRequest> {
        self.slot().take()
    }

    /// Changes the request, if it is there.
    pub fn with<T>(&self, change: impl FnOnce(&mut BoxRequest) -> T) -> Option<T> {
        self.slot().as_mut().map(change)
    }

    /// Puts back a request that was not sent.
    pub fn put_back(&self, request: BoxRequest) {
        *self.slot() = Some(request);
    }

    /// Returns true if no connection has taken the request.
    pub fn is_filled(&self) -> bool {
        self.slot().is_some()
    }

    fn slot(&self) -> MutexGuard<'_, Option<BoxRequest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason why the models of a backend could not be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListModelsError {
    /// The connection was refused.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// The address cannot be reached.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The response was not complete within this time.
    #[error("no response within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The response was truncated, or is not HTTP.
    #[error("the response broke off: {0}")]
    Broken(String),
    /// The response has this status.
    #[error("it responded with status {0}")]
    Status(u16),
    /// The framing of the response breaks the protocol, so that requests would fail as well.
    #[error("the response breaks the protocol: {0}")]
    InvalidResponse(&'static str),
    /// The backend is this proxy.
    #[error(
        "this is the proxy itself: take its URL out of PROXY_BACKENDS, or the label inference.enable off its container"
    )]
    LoopDetected,
    /// The response is larger than this many bytes.
    #[error("the list is larger than {0} bytes")]
    TooLarge(usize),
    /// The response is not a list of models; why.
    #[error("its response is not a list of models: {0}")]
    NotAList(String),
    /// The list is empty.
    #[error("it lists no model")]
    Empty,
}

impl ListModelsError {
    /// Returns true if the backend seems gone, rather than busy or faulty.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::ConnectionRefused | Self::Unreachable(_))
    }
}

/// A model, as its backend lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// The `id`, unescaped and unchecked.
    pub id: String,
    /// The whole JSON object as the backend wrote it, unknown fields included.
    pub object: Arc<str>,
}

/// The response of a backend to a request.
pub enum UpstreamResponse {
    /// A response. Its body ends with an error if the backend breaks off.
    Response(http::Response<BoxBody>),
    /// A switch of protocols: the head (status 101), and the connection from here on.
    Tunnel(http::Response<()>, Box<dyn Duplex>),
}

impl UpstreamResponse {
    /// Returns the status.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::Response(response) => response.status(),
            Self::Tunnel(head, _) => head.status(),
        }
    }
}

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A client of backends.
#[async_trait]
pub trait UpstreamClient: Send + Sync {
    /// Lists the models of a backend: `GET {base_path}/models`.
    ///
    /// - A list is an object whose `data` is an array of objects with a string `id`; entries without one are left out.
    /// - There is one attempt at most, bounded in time and size; redirects are not followed, and the environment's
    ///   proxies are not used.
    /// - Ids are in the backend's order, unescaped, each once; objects are as the backend wrote them.
    ///
    /// # Errors
    /// Returns [`ListModelsError`], also for an empty list.
    async fn models(&self, target: &Target) -> Result<Vec<ListedModel>, ListModelsError>;

    /// Returns a channel to one registration of a backend, without I/O.
    fn open(&self, target: &Target) -> Arc<dyn Channel>;
}

/// The connections to one registration of a backend. They are never shared with another registration.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Sends one request and waits for the head of the response, for as long as that takes.
    ///
    /// - Method, target (in origin form) and headers are sent unchanged. A body is sent as it comes, with backpressure;
    ///   only its framing is added.
    /// - Request and response are sent at the same time: an early response arrives while the body is still being sent.
    /// - The response body yields bytes as they arrive. It ends with an error if the backend breaks off.
    /// - The request stays in its slot until there is a connection for it. Until then, dropping the future leaves it
    ///   there, untouched.
    /// - Dropping the future or the response body closes the connection at once, unless the exchange is complete.
    /// - A connection is reused only after a complete exchange that neither side declared to be the last, and only if
    ///   the backend has shown that it keeps connections open after such a response.
    /// - A request is sent at most once, with one exception: if an idle connection turns out to be closed, it is sent
    ///   on a new one, provided that none of it can have been read and its body was not touched.
    /// - An unsolicited switch of protocols, contradictory framing, and anything malformed is `InvalidResponse`.
    ///
    /// # Errors
    /// Returns [`SendError`], with `NotSent` only if no live backend can have read a byte; then the request is in its
    /// slot.
    async fn send(&self, request: &RequestSlot) -> Result<UpstreamResponse, SendError>;

    /// Closes idle connections, and every other one as soon as its exchange is over. New requests still work, each on
    /// its own connection.
    fn retire(&self);
}
