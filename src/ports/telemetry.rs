//! Telemetry.

use std::net::SocketAddr;
use std::time::Duration;

use domain::model_name::ModelName;
use http::{HeaderMap, Method, StatusCode};

/// A receiver of telemetry. It is synchronous, cannot fail and never blocks: the adapter drops and counts what finds no
/// room.
pub trait Telemetry: Send + Sync {
    /// Begins the record of a request. Returns `None` if nothing is recorded, so that a proxy without telemetry has no
    /// cost.
    fn request(&self, start: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>>;

    /// Records a change of the routing table.
    fn table_changed(&self, change: &TableChange);

    /// Records the number of backends in service.
    fn backends_active(&self, count: usize);
}

/// Telemetry that is off, at no cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTelemetry;

impl Telemetry for NoTelemetry {
    fn request(&self, _: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>> {
        None
    }

    fn table_changed(&self, _: &TableChange) {}

    fn backends_active(&self, _: usize) {}
}

/// The start of a request.
pub struct RequestStart<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, without the query. Unsuitable as a label of metrics.
    pub path: &'a str,
    /// Its headers, which may carry the caller's trace.
    pub headers: &'a HeaderMap,
    /// The id that its response carries.
    pub request_id: &'a str,
    /// The address of the client.
    pub peer: SocketAddr,
}

/// The record of one request. It is never dropped without [`RequestRecord::finish`].
pub trait RequestRecord: Send + Sync {
    /// Begins an attempt at a backend. The record may replace the caller's trace headers by its own.
    fn attempt(&mut self, attempt: &Attempt<'_>, headers: &mut HeaderMap);

    /// Records that the last attempt failed before a response.
    fn attempt_failed(&mut self, reason: &str);

    /// Records that the first byte of the response body came from the backend.
    fn first_byte(&mut self);

    /// Ends the record, however the request ended. Called exactly once.
    fn finish(self: Box<Self>, finished: &RequestFinished);

    /// Returns the ids of the trace and the span, as lower-case hexadecimal.
    fn trace_ids(&self) -> Option<(String, String)>;
}

/// An attempt to send a request to a backend.
pub struct Attempt<'a> {
    /// The requested model, which is in the table.
    pub model: &'a ModelName,
    /// The container's name.
    pub container: &'a str,
    /// The scheme of its URL: `http` or `https`.
    pub scheme: &'static str,
    /// The address of the backend.
    pub address: SocketAddr,
    /// The prefix of its API, which replaced the proxy's.
    pub base_path: &'a str,
    /// The registration, unique in the process.
    pub registration: u64,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The whole response was sent.
    Complete,
    /// The proxy responded by itself, with an error or from memory.
    Local,
    /// The client disconnected.
    ClientLeft,
    /// The backend broke off in the middle of its response.
    BackendBroke,
    /// The drain timeout was reached.
    ForceClosed,
}

impl Outcome {
    /// Returns the name in logs and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Local => "answered_by_proxy",
            Self::ClientLeft => "client_left",
            Self::BackendBroke => "backend_broke",
            Self::ForceClosed => "cut_by_drain",
        }
    }
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFinished {
    /// The model, if it is in the table.
    pub model: Option<ModelName>,
    /// The status that was sent, if there was one.
    pub status: Option<StatusCode>,
    /// Whether the response was an event stream.
    pub streamed: bool,
    /// The outcome.
    pub outcome: Outcome,
    /// The time from its head to its end.
    pub duration: Duration,
    /// The time from its head to the first byte of the response body.
    pub first_byte: Option<Duration>,
    /// The number of bytes of the response body that were sent.
    pub response_bytes: u64,
}

/// A change of the routing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// The kind of change.
    pub action: TableAction,
    /// The container's name.
    pub container: String,
    /// The scheme of its URL: `http` or `https`.
    pub scheme: &'static str,
    /// The address of the backend.
    pub address: SocketAddr,
    /// The registration.
    pub registration: u64,
    /// The models.
    pub models: Vec<ModelName>,
    /// The models that the backend no longer lists, for [`TableAction::ModelsChanged`].
    pub removed: Vec<ModelName>,
    /// The reason.
    pub reason: String,
}

/// The kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableAction {
    /// A backend entered service.
    Registered,
    /// A backend left service; its requests in flight may go on.
    Draining,
    /// The last request of a draining backend ended.
    Removed,
    /// Two backends claim a model.
    Collision,
    /// A backend's list of models changed.
    ModelsChanged,
}

impl TableAction {
    /// Returns the name in metrics.
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
