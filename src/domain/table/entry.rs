//! The table's record of one container.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::history::History;
use super::ids::{Generation, SourceId};
use super::warning::Warning;
use crate::backend::{Backend, OfferedModel, Registration};
use crate::container::{Addresses, Container, EngineTime, LifecycleEvent, Reach, Unreachable};
use crate::drain::LeaveReason;
use crate::labels::LabelError;
use crate::model_name::ModelName;
use crate::signal::Signal;

/// The most signals of one run that are remembered.
const SIGNALS_REMEMBERED: usize = 16;

/// One container that opted in.
#[derive(Debug, Clone)]
pub struct Entry<L> {
    /// The source that reports it.
    pub source: SourceId,
    /// The last inspection.
    pub container: Arc<Container>,
    /// The state of the container.
    pub state: State<L>,
    /// When the state was entered.
    pub since: Instant,
    /// The models that it has served, or that the container of this name before it has: requests for them find them
    /// "not ready" rather than "not known".
    pub served: Arc<[ModelName]>,
    /// The generation of its jobs.
    pub generation: Generation,
    /// Its earlier runs.
    pub history: History,
    /// The last warning of each kind that was emitted. A warning is repeated only when it has changed.
    pub warned: Vec<Warning>,
    /// The signals of this run that were handled.
    pub signals: SeenSignals,
    /// The last list of its models.
    pub known: Option<KnownModels>,
    /// The models that it lists and that found no room, sorted.
    pub left_out: Arc<[ModelName]>,
}

/// The last list of a run's models: good enough to resume service at once when the same run returns.
#[derive(Debug, Clone)]
pub struct KnownModels {
    /// The run.
    pub run: EngineTime,
    /// The address that served them.
    pub address: SocketAddr,
    /// The models.
    pub models: Arc<[OfferedModel]>,
}

/// The last signals that were handled. A signal that is replayed has the same time and is recognized by it.
#[derive(Debug, Clone, Default)]
pub struct SeenSignals {
    last: Vec<(EngineTime, Signal)>,
}

impl SeenSignals {
    /// Returns the number of signals that are remembered.
    #[allow(clippy::len_without_is_empty, reason = "only a bound is checked by it")]
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Remembers a signal. Returns false if it was seen before.
    pub(super) fn insert(&mut self, at: EngineTime, signal: Signal) -> bool {
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

/// The state of a container.
#[derive(Debug, Clone)]
pub enum State<L> {
    /// It cannot serve as it is now; the next inspection may change that.
    Waiting(Waiting),
    /// Healthy; its models are being discovered.
    Discovering(Discovering),
    /// In service.
    Ready(Ready<L>),
    /// It was told to stop.
    Stopping(Stopping),
    /// It does not run.
    Ended(Ended),
}

/// The reason why a container that exists is not in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Its health check has not passed yet.
    Starting,
    /// It is between two runs.
    Restarting,
    /// It has no health check.
    NoHealthcheck,
    /// A label is invalid.
    BadLabel(LabelError),
    /// No network leads to it.
    NoAddress(Unreachable),
    /// It left a network; the next inspection shows which ones remain.
    LeftNetwork,
    /// Its health check fails.
    Unhealthy,
    /// It does not respond.
    Unresponsive,
    /// It is paused.
    Paused,
    /// The kernel killed a process in it for lack of memory; the next inspection shows whether it goes on.
    OutOfMemory,
    /// The table is full.
    TooMany,
}

/// A healthy container whose models are being discovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovering {
    /// Its rank among the containers that turned healthy: a later one wins a contested model.
    pub order: u64,
    /// The addresses that are tried, in this order.
    pub addresses: Addresses,
    /// The cause of the last failure.
    pub failure: Option<Arc<str>>,
    /// When discovery starts over: the backend responded, but listed no usable model.
    pub retry_at: Option<Instant>,
}

/// A container in service.
#[derive(Debug, Clone)]
pub struct Ready<L> {
    /// The registration.
    pub backend: Arc<Backend<L>>,
    /// The models that it lists.
    pub models: Arc<[OfferedModel]>,
    /// Its rank among the containers that turned healthy.
    pub order: u64,
    /// When its models are refreshed.
    pub refresh_at: Instant,
    /// The number of refreshes in a row that could not connect.
    pub failures: u8,
    /// Since when and why its list is out of date, if it is.
    pub stale: Option<Stale>,
    /// The number of empty lists in a row.
    pub empty_lists: u8,
}

