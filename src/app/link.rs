//! The application's way to one backend: its channel, and who is in flight over it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;
use tokio::sync::Notify;

use super::interrupt::Interrupt;
use crate::ports::upstream::Channel;

/// What the table keeps with each backend for the application.
#[derive(Clone)]
pub struct Link {
    channel: Arc<dyn Channel>,
    in_flight: Arc<Mutex<Slab<Arc<Interrupt>>>>,
    drained: Arc<Notify>,
    /// How many requests the backend broke off after its gate was closed.
    broken: Arc<AtomicUsize>,
}

impl Link {
    /// A link over this channel. `drained` is told when the last request leaves a closed gate.
    pub fn new(channel: Arc<dyn Channel>, drained: Arc<Notify>) -> Self {
        Self { channel, in_flight: Arc::default(), drained, broken: Arc::default() }
    }

    /// The connections to the backend.
    pub fn channel(&self) -> &Arc<dyn Channel> {
        &self.channel
    }

    /// Has the requests in flight look whether their backend is still in service.
    pub(super) fn look(&self) {
        self.each(Interrupt::look);
    }

    /// Ends the requests that wait for a byte of the backend.
    pub(super) fn sever(&self) {
        self.each(Interrupt::sever);
    }

    /// Ends every request in flight, and says how many there were.
    pub(super) fn cut(&self) -> usize {
        self.each(Interrupt::cut)
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

    pub(super) fn enlist(&self, interrupt: &Arc<Interrupt>) -> usize {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        interrupt.begin_request();
        in_flight.insert(Arc::clone(interrupt))
    }

    pub(super) fn dismiss(&self, key: usize) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.try_remove(key);
    }

    fn each(&self, end: impl Fn(&Interrupt)) -> usize {
        let in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.iter().for_each(|(_, interrupt)| end(interrupt));
        in_flight.len()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}
