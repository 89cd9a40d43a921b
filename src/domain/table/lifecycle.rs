//! What happens to containers. Edges take a container out of service at once, without a look.

use std::sync::Arc;
use std::time::Instant;

use super::entry::{State, Waiting};
use super::{RoutingTable, Transitions};
use crate::container::{ContainerId, EngineTime, LifecycleEvent, LostAddresses, Reach};
use crate::drain::LeaveReason;
use crate::signal::{Meaning, Signal};

impl<L> RoutingTable<L> {
    pub(super) fn edge(&mut self, id: &ContainerId, edge: LifecycleEvent, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (stopping, ended) = (matches!(entry.state, State::Stopping(_)), matches!(entry.state, State::Ended(_)));
        match edge {
            LifecycleEvent::Signal(signal) if !ended => self.signal(id, signal, now, out),
            LifecycleEvent::Ended { exit_code } => self.end(id, LeaveReason::Ended(exit_code), false, now, out),
            LifecycleEvent::Removed => self.end(id, LeaveReason::Removed, true, now, out),
            LifecycleEvent::Renamed(name) => {
                Arc::make_mut(&mut entry.container).name = name;
                self.rename_backends(id);
                self.inherit(id);
                self.succeed(id);
            }
            LifecycleEvent::Paused if !stopping && !ended => {
                self.suspend(id, Waiting::Paused, LeaveReason::Paused, now, out)
            }
            LifecycleEvent::Unhealthy if !stopping && !ended => {
                self.suspend(id, Waiting::Unhealthy, LeaveReason::Unhealthy, now, out);
            }
            LifecycleEvent::LeftNetwork(lost) if !stopping && !ended => self.left_network(id, &lost, now, out),
            // Nothing is asked of it meanwhile: if this is its end, the engine says so a third of a second later.
            LifecycleEvent::OutOfMemory if matches!(entry.state, State::Ready(_) | State::Discovering(_)) => {
                entry.history.ran_out_of_memory();
                entry.known = None; // what is left of it has to answer first
                self.suspend(id, Waiting::OutOfMemory, LeaveReason::OutOfMemory, now, out);
            }
            LifecycleEvent::OutOfMemory if !ended => entry.history.ran_out_of_memory(),
            LifecycleEvent::Signal(_)
            | LifecycleEvent::Paused
            | LifecycleEvent::Unhealthy
            | LifecycleEvent::LeftNetwork(_)
            | LifecycleEvent::OutOfMemory => {}
        }
    }

    /// Returns true for a signal that was acted upon before: a stream that is resumed tells the past again. Remembers it
    /// otherwise.
    pub(super) fn is_replayed(&mut self, id: &ContainerId, at: EngineTime, edge: &LifecycleEvent) -> bool {
        match (self.entries.get_mut(id), edge) {
            (Some(entry), LifecycleEvent::Signal(signal)) => !entry.signals.note(at, *signal),
            _ => false,
        }
    }

    /// A network is gone: out of service only if its address was in use. Where it is reached now is seen at the next look.
    fn left_network(&mut self, id: &ContainerId, lost: &LostAddresses, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let in_use = match &entry.state {
            State::Ready(ready) => lost.contains(ready.backend.address.ip()),
            State::Discovering(discovering) => lost.contains(discovering.asked.first()),
            State::Waiting(_) | State::Stopping(_) | State::Ended(_) => false,
        };
        if let (Reach::At(addresses), LostAddresses::These(lost)) = (&entry.container.reach, lost)
            && let Some(left) = addresses.without(lost)
        {
            Arc::make_mut(&mut entry.container).reach = Reach::At(left);
        }
        if in_use {
            self.suspend(id, Waiting::LeftNetwork, LeaveReason::NoNetwork, now, out);
        }
    }

    fn signal(&mut self, id: &ContainerId, signal: Signal, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get(id) else { return };
        match signal.meaning(entry.container.stop_signal) {
            Meaning::Other => {}
            Meaning::Stop => self.stop(id, LeaveReason::StopSignal(signal), now, out),
            Meaning::Kill => self.stop(id, LeaveReason::Killed, now, out),
        }
    }

    fn suspend(
        &mut self,
        id: &ContainerId,
        waiting: Waiting,
        reason: LeaveReason,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        self.withdraw(id, reason, now, out);
        self.wait(id, waiting, now, out);
    }
}
