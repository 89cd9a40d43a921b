//! What the table holds of one container.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::event::{Generation, Warning};
use super::history::History;
use crate::backend::{Backend, OfferedModel, Registration};
use crate::container::{Addresses, Container, EngineTime, Unreachable};
use crate::drain::LeaveReason;
use crate::labels::LabelError;
use crate::model_name::ModelName;
use crate::signal::Signal;

/// How many signals of one run are remembered.
const SIGNALS_REMEMBERED: usize = 16;

/// Which of the proxy's container sources a container comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u8);

/// One container that opted in.
#[derive(Debug)]
pub struct Entry<L> {
    /// Where it comes from.
    pub source: SourceId,
    /// What was last seen of it.
    pub container: Arc<Container>,
    /// Where it stands.
    pub state: State<L>,
    /// Since when it stands there.
    pub since: Instant,
    /// The models that it has served, or that the container of this name before it has: asked for, they are "not ready"
    /// rather than "not known".
    pub served: Arc<[ModelName]>,
    /// Jobs begun for an earlier generation come to nothing.
    pub generation: Generation,
    /// What became of its earlier runs.
    pub history: History,
    /// What the operator was told already, of each kind the last: it is told again only when it changed.
    pub warned: Vec<Warning>,
    /// The signals of this run that were acted upon.
    pub signals: ActedUpon,
    /// What it served last, and where.
    pub known: Option<KnownModels>,
    /// The models that it lists and for which there was no room, sorted.
    pub left_out: Arc<[ModelName]>,
}

/// What a run of a container served last: good enough to serve with at once when the same run returns.
#[derive(Debug, Clone)]
pub struct KnownModels {
    /// The run.
    pub run: EngineTime,
    /// Where.
    pub address: SocketAddr,
    /// What it listed.
    pub models: Arc<[OfferedModel]>,
}

/// The last signals that were acted upon, so that one which is told again is known. It is told with the same time.
#[derive(Debug, Clone, Default)]
pub struct ActedUpon {
    last: Vec<(EngineTime, Signal)>,
}

impl ActedUpon {
    /// Returns how many are remembered.
    #[allow(clippy::len_without_is_empty, reason = "only a bound is checked by it")]
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Notes a signal. Returns false if it was noted before.
    pub(super) fn note(&mut self, at: EngineTime, signal: Signal) -> bool {
        if at == EngineTime::default() {
            return true; // without a time nothing tells two signals apart
        }
        if self.last.contains(&(at, signal)) {
            return false;
        }
        if self.last.len() >= SIGNALS_REMEMBERED {
            self.last.remove(0);
        }
        self.last.push((at, signal));
        true
    }
}

impl<L> Clone for Entry<L> {
    fn clone(&self) -> Self {
        Self {
            source: self.source,
            container: Arc::clone(&self.container),
            state: self.state.clone(),
            since: self.since,
            served: Arc::clone(&self.served),
            generation: self.generation,
            history: self.history.clone(),
            warned: self.warned.clone(),
            signals: self.signals.clone(),
            known: self.known.clone(),
            left_out: Arc::clone(&self.left_out),
        }
    }
}

/// Where a container stands.
#[derive(Debug)]
pub enum State<L> {
    /// It cannot serve as it is now; the next look may change that.
    Waiting(Waiting),
    /// Healthy; it is being asked for its models.
    Discovering(Discovering),
    /// In service.
    Ready(Ready<L>),
    /// It was told to stop.
    Stopping(Stopping),
    /// It does not run.
    Ended(Ended),
}

impl<L> Clone for State<L> {
    fn clone(&self) -> Self {
        match self {
            Self::Waiting(waiting) => Self::Waiting(waiting.clone()),
            Self::Discovering(discovering) => Self::Discovering(discovering.clone()),
            Self::Ready(ready) => Self::Ready(ready.clone()),
            Self::Stopping(stopping) => Self::Stopping(stopping.clone()),
            Self::Ended(ended) => Self::Ended(ended.clone()),
        }
    }
}

