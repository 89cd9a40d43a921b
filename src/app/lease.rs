//! A lease: one request's place in flight at a backend. It lives as long as the answer's body.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Backend;
use super::cancel::RequestCancel;
use super::watcher::now;

/// Counts as one request in flight from its making to its drop; there is no other way to count.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    cancel: Arc<RequestCancel>,
    key: usize,
    /// Whether nothing has come yet of the body of the response.
    waits: bool,
    watch: Option<Watch>,
}

/// What tells a replica that is silent from a client that is impatient.
#[derive(Debug, Clone, Copy)]
struct Watch {
    since: Instant,
    first_bytes: u32,
}

/// How long a request waits, while nothing comes of any other one at its replica either, until its client's departure
/// counts as a failure of the replica.
const SILENT_AFTER: Duration = Duration::from_secs(2);

impl Lease {
    /// Takes a lease, unless the backend's gate is closed or it has as many requests as it may.
    pub(super) fn take(backend: &Arc<Backend>, cancel: &Arc<RequestCancel>) -> Option<Self> {
        if !backend.gate.try_enter_within(backend.replica.max_requests) {
            return None;
        }
        backend.replica.load.begin_waiting();
        let key = backend.link.enlist(cancel);
        Some(Self { backend: Arc::clone(backend), cancel: Arc::clone(cancel), key, waits: true, watch: None })
    }

    /// Watches whether the backend, one of several replicas, is silent.
    pub(super) fn watch(&mut self, now: Instant) {
        self.watch = Some(Watch { since: now, first_bytes: self.backend.replica.load.first_bytes() });
    }

    /// The first byte of the response's body has come.
    pub(super) fn first_byte(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.backend.replica.load.end_waiting();
            self.backend.replica.load.note_first_byte();
        }
    }

    /// The request is over, and nothing may have come of it.
    fn end_waiting(&self) {
        let load = &self.backend.replica.load;
        load.end_waiting();
        let is_silent = |watch: Watch| {
            load.first_bytes() == watch.first_bytes && now().saturating_duration_since(watch.since) >= SILENT_AFTER
        };
        if self.watch.is_some_and(is_silent) {
            load.outlier.failed();
        }
    }

    /// Whose it is.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Notes that the backend broke the request off.
    pub(super) fn broke(&self) {
        if self.backend.gate.is_closed() {
            self.backend.link.broke();
        }
    }

    /// How the request is told to end.
    pub fn cancel(&self) -> &Arc<RequestCancel> {
        &self.cancel
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.waits {
            self.end_waiting();
        }
        self.backend.link.dismiss(self.key);
        if self.backend.gate.leave() {
            self.backend.link.drained();
        }
    }
}
