//! How backends are reached: asked for their models, and given requests.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use domain::backend_url::Origin;
use domain::labels::BasePath;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

/// A body on its way. It ends with an error when it was cut short; then the message must not look complete.
pub type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>;

/// A request on its way to a backend. On the heap: it goes through many hands, and each would copy it.
pub type BoxRequest = Box<http::Request<BoxBody>>;

/// Where a backend is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The container's own address and port. Nothing that a client sends can change it.
    pub address: SocketAddr,
    /// The prefix of its API.
    pub base_path: BasePath,
    /// Its name and whether it speaks TLS, where a URL says so. `None`: plain HTTP, and its address is its name.
    pub origin: Option<Arc<Origin>>,
}

impl Target {
    /// The URL of its list of models, for people, and at which address it was asked for if the URL has a name.
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

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The sender's connection ended or broke in the middle of it.
    #[error("the connection broke in the middle of the body: {0}")]
    Broken(String),
    /// What came is no body by the rules of the protocol.
    #[error("the body's framing is invalid: {0}")]
    Malformed(String),
    /// No byte came for as long as is allowed.
    #[error("no byte of the body came for {0} s")]
    Stalled(u64),
    /// The proxy itself ended it: what was seen of the body must not be acted upon.
    #[error("{message}")]
    Refused {
        /// The code of the error that the caller gets.
        code: &'static str,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The proxy cut it at the end of a drain.
    #[error("cut at the end of the drain")]
    Cut,
}

/// How far a request may have come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// No byte reached a backend that was alive to read it, and the request's body was not touched: it is in its slot
    /// again, and may be sent elsewhere.
    NotSent,
    /// The backend may have begun to work on it: it must not be sent again.
    MaybeSent,
}

/// Why a backend gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendFailure {
    /// Nothing listens there.
    #[error("the connection was refused")]
    Refused,
    /// No answer to the connection attempt within this many milliseconds.
    #[error("no connection within {0} ms")]
    ConnectTimeout(u64),
    /// There is no way there, or the attempt failed otherwise.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The connection ended before an answer began.
    #[error("the connection broke before an answer began: {0}")]
    Broken(String),
    /// What came back is no answer by the rules of the protocol.
    #[error("the answer breaks the protocol: {0}")]
    InvalidResponse(String),
    /// The request's own body failed; the backend is not to blame.
    #[error("the request's body ended early: {0}")]
    RequestBody(BodyError),
    /// So many connections to it are open that another one is refused.
    #[error("{0} connections to it are open, which is the limit")]
    TooManyConnections(usize),
}

/// A request that got no answer.
#[derive(Debug)]
pub struct SendError {
    /// How far it may have come.
    pub sent: Sent,
    /// What happened.
    pub failure: SendFailure,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for SendError {}

/// A request on offer to a backend. A channel takes it out in the moment in which a connection is there to carry it, so
/// a request that is still in its slot is unknown to the backend, and may be offered elsewhere.
pub struct RequestSlot(Mutex<Option<BoxRequest>>);

impl RequestSlot {
    /// A slot that holds this request, its body untouched.
    pub fn new(request: BoxRequest) -> Self {
        Self(Mutex::new(Some(request)))
    }

    /// Takes the request out: from here on the backend may have begun to work on it.
    pub fn take(&self) -> Option<BoxRequest> {
        self.slot().take()
    }

    /// Does something to the request while it is there.
    pub fn with<T>(&self, change: impl FnOnce(&mut BoxRequest) -> T) -> Option<T> {
        self.slot().as_mut().map(change)
    }

    /// Puts a request back that turned out not to have been sent.
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

/// Why a backend's models are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListModelsError {
    /// Nothing listens there.
    #[error("the connection was refused")]
    Refused,
    /// There is no way there.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// No whole answer within this many seconds.
    #[error("no answer within {0} s")]
    TimedOut(u64),
    /// The connection broke in the middle, or what came is not HTTP.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// It answered with this status.
    #[error("it answered {0}")]
    Status(u16),
    /// The framing of the answer breaks the protocol, so that requests would fail there.
    #[error("the answer breaks the protocol: {0}")]
    InvalidResponse(&'static str),
    /// The proxy asked itself.
    #[error(
        "this is the proxy itself: take its URL out of PROXY_BACKENDS, or the label inference.enable off its container"
    )]
    Itself,
    /// The answer is larger than this many bytes.
    #[error("the list is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is not a list of models; why.
    #[error("it answered no list of models: {0}")]
    NotAList(String),
    /// The answer lists nothing.
    #[error("it lists no model")]
    Empty,
}

impl ListModelsError {
    /// Whether the backend itself seems gone, rather than busy or at fault.
    pub fn looks_dead(&self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable(_))
    }
}

/// One model, as its backend lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// The `id`, unescaped, not yet checked.
    pub id: String,
    /// The whole JSON object as the backend wrote it, unknown fields included.
    pub object: Arc<str>,
}

/// What a backend answered to a request.
pub enum UpstreamResponse {
    /// A response. Its body fails visibly when the backend breaks off.
    Response(http::Response<BoxBody>),
    /// The backend switched protocols: its head (status 101), and the connection from here on.
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

/// A connection that carries bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The way to backends.
#[async_trait]
pub trait UpstreamClient: Send + Sync {
    /// Asks a backend for its models: `GET {base_path}/models`.
    ///
    /// - A list is an object whose `data` is an array of objects with a string `id`; entries without one are left out.
    /// - At most one attempt, bounded in time and in size; no redirect is followed and no proxy of the environment used.
    /// - Ids come in the backend's order, unescaped, each once; objects as the backend wrote them.
    ///
    /// # Errors
    /// [`ListModelsError`], by what happened. An empty list is an error.
    async fn models(&self, target: &Target) -> Result<Vec<ListedModel>, ListModelsError>;

    /// Makes a channel to one registration of a backend. Does no I/O.
    fn open(&self, target: &Target) -> Arc<dyn Channel>;
}

/// The connections to one registration of a backend. They are never shared with another registration, and go with it.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Sends one request and waits for the head of the answer, for as long as that takes.
    ///
    /// - Method, target (origin-form, as it stands in the URI) and headers go out as they are; a body goes out as it
    ///   comes, with backpressure, and nothing is added but its framing.
    /// - Body bytes and answer bytes flow at the same time: an early answer arrives while the body is still being sent.
    /// - An answer's body yields what arrived as it arrives. It fails when the backend breaks off.
    /// - The request stays in its slot until a connection is there for it. While it does, dropping the future leaves it
    ///   there, untouched.
    /// - Dropping the future or the answer's body closes the connection at once, unless the exchange was complete.
    /// - A connection is used again only after a complete exchange which neither side wanted to be the last, and only
    ///   where the backend has shown that it keeps connections open after such a response.
    /// - A request is on the wire at most once, except that one which met a connection that had been closed while it
    ///   was idle is sent on a new one when nothing of it can have been read and its body was not touched.
    /// - An unasked switch of protocols, contradicting framing, and anything malformed is `InvalidResponse`.
    ///
    /// # Errors
    /// [`SendError`]. `NotSent` only if no byte can have been read by a live backend; then the request is in its slot.
    async fn send(&self, request: &RequestSlot) -> Result<UpstreamResponse, SendError>;

    /// Closes idle connections, and every other one as soon as its exchange is over. New requests still work, each on
    /// a connection of its own.
    fn retire(&self);
}
