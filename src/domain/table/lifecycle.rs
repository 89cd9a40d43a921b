//! Lifecycle events. They take a container out of service at once, without an inspection.

use std::sync::Arc;
use std::time::Instant;

use super::entry::{State, Waiting};
use super::{RoutingTable, Transitions};
use crate::container::{ContainerId, EngineTime, LifecycleEvent, LostAddresses, Reach, RunEnd};
use crate::drain::LeaveReason;
use crate::signal::{Meaning, Signal};

impl<L: Clone> RoutingTable<L> {
    /// Takes in a lifecycle event that was reported, unless it is stale or was replayed.
    pub(super) fn lifecycle_reported(
        &mut self,
        id: &ContainerId,
        at: EngineTime,
        event: LifecycleEvent,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let is_removal = event == LifecycleEvent::Removed;
        if is_removal {
            self.forget_uninspected(id);
        }
        let stale = self.entries.get(id).is_none_or(|entry| at.is_just_before(entry.container.started_at));
        if (stale && !is_removal) || self.is_replayed(id, at, &event) {
            return;
        }
        if let LifecycleEvent::Ended { exit_code } = event {
            self.run_ended(id, RunEnd { exit_code, out_of_memory: false }, Some(at), out);
        }
        self.lifecycle(id, event, now, out);
    }

    /// Takes in a lifecycle event of the present run.
    pub(super) fn lifecycle(
        &mut self,
        id: &ContainerId,
        event: LifecycleEvent,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        if !self.entries.get(id).is_some_and(|entry| entry.is_affected_by(&event)) {
            return;
        }
        match event {
            LifecycleEvent::Signal(signal) => self.signal(id, signal, now, out),
            LifecycleEvent::Ended { exit_code } => self.leave_ended(id, LeaveReason::Ended(exit_code), now, out),
            LifecycleEvent::Removed => self.leave_ended(id, LeaveReason::Removed, now, out),
            LifecycleEvent::Renamed(name) => self.renamed(id, name),
            LifecycleEvent::Paused => self.leave_to_wait(id, Waiting::Paused, LeaveReason::Paused, now, out),
            LifecycleEvent::Unhealthy => self.leave_to_wait(id, Waiting::Unhealthy, LeaveReason::Unhealthy, now, out),
            LifecycleEvent::LeftNetwork(lost) => self.left_network(id, &lost, now, out),
            LifecycleEvent::OutOfMemory => self.out_of_memory(id, now, out),
        }
    }

    fn signal(&mut self, id: &ContainerId, signal: Signal, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get(id) else { return };
        let reason = match signal.meaning(entry.container.stop_signal) {
            Meaning::Other => return,
            Meaning::Stop => LeaveReason::StopSignal(signal),
            Meaning::Kill => LeaveReason::Killed,
        };
        self.leave_to_stop(id, reason, now, out);
    }

    /// Takes a container out of service if it used a lost address. The next inspection shows where it can be reached.
    fn left_network(&mut self, id: &ContainerId, lost: &LostAddresses, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let in_use = match &entry.state {
            State::Ready(ready) => lost.contains(ready.backend.address.ip()),
            State::Discovering(discovering) => lost.contains(discovering.addresses.first()),
            State::Waiting(_) | State::Stopping(_) | State::Ended(_) => false,
        };
        if let (Reach::At(addresses), LostAddresses::These(lost)) = (&entry.container.reach, lost)
            && let Some(left) = addresses.without(lost)
        {
            Arc::make_mut(&mut entry.container).reach = Reach::At(left);
        }
        if in_use {
            self.leave_to_wait(id, Waiting::LeftNetwork, LeaveReason::NoNetwork, now, out);
        }
    }

    /// The kernel killed a process. No models are listed meanwhile: if this is the end of the container, the engine
    /// reports it a third of a second later.
    fn out_of_memory(&mut self, id: &ContainerId, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.history.ran_out_of_memory();
        if matches!(entry.state, State::Ready(_) | State::Discovering(_)) {
            entry.known = None; // what is left of it has to list its models before it serves
            self.leave_to_wait(id, Waiting::OutOfMemory, LeaveReason::OutOfMemory, now, out);
        }
    }
}

impl<L> RoutingTable<L> {
    /// Returns true for a signal that was handled before: a stream that is resumed replays the past. Remembers any
    /// other signal.
    fn is_replayed(&mut self, id: &ContainerId, at: EngineTime, event: &LifecycleEvent) -> bool {
        match (self.entries.get_mut(id), event) {
            (Some(entry), LifecycleEvent::Signal(signal)) => !entry.signals.insert(at, *signal),
            _ => false,
        }
    }
}