/// Why a container is not in service though it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Its health check has not passed yet.
    Starting,
    /// Between two runs.
    Restarting,
    /// It has no health check; there is nothing to go by.
    NoHealthcheck,
    /// A label cannot be read.
    BadLabel(LabelError),
    /// There is no way to it.
    NoAddress(Unreachable),
    /// It left a network; what it has left will be seen at the next look.
    LeftNetwork,
    /// Its health check fails.
    Unhealthy,
    /// It does not answer.
    Unresponsive,
    /// It is frozen.
    Paused,
    /// A process in it was killed for want of memory; whether it goes on is seen at the next look.
    OutOfMemory,
    /// There are as many backends as the proxy takes.
    TooMany,
}

/// A healthy container that is being asked for its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovering {
    /// Its place among those that turned healthy: a later one wins a contested model.
    pub order: u64,
    /// Where it is asked, in this order.
    pub asked: Addresses,
    /// Why the last try failed.
    pub failure: Option<Arc<str>>,
    /// When it is asked anew: it has answered, but nothing of what it listed can be used.
    pub ask_at: Option<Instant>,
}

/// A container in service.
#[derive(Debug)]
pub struct Ready<L> {
    /// The registration.
    pub backend: Arc<Backend<L>>,
    /// What it lists.
    pub models: Arc<[OfferedModel]>,
    /// Its place among those that turned healthy.
    pub order: u64,
    /// When it is asked for its models again.
    pub refresh_at: Instant,
    /// How often in a row it could not be reached for that.
    pub failures: u8,
    /// Why its models could not be listed again, while that lasts.
    pub stale: Option<Stale>,
    /// How often in a row it listed no model.
    pub empty_lists: u8,
}

/// What a backend lists is not known any more; what it listed before is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// Why, as it was last.
    pub why: Arc<str>,
    /// Since when.
    pub since: Instant,
}

impl<L> Clone for Ready<L> {
    fn clone(&self) -> Self {
        Self {
            backend: Arc::clone(&self.backend),
            models: Arc::clone(&self.models),
            order: self.order,
            refresh_at: self.refresh_at,
            failures: self.failures,
            stale: self.stale.clone(),
            empty_lists: self.empty_lists,
        }
    }
}

/// A container that was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopping {
    /// What told it.
    pub reason: LeaveReason,
    /// When it is looked at, if nothing is heard of it.
    pub recheck_at: Instant,
    /// From when on it is taken back, if it is healthy then.
    pub readmit_at: Instant,
}

/// A container that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whether the container itself is gone, too.
    pub removed: bool,
    /// Until when its models are "not ready" rather than "not known": it may be restarting, or being recreated.
    pub expected_until: Option<Instant>,
}

/// A backend out of service that still has requests in flight.
#[derive(Debug)]
pub struct Draining<L> {
    /// The backend.
    pub backend: Arc<Backend<L>>,
    /// What it served.
    pub models: Arc<[ModelName]>,
    /// Why it went.
    pub reason: LeaveReason,
    /// Since when.
    pub since: Instant,
    /// When requests that wait for it are ended.
    pub fail_waiting_at: Option<Instant>,
    /// When all that is still in flight is cut.
    pub force_close_at: Option<Instant>,
}

impl<L> Clone for Draining<L> {
    fn clone(&self) -> Self {
        Self {
            backend: Arc::clone(&self.backend),
            models: Arc::clone(&self.models),
            reason: self.reason.clone(),
            since: self.since,
            fail_waiting_at: self.fail_waiting_at,
            force_close_at: self.force_close_at,
        }
    }
}

impl<L> Entry<L> {
    /// The registration in service, if there is one.
    pub fn registration(&self) -> Option<Registration> {
        match &self.state {
            State::Ready(ready) => Some(ready.backend.registration),
            State::Waiting(_) | State::Discovering(_) | State::Stopping(_) | State::Ended(_) => None,
        }
    }
}
