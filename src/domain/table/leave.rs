//! Leaving service: [`RoutingTable::leave_service`] is the one way out, and begins a drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Draining, Ended, Ready, State, Stopping, Waiting};
use super::event::Transition;
use super::ids::Generation;
use super::warning::Warning;
use super::{EXPECTED_BACK_FOR, RoutingTable, Transitions};
use crate::backend::Registration;
use crate::container::{ContainerId, EngineTime};
use crate::drain::{Drain, LeaveReason, WAITING_GRACE};

impl<L: Clone> RoutingTable<L> {
    /// Takes a container out of service: its backend begins to drain, or its discovery is abandoned. Drains that its
    /// earlier registrations have begun are shortened to what the reason allows.
    pub(super) fn leave_service(
        &mut self,
        id: &ContainerId,
        reason: LeaveReason,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        self.shorten_drains(id, &reason, now);
        self.leave_keeping_drains(id, reason, now, out);
    }

    /// As [`Self::leave_service`], but earlier drains keep their deadlines.
    pub(super) fn leave_keeping_drains(
        &mut self,
        id: &ContainerId,
        reason: LeaveReason,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let generation = Generation(self.next_sequence());
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.generation = generation;
        if let State::Ready(ready) = &entry.state {
            let ready = ready.clone();
            self.begin_drain(ready, reason, now, out);
        } else if let State::Discovering(_) = entry.state {
            out.push(Transition::Abandon(id.clone()));
        }
    }

    /// Begins the drain of a backend. Its claims go at once.
    fn begin_drain(&mut self, ready: Ready<L>, reason: LeaveReason, now: Instant, out: &mut Transitions<L>) {
        let backend = ready.backend;
        let models: Arc<[_]> = ready.models.iter().map(|model| model.name.clone()).collect();
        let drain = self.rules.drain.drain_for(&reason);
        let mut draining = Draining {
            backend: Arc::clone(&backend),
            models: Arc::clone(&models),
            reason: reason.clone(),
            since: now,
            fail_waiting_at: None,
            force_close_at: None,
        };
        draining.shorten(drain, now);
        self.draining.push(draining);
        out.push(Transition::LeftService { backend: Arc::clone(&backend), models: Arc::clone(&models), reason, drain });
        self.disclaim(&backend, models.iter(), out);
        self.leave_pool(&backend.container, &backend.replica.pool.id);
    }

    /// Leaves service until an inspection shows that the container can serve.
    pub(super) fn leave_to_wait(
        &mut self,
        id: &ContainerId,
        waiting: Waiting,
        reason: LeaveReason,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        self.leave_service(id, reason, now, out);
        self.wait(id, waiting, now, out);
    }

    /// Leaves service to stop: until the container has ended, or is readmitted.
    pub(super) fn leave_to_stop(
        &mut self,
        id: &ContainerId,
        reason: LeaveReason,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        self.leave_service(id, reason.clone(), now, out);
        let drain = self.rules.drain;
        let Some(entry) = self.entries.get_mut(id) else { return };
        let stopping = Stopping {
            reason,
            recheck_at: now + drain.recheck_after(entry.container.stop_timeout).min(drain.readmit_after),
            readmit_at: now + drain.readmit_after(entry.container.stop_timeout),
        };
        entry.set(State::Stopping(stopping), now);
    }

    /// Leaves service because the process, or the whole container, is gone.
    pub(super) fn leave_ended(
        &mut self,
        id: &ContainerId,
        reason: LeaveReason,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let removed = reason == LeaveReason::Removed;
        self.leave_service(id, reason, now, out);
        let Some(entry) = self.entries.get_mut(id) else { return };
        let ended = match &entry.state {
            // A second event for the same end (`die` and `stop`, then `destroy`) postpones nothing.
            State::Ended(before) => Ended { removed: removed || before.removed, ..before.clone() },
            _ => Ended { removed, expected_until: Some(now + EXPECTED_BACK_FOR) },
        };
        let forget = ended.removed && ended.expected_until.is_none();
        entry.set(State::Ended(ended), now);
        if forget {
            self.forget_container(id);
        }
    }

    /// Puts a container that is out of service into the waiting state, with a warning if the operator has to act.
    pub(super) fn wait(&mut self, id: &ContainerId, waiting: Waiting, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if matches!(&entry.state, State::Waiting(before) if *before == waiting) {
            return;
        }
        let warning = match &waiting {
            Waiting::NoHealthcheck => Some(Warning::NoHealthcheck),
            Waiting::BadLabel(error) => Some(Warning::BadLabel(error.to_string())),
            Waiting::NoAddress(why) if entry.is_foreign() => Some(Warning::OtherProject(why.to_string())),
            Waiting::NoAddress(why) => Some(Warning::NoAddress(why.to_string())),
            Waiting::TooMany => Some(Warning::TableFull),
            Waiting::Starting
            | Waiting::Restarting
            | Waiting::LeftNetwork
            | Waiting::Unhealthy
            | Waiting::Unresponsive
            | Waiting::Paused
            | Waiting::OutOfMemory => None,
        };
        entry.set(State::Waiting(waiting), now);
        if let Some(warning) = warning {
            self.warn(id, warning, out);
        }
    }
}

impl<L> RoutingTable<L> {
    /// Shortens the drains of a container's registrations to what the reason allows.
    pub(super) fn shorten_drains(&mut self, container: &ContainerId, reason: &LeaveReason, now: Instant) {
        let drain = self.rules.drain.drain_for(reason);
        for draining in self.draining.iter_mut().filter(|r| r.backend.container == *container) {
            draining.shorten(drain, now);
        }
    }

    /// Returns true if requests of a container are kept because it was paused.
    pub(super) fn keeps_for_a_pause(&self, id: &ContainerId) -> bool {
        self.draining.iter().any(|r| r.backend.container == *id && r.reason == LeaveReason::Paused)
    }

    /// Lifts the deadlines of a run's drains, because it is back in service. If the container leaves again,
    /// [`Self::shorten_drains`] sets new ones.
    pub(super) fn lift_deadlines(&mut self, container: &ContainerId, run: EngineTime) {
        let of_it = |r: &&mut Draining<L>| r.backend.container == *container && r.backend.started_at == run;
        for draining in self.draining.iter_mut().filter(of_it) {
            (draining.force_close_at, draining.fail_waiting_at) = (None, None);
        }
    }

    /// Removes a backend whose last request ended.
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

    /// Ends the drain steps that are due.
    pub(super) fn tick_drains(&mut self, now: Instant, out: &mut Transitions<L>) {
        for draining in &mut self.draining {
            if draining.fail_waiting_at.take_if(|at| *at <= now).is_some() {
                out.push(Transition::FailWaiting(Arc::clone(&draining.backend)));
            }
            if draining.force_close_at.take_if(|at| *at <= now).is_some() {
                out.push(Transition::ForceClose(Arc::clone(&draining.backend)));
            }
        }
    }
}

impl<L> Draining<L> {
    /// Brings the deadlines forward; never postpones them.
    fn shorten(&mut self, drain: Drain, now: Instant) {
        let (fail_waiting, force_close) = match drain {
            Drain::Kept => (None, None),
            Drain::Within(timeout) => (None, Some(timeout)),
            Drain::WaitingFailed(timeout) => (Some(WAITING_GRACE.min(timeout)), Some(timeout)),
        };
        let sooner = |old: Option<Instant>, wait: Option<Duration>| old.into_iter().chain(wait.map(|w| now + w)).min();
        self.fail_waiting_at = sooner(self.fail_waiting_at, fail_waiting);
        self.force_close_at = sooner(self.force_close_at, force_close);
    }
}