/// A list of models that could not be refreshed. The models that it had before are still served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The last cause.
    pub why: Arc<str>,
    /// The first failure.
    pub since: Instant,
}

/// A container that was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopping {
    /// What told it.
    pub reason: LeaveReason,
    /// When it is inspected if no event has come.
    pub recheck_at: Instant,
    /// When it is readmitted, if it is healthy then.
    pub readmit_at: Instant,
}

/// A container that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whether the container itself is gone.
    pub removed: bool,
    /// Until when its models are "not ready" rather than "not known": it may be restarting, or being recreated.
    pub expected_until: Option<Instant>,
}

/// A backend out of service that still has requests in flight.
#[derive(Debug, Clone)]
pub struct Draining<L> {
    /// The backend.
    pub backend: Arc<Backend<L>>,
    /// The models that it served.
    pub models: Arc<[ModelName]>,
    /// Why it left service.
    pub reason: LeaveReason,
    /// When it left service.
    pub since: Instant,
    /// When the requests that wait for it fail.
    pub fail_waiting_at: Option<Instant>,
    /// When every request that is still in flight is closed.
    pub force_close_at: Option<Instant>,
}

impl<L> State<L> {
    /// Returns true if a container in this state may serve again without help from the operator.
    pub(super) fn may_return(&self) -> bool {
        match self {
            Self::Waiting(
                Waiting::Starting
                | Waiting::Restarting
                | Waiting::Unhealthy
                | Waiting::Unresponsive
                | Waiting::Paused
                | Waiting::OutOfMemory
                | Waiting::LeftNetwork
                | Waiting::NoAddress(_),
            )
            | Self::Discovering(_)
            | Self::Ended(Ended { expected_until: Some(_), .. }) => true,
            Self::Waiting(Waiting::NoHealthcheck | Waiting::BadLabel(_) | Waiting::TooMany)
            | Self::Ended(_)
            | Self::Stopping(_)
            | Self::Ready(_) => false,
        }
    }
}

impl<L> Entry<L> {
    /// Returns the registration in service, if there is one.
    pub fn registration(&self) -> Option<Registration> {
        match &self.state {
            State::Ready(ready) => Some(ready.backend.registration),
            State::Waiting(_) | State::Discovering(_) | State::Stopping(_) | State::Ended(_) => None,
        }
    }

    /// Returns true if it belongs to another Compose project, out of reach, and was never served here.
    pub fn is_foreign(&self) -> bool {
        self.container.other_project().is_some() && self.served.is_empty()
    }

    /// Returns true if it is a static backend, which is named by its URL. Its source reports its health.
    pub(super) fn is_static(&self) -> bool {
        self.container.name.contains("://")
    }

    /// Returns true if its present run has been in service.
    pub(super) fn has_served(&self) -> bool {
        self.history.has_served(self.container.started_at)
    }

    /// Returns true if the event may change a container in this state. One that is stopping or has ended is out of
    /// service already.
    pub(super) fn is_affected_by(&self, event: &LifecycleEvent) -> bool {
        match event {
            LifecycleEvent::Ended { .. } | LifecycleEvent::Removed | LifecycleEvent::Renamed(_) => true,
            LifecycleEvent::Signal(_) | LifecycleEvent::OutOfMemory => !matches!(self.state, State::Ended(_)),
            LifecycleEvent::Paused | LifecycleEvent::Unhealthy | LifecycleEvent::LeftNetwork(_) => {
                !matches!(self.state, State::Stopping(_) | State::Ended(_))
            }
        }
    }

    /// Returns the last list of the present run's models, if it has served.
    pub(super) fn known_of_this_run(&self) -> Option<&KnownModels> {
        let port = self.container.labels.as_ref().ok()?.port;
        self.known.as_ref().filter(|known| known.run == self.container.started_at && known.address.port() == port)
    }

    /// Returns true if it has an address that its discovery does not try yet.
    pub(super) fn has_untried_address(&self) -> bool {
        match (&self.state, &self.container.reach) {
            (State::Discovering(discovering), Reach::At(addresses)) => {
                addresses.iter().any(|ip| !discovering.addresses.contains(ip))
            }
            _ => false,
        }
    }

    /// Enters another state.
    pub(super) fn set(&mut self, state: State<L>, now: Instant) {
        self.state = state;
        self.since = now;
    }
}
