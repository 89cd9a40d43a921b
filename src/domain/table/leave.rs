//! Backends on their way out, and what time does to the table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Draining, Entry, Ready, State, Waiting};
use super::event::{DiscoveryRequest, Transition};
use super::{RoutingTable, Transitions};
use crate::backend::Registration;
use crate::container::{ContainerId, EngineTime};
use crate::drain::{Drain, LeaveReason, WAITING_GRACE};

/// How long until a container that still runs after its stop signal is looked at once more.
const RECHECK_EVERY: Duration = Duration::from_secs(30);
/// After which time a container that has not turned healthy is worth a line: large models take minutes to load.
const STARTS_LONG: Duration = Duration::from_secs(600);

impl<L> RoutingTable<L> {
    /// Takes a backend out of service. Its claims go at once; its requests in flight as the policy says.
    pub(super) fn leave_service(
        &mut self,
        ready: Ready<L>,
        reason: LeaveReason,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let backend = ready.backend;
        let models: Arc<[_]> = ready.models.iter().map(|model| model.name.clone()).collect();
        let drain = self.rules.drain.drain_for(&reason);
        self.draining.push(Draining {
            backend: Arc::clone(&backend),
            models: Arc::clone(&models),
            reason: reason.clone(),
            since: now,
            fail_waiting_at: None,
            force_close_at: None,
        });
        if let Some(draining) = self.draining.last_mut() {
            draining.shorten_drain(drain, now);
        }
        out.push(Transition::LeftService { backend: Arc::clone(&backend), models: Arc::clone(&models), reason, drain });
        self.disclaim(&backend, models.iter(), out);
        self.leave_pool(&backend.container, &backend.replica.pool.id);
    }

    /// The container of backends that are on their way out died, or was told to stop: their time is shorter now.
    pub(super) fn shorten_drain(&mut self, container: &ContainerId, reason: &LeaveReason, now: Instant) {
        let drain = self.rules.drain.drain_for(reason);
        for draining in self.draining.iter_mut().filter(|r| r.backend.container == *container) {
            draining.shorten_drain(drain, now);
        }
    }

    /// Whether requests of a container are kept because it was paused.
    pub(super) fn keeps_for_a_pause(&self, id: &ContainerId) -> bool {
        self.draining.iter().any(|r| r.backend.container == *id && r.reason == LeaveReason::Paused)
    }

    /// The same run is back in service: what went before may take as long as it takes. If the container goes again,
    /// [`Self::shorten_drain`] sets new deadlines.
    pub(super) fn lift_deadlines(&mut self, container: &ContainerId, run: EngineTime) {
        let of_it = |r: &&mut Draining<L>| r.backend.container == *container && r.backend.started_at == run;
        for draining in self.draining.iter_mut().filter(of_it) {
            (draining.force_close_at, draining.fail_waiting_at) = (None, None);
        }
    }

    pub(super) fn drain_finished(&mut self, registration: Registration, now: Instant, out: &mut Transitions<L>) {
        let Some(at) = self.draining.iter().position(|r| r.backend.registration == registration) else { return };
        let draining = self.draining.remove(at);
        out.push(Transition::Removed {
            backend: draining.backend,
            models: draining.models,
            reason: draining.reason,
            after: now.saturating_duration_since(draining.since),
        });
    }

    /// Does what the time has come for.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Transitions<L>) {
        self.tick_retiring(now, out);
        let due: Vec<_> = self.entries.iter().filter(|(_, e)| e.due(now)).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.tick_entry(&id, now, out);
        }
    }

    fn tick_retiring(&mut self, now: Instant, out: &mut Transitions<L>) {
        for draining in &mut self.draining {
            if draining.fail_waiting_at.is_some_and(|at| at <= now) {
                draining.fail_waiting_at = None;
                out.push(Transition::FailWaiting(Arc::clone(&draining.backend)));
            }
            if draining.force_close_at.is_some_and(|at| at <= now) {
                draining.force_close_at = None;
                out.push(Transition::ForceClose(Arc::clone(&draining.backend)));
            }
        }
    }

    fn tick_entry(&mut self, id: &ContainerId, now: Instant, out: &mut Transitions<L>) {
        let refresh_every = self.rules.refresh_every;
        let Some(entry) = self.entries.get_mut(id) else { return };
        match &mut entry.state {
            State::Ready(ready) => {
                ready.refresh_at = now + refresh_every;
                out.push(Transition::RefreshModels(DiscoveryRequest {
                    container: id.clone(),
                    name: Arc::clone(&ready.backend.name),
                    generation: entry.generation,
                    address: ready.backend.address,
                    others: Vec::new(),
                    base_path: ready.backend.base_path.clone(),
                    origin: ready.backend.origin.clone(),
                }));
            }
            State::Stopping(stopping) => {
                let next = now + RECHECK_EVERY;
                stopping.recheck_at = if now < stopping.readmit_at { next.min(stopping.readmit_at) } else { next };
                out.push(Transition::RefreshContainer(entry.source, id.clone()));
            }
            State::Ended(ended) => {
                ended.expected_until = None;
                if ended.removed {
                    self.forget(id);
                    self.entries.remove(id);
                }
            }
            State::Discovering(discovering) => {
                let order = discovering.order;
                self.discover(id, order, now, out);
            }
            State::Waiting(_) => {
                let minutes = STARTS_LONG.as_secs() / 60;
                self.warn_unhealthy(id, format!("its health check has not passed for {minutes} minutes"), out);
            }
        }
    }
}

impl<L> Entry<L> {
    fn due(&self, now: Instant) -> bool {
        self.state.due(now) || self.warn_of_health_at().is_some_and(|at| at <= now)
    }

    /// When the operator is told that it is starting for long.
    pub(super) fn warn_of_health_at(&self) -> Option<Instant> {
        let starts = matches!(self.state, State::Waiting(Waiting::Starting));
        (starts && self.health_is_worth_a_warning()).then(|| self.since + STARTS_LONG)
    }
}

impl<L> Draining<L> {
    /// Brings the end nearer; never puts it off.
    fn shorten_drain(&mut self, drain: Drain, now: Instant) {
        let sooner = |old: Option<Instant>, wait: Duration| {
            let at = now + wait;
            Some(old.map_or(at, |old| old.min(at)))
        };
        match drain {
            Drain::Kept => {}
            Drain::Within(timeout) => self.force_close_at = sooner(self.force_close_at, timeout),
            Drain::WaitingFailed(timeout) => {
                self.fail_waiting_at = sooner(self.fail_waiting_at, WAITING_GRACE.min(timeout));
                self.force_close_at = sooner(self.force_close_at, timeout);
            }
        }
    }
}

impl<L> State<L> {
    fn due(&self, now: Instant) -> bool {
        match self {
            Self::Ready(ready) => ready.refresh_at <= now,
            Self::Stopping(stopping) => stopping.recheck_at <= now,
            Self::Ended(ended) => ended.expected_until.is_some_and(|at| at <= now),
            Self::Discovering(discovering) => discovering.ask_at.is_some_and(|at| at <= now),
            Self::Waiting(_) => false,
        }
    }
}
