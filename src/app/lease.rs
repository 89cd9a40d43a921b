//! A lease: one request's place in flight at a backend. It lives as long as the answer's body.

use std::sync::Arc;

use super::Backend;
use super::cancel::RequestCancel;

/// Counts as one request in flight from its making to its drop; there is no other way to count.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    cancel: Arc<RequestCancel>,
    key: usize,
    /// Whether nothing has come yet of the body of the response.
    waits: bool,
}

impl Lease {
    /// Takes a lease, unless the backend's gate is closed or it has as many requests as it may.
    pub(super) fn take(backend: &Arc<Backend>, cancel: &Arc<RequestCancel>) -> Option<Self> {
        if !backend.gate.try_enter_within(backend.replica.max_requests) {
            return None;
        }
        backend.replica.load.begin_waiting();
        let key = backend.link.enlist(cancel);
        Some(Self { backend: Arc::clone(backend), cancel: Arc::clone(cancel), key, waits: true })
    }

    /// The first byte of the response's body has come.
    pub(super) fn first_byte(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.backend.replica.load.end_waiting();
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
        self.first_byte();
        self.backend.link.dismiss(self.key);
        if self.backend.gate.leave() {
            self.backend.link.drained();
        }
    }
}
