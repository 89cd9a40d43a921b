//! The application's way to one backend: its channel, and who is in flight over it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::backend_url::Origin;
use http::HeaderValue;
use ports::upstream::Channel;
use tokio::sync::Notify;

use super::activity::InFlight;
use super::cancel::RequestCancel;

/// What the table keeps with each backend for the application.
#[derive(Clone)]
pub struct Link {
    channel: Arc<dyn Channel>,
    /// The `Host` that the backend is sent, where it has a name of its own.
    host: Option<HeaderValue>,
    in_flight: Arc<InFlight>,
    drained: Arc<Notify>,
    /// How many requests the backend broke off after its gate was closed.
    broken: Arc<AtomicUsize>,
}

impl Link {
    /// A link over this channel. `drained` is told when the last request leaves a closed gate.
    pub(super) fn new(
        channel: Arc<dyn Channel>,
        origin: Option<&Origin>,
        in_flight: Arc<InFlight>,
        drained: Arc<Notify>,
    ) -> Self {
        let host = origin.and_then(|origin| HeaderValue::from_str(&origin.authority).ok());
        Self { channel, host, in_flight, drained, broken: Arc::default() }
    }

    /// The `Host` that the backend is sent. `None` if it gets the client's.
    pub(super) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// The connections to the backend.
    pub fn channel(&self) -> &Arc<dyn Channel> {
        &self.channel
    }

    /// Has the requests in flight look whether their backend is still in service.
    pub(super) fn look(&self) {
        self.in_flight.each(RequestCancel::look);
    }

    /// Ends the requests that wait for a byte of the backend.
    pub(super) fn fail_waiting(&self) {
        self.in_flight.each(RequestCancel::fail_waiting);
    }

    /// Ends every request in flight, and says how many there were.
    pub(super) fn cut(&self) -> usize {
        self.in_flight.each(RequestCancel::cut)
    }

    /// Notes a request that the backend broke off while it drained.
    pub(super) fn broke(&self) {
        self.broken.fetch_add(1, Ordering::AcqRel);
    }

    /// How many requests the backend broke off while it drained.
    pub(super) fn broken(&self) -> usize {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn drained(&self) {
        self.drained.notify_one();
    }

    pub(super) fn enlist(&self, cancel: &Arc<RequestCancel>) -> usize {
        self.in_flight.enter(cancel)
    }

    pub(super) fn dismiss(&self, key: usize) {
        self.in_flight.leave(key);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}
