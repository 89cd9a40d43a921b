//! The record of one request: counted once, whatever becomes of it.

use std::sync::Arc;

use domain::model_name::ModelName;
use http::{HeaderMap, StatusCode};
use ports::telemetry::{Attempt, Outcome, RequestFinished, RequestRecord, RequestStart, Telemetry};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Backend;
use super::cancel::RequestCancel;
use super::lease::Lease;

/// Follows one request from its head to its end. Its drop is the end: there is exactly one.
///
/// It is handed on with each step of the request, so it is no larger than a pointer.
pub struct RequestTracker(Box<State>);

/// What is known of the request so far.
struct State {
    recorder: Option<Recorder>,
    request_id: Arc<str>,
    model: Option<ModelName>,
    backend: Option<Arc<str>>,
    status: Option<StatusCode>,
    streamed: bool,
    response_bytes: u64,
    outcome: Outcome,
}

/// What only telemetry needs. Without it no clock is read.
struct Recorder {
    record: Box<dyn RequestRecord>,
    cancel: Option<Arc<RequestCancel>>,
    started: Instant,
    first_byte: Option<std::time::Duration>,
}

impl RequestTracker {
    /// A request arrived.
    pub fn begin(telemetry: &dyn Telemetry, arrival: &RequestStart<'_>) -> Self {
        let record = telemetry.request(arrival);
        let recorder =
            record.map(|record| Recorder { record, cancel: None, started: Instant::now(), first_byte: None });
        Self(Box::new(State {
            recorder,
            request_id: Arc::from(arrival.request_id),
            model: None,
            backend: None,
            status: None,
            streamed: false,
            response_bytes: 0,
            outcome: Outcome::ClientLeft,
        }))
    }

    /// The id that the answer carries.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// The ids of its trace and span, where there is one.
    pub fn trace_ids(&self) -> Option<(String, String)> {
        self.0.trace_ids()
    }

    /// The proxy answered by itself. That is the end.
    pub fn answered_locally(mut self, status: StatusCode) {
        self.0.status = Some(status);
        if self.0.outcome == Outcome::ClientLeft {
            self.0.outcome = Outcome::Local;
        }
    }

    /// The model asked for, by the table's own name for it.
    pub(super) fn routed(&mut self, model: &ModelName) {
        self.0.model = Some(model.clone());
    }

    pub(super) fn attempt(&mut self, lease: &Lease, headers: &mut HeaderMap) {
        let backend = lease.backend();
        self.0.backend = Some(Arc::clone(&backend.name));
        if let (Some(recorder), Some(model)) = (&mut self.0.recorder, &self.0.model) {
            let attempt = Attempt {
                model,
                container: &backend.name,
                scheme: backend.scheme(),
                address: backend.address,
                base_path: backend.base_path.as_str(),
                registration: backend.registration.0,
            };
            recorder.record.attempt(&attempt, headers);
            recorder.cancel = Some(Arc::clone(lease.cancel()));
        }
    }

    pub(super) fn attempt_failed(&mut self, backend: &Backend, reason: &str) {
        warn!(container = %backend.name, id = %backend.container, address = %backend.address, reason,
            request_id = &*self.0.request_id, trace_id = self.trace_ids().map(|ids| ids.0),
            span_id = self.trace_ids().map(|ids| ids.1), "a backend gave no answer");
        if let Some(recorder) = &mut self.0.recorder {
            recorder.record.attempt_failed(reason);
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode, streamed: bool) {
        (self.0.status, self.0.streamed) = (Some(status), streamed);
    }

    pub(super) fn handed_over(&mut self, bytes: usize) {
        if let Some(recorder) = &mut self.0.recorder
            && recorder.first_byte.is_none()
        {
            recorder.first_byte = Some(recorder.started.elapsed());
            recorder.record.first_byte();
        }
        self.0.response_bytes += bytes as u64;
    }

    /// How it ends. What is noted last before the drop holds.
    pub(super) fn ends(&mut self, outcome: Outcome) {
        self.0.outcome = outcome;
    }

    /// The backend broke off in the middle of its answer.
    pub(super) fn broke(&mut self, reason: &str) {
        self.0.outcome = Outcome::BackendBroke;
        warn!(
            container = self.0.backend.as_deref(),
            reason,
            response_bytes = self.0.response_bytes,
            request_id = &*self.0.request_id,
            trace_id = self.trace_ids().map(|ids| ids.0),
            span_id = self.trace_ids().map(|ids| ids.1),
            "a backend broke off in the middle of its answer; the client's answer is broken off, too"
        );
    }
}

impl State {
    fn trace_ids(&self) -> Option<(String, String)> {
        self.recorder.as_ref()?.record.trace_ids()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let cancel = self.recorder.as_ref().and_then(|recorder| recorder.cancel.as_ref());
        if self.outcome == Outcome::ClientLeft && cancel.is_some_and(|cancel| cancel.is_drain_over()) {
            self.outcome = Outcome::ForceClosed;
        }
        debug!(
            request_id = &*self.request_id,
            model = self.model.as_ref().map(ModelName::as_str),
            container = self.backend.as_deref(),
            status = self.status.map(|status| status.as_u16()),
            outcome = self.outcome.as_str(),
            response_bytes = self.response_bytes,
            trace_id = self.trace_ids().map(|ids| ids.0),
            span_id = self.trace_ids().map(|ids| ids.1),
            "request finished"
        );
        if let Some(recorder) = self.recorder.take() {
            recorder.record.finish(&RequestFinished {
                model: self.model.take(),
                status: self.status,
                streamed: self.streamed,
                outcome: self.outcome,
                duration: recorder.started.elapsed(),
                first_byte: recorder.first_byte,
                response_bytes: self.response_bytes,
            });
        }
    }
}
