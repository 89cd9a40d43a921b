//! What the proxy reports of its work.

use std::net::SocketAddr;
use std::time::Duration;

use domain::model_name::ModelName;
use http::{HeaderMap, Method, StatusCode};

/// A receiver of reports. Synchronous, cannot fail, never blocks: a report that finds no room is dropped and counted by
/// the adapter.
pub trait Telemetry: Send + Sync {
    /// A request arrived. The answer follows the request until it ends; `None` where nothing is recorded, so that a
    /// proxy without telemetry pays nothing.
    fn request(&self, arrival: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>>;

    /// The routing table changed.
    fn table_changed(&self, change: &TableChange);

    /// How many backends are routable now.
    fn backends_active(&self, count: usize);
}

/// Telemetry that is off: nothing is recorded, and nothing is spent.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTelemetry;

impl Telemetry for NoTelemetry {
    fn request(&self, _: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>> {
        None
    }

    fn table_changed(&self, _: &TableChange) {}

    fn backends_active(&self, _: usize) {}
}

/// A request as it arrived.
pub struct RequestStart<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, without the query. Not safe as a label.
    pub path: &'a str,
    /// Its headers, where the caller's trace stands.
    pub headers: &'a HeaderMap,
    /// The id that its answer carries.
    pub request_id: &'a str,
    /// The other end of its connection.
    pub peer: SocketAddr,
}

/// Follows one request. Dropping it without [`RequestRecord::finish`] never happens.
pub trait RequestRecord: Send + Sync {
    /// An attempt at a backend begins. The record may put its own trace headers in place of the caller's.
    fn attempt(&mut self, attempt: &Attempt<'_>, headers: &mut HeaderMap);

    /// The attempt that began last failed before an answer.
    fn attempt_failed(&mut self, reason: &str);

    /// The first byte of the answer's body came from the backend.
    fn first_byte(&mut self);

    /// The request is over, whatever became of it. Called exactly once.
    fn finish(self: Box<Self>, finished: &RequestFinished);

    /// The ids of the trace and the span, for log lines, as lower-case hexadecimal.
    fn trace_ids(&self) -> Option<(String, String)>;
}

/// One try to send a request to a backend.
pub struct Attempt<'a> {
    /// The model asked for; it is in the table.
    pub model: &'a ModelName,
    /// The container's name.
    pub container: &'a str,
    /// The scheme of its URL: `http` or `https`.
    pub scheme: &'static str,
    /// Where the backend listens.
    pub address: SocketAddr,
    /// The prefix of its API, which took the place of ours.
    pub base_path: &'a str,
    /// The registration, unique for the life of the process.
    pub registration: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer was handed over.
    Complete,
    /// The proxy answered by itself, with an error or from memory.
    AnsweredLocally,
    /// The client went away first.
    ClientLeft,
    /// The backend broke off in the middle of its answer.
    BackendBroke,
    /// The end of a drain cut it.
    CutByDrain,
}

impl Outcome {
    /// The name in logs and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::AnsweredLocally => "answered_by_proxy",
            Self::ClientLeft => "client_left",
            Self::BackendBroke => "backend_broke",
            Self::CutByDrain => "cut_by_drain",
        }
    }
}

/// A request that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFinished {
    /// The model, only if it is in the table.
    pub model: Option<ModelName>,
    /// The status that the client was sent, if there was one.
    pub status: Option<StatusCode>,
    /// Whether the answer was a stream of events.
    pub streamed: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// From its head to its end.
    pub duration: Duration,
    /// From its head to the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// How many bytes of the answer's body were handed over.
    pub response_bytes: u64,
}

/// A change of the routing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// What kind of change.
    pub action: TableAction,
    /// The container's name.
    pub container: String,
    /// The scheme of its URL: `http` or `https`.
    pub scheme: &'static str,
    /// Where the backend listens.
    pub address: SocketAddr,
    /// The registration that it concerns.
    pub registration: u64,
    /// The models that it concerns.
    pub models: Vec<ModelName>,
    /// Those of them that the backend no longer has, where its list of models changed.
    pub withdrawn: Vec<ModelName>,
    /// Why.
    pub reason: String,
}

/// The kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableAction {
    /// A backend came into service.
    Registered,
    /// A backend went out of service; its requests in flight may go on.
    Draining,
    /// A backend is gone, with its last request.
    Removed,
    /// Two backends claim a model.
    Collision,
    /// A backend's list of models changed.
    ModelsChanged,
}

impl TableAction {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Draining => "draining",
            Self::Removed => "removed",
            Self::Collision => "collision",
            Self::ModelsChanged => "models_changed",
        }
    }
}
