//! Snapshots and inspections. Only an inspection brings a container into service.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::entry::{Ended, Entry, SeenSignals, State, Waiting};
use super::event::Transition;
use super::history::History;
use super::ids::{Generation, SourceId};
use super::warning::Warning;
use super::{MAX_CONTAINERS, RoutingTable, Transitions};
use crate::container::{Addresses, Condition, Container, ContainerEvent, ContainerId, LifecycleEvent, Reach, Snapshot};
use crate::drain::LeaveReason;

/// The state that an inspected container should be in.
enum Desired {
    /// In service at one of these addresses, once its models are known.
    Serving(Addresses),
    /// Waiting; the reason decides the drain.
    Waiting(Waiting, LeaveReason),
    /// Ended.
    Ended(LeaveReason),
    /// Stopping.
    Stopping(LeaveReason),
}

impl<L: Clone> RoutingTable<L> {
    /// Takes in a report of a container source.
    pub(super) fn source_event(
        &mut self,
        source: SourceId,
        event: ContainerEvent,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        match event {
            ContainerEvent::Snapshot(all) => self.snapshot(source, all, now, out),
            ContainerEvent::InspectionFailed(one) => self.inspection_failed(source, one, out),
            ContainerEvent::Inspected(container) => self.inspected(source, container, now, out),
            ContainerEvent::Lifecycle { id, at, event } => self.lifecycle_reported(&id, at, event, now, out),
            ContainerEvent::Disconnected(reason) => out.push(Transition::SourceDisconnected(source, reason)),
        }
    }

    /// Inspects what the snapshot lists, and removes what it does not list.
    fn snapshot(&mut self, source: SourceId, all: Snapshot, now: Instant, out: &mut Transitions<L>) {
        let Snapshot { mut containers, uninspected } = all;
        let uninspected_ids = uninspected.iter().map(|one| one.id.clone());
        let listed: HashSet<_> = containers.iter().map(|one| one.id.clone()).chain(uninspected_ids).collect();
        let missing: Vec<_> = self
            .entries
            .iter()
            .filter(|(id, entry)| entry.source == source && !listed.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in missing {
            self.lifecycle(&id, LifecycleEvent::Removed, now, out);
        }
        out.push(Transition::SourceSynced(source, listed.len()));
        self.set_uninspected(source, uninspected, out);
        // The order in which they turned healthy is unknown; the order of their starts is the best guess.
        containers.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        for container in containers {
            self.inspected(source, container, now, out);
        }
    }

    /// Takes in an inspection.
    fn inspected(&mut self, source: SourceId, container: Container, now: Instant, out: &mut Transitions<L>) {
        let id = container.id.clone();
        self.forget_uninspected(&id);
        if !self.entries.contains_key(&id) && !self.admit(source, &container, now, out) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // An inspection shows the present. A different start is a new run, even an earlier one: clocks may go back.
        let new_run = container.started_at != entry.container.started_at;
        let renamed = container.name != entry.container.name;
        entry.history.inspected(&entry.container, &container, now);
        entry.container = Arc::new(container);
        if new_run {
            entry.warned.retain(Warning::outlives_run);
            entry.signals = SeenSignals::default();
        }
        if renamed {
            self.name_changed(&id);
        }
        let Some(entry) = self.entries.get(&id) else { return };
        if let (State::Stopping(stopping), false) = (&entry.state, new_run) {
            let may_readmit = now >= stopping.readmit_at;
            return self.reconcile_stopping(&id, may_readmit, now, out);
        }
        self.reconcile(&id, new_run, now, out);
    }

    /// Reconciles a container that was told to stop: only its end ends the stop, or good health after a long time.
    fn reconcile_stopping(&mut self, id: &ContainerId, may_readmit: bool, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let condition = entry.container.condition;
        if matches!(condition, Condition::NotRunning | Condition::Restarting) {
            self.reconcile(id, false, now, out);
        } else if condition == Condition::Healthy && may_readmit {
            entry.warned.clear();
            self.warn(id, Warning::Readmitted, out);
            self.reconcile(id, false, now, out);
        }
    }

    /// Brings a container into the state that the last inspection asks for.
    fn reconcile(&mut self, id: &ContainerId, new_run: bool, now: Instant, out: &mut Transitions<L>) {
        let Some(desired) = self.entries.get(id).and_then(|entry| entry.desired(new_run)) else { return };
        let new_run = new_run.then_some(LeaveReason::NewRun);
        match desired {
            Desired::Serving(addresses) => self.serve(id, &addresses, new_run, now, out),
            // An engine calls a container unhealthy from its pause until the first check after it. That alone is no
            // reason to shorten the drain of the requests which the pause has kept.
            Desired::Waiting(Waiting::Unhealthy, why) if new_run.is_none() && self.keeps_for_a_pause(id) => {
                self.leave_keeping_drains(id, why, now, out);
                self.wait(id, Waiting::Unhealthy, now, out);
            }
            Desired::Waiting(waiting, why) => {
                if waiting == Waiting::Restarting {
                    self.run_found_ended(id, out);
                } else if waiting == Waiting::Unhealthy {
                    self.warn_unhealthy(id, out);
                }
                self.leave_to_wait(id, waiting, new_run.unwrap_or(why), now, out);
            }
            Desired::Ended(why) => {
                self.run_found_ended(id, out);
                self.leave_ended(id, new_run.unwrap_or(why), now, out);
            }
            Desired::Stopping(why) => {
                self.leave_to_stop(id, why, now, out);
                if let Some(new_run) = new_run {
                    self.shorten_drains(id, &new_run, now);
                }
            }
        }
    }
}

impl<L> RoutingTable<L> {
    /// Adds a container to the table. Returns false if there is no room.
    fn admit(&mut self, source: SourceId, container: &Container, now: Instant, out: &mut Transitions<L>) -> bool {
        if self.entries.len() >= MAX_CONTAINERS {
            let (container, name) = (container.id.clone(), Arc::clone(&container.name));
            out.push(Transition::Warn { container, name, warning: Warning::TableFull });
            return false;
        }
        let entry = Entry {
            source,
            container: Arc::new(container.clone()),
            state: State::Ended(Ended { removed: false, expected_until: None }),
            since: now,
            served: Arc::from([]),
            history: History::of(container),
            generation: Generation::default(),
            warned: Vec::new(),
            signals: SeenSignals::default(),
            known: None,
            left_out: Arc::from([]),
        };
        self.entries.insert(container.id.clone(), entry);
        self.inherit(&container.id);
        true
    }
}

impl<L> Entry<L> {
    /// Returns the state that the last inspection asks for; `None` if the container is in it.
    fn desired(&self, new_run: bool) -> Option<Desired> {
        let wait = |waiting, why| Some(Desired::Waiting(waiting, why));
        let container = &self.container;
        let serving = matches!(self.state, State::Ready(_) | State::Discovering(_)) && !new_run;
        match container.condition {
            Condition::NotRunning => return Some(Desired::Ended(LeaveReason::Ended(None))),
            Condition::Restarting => return wait(Waiting::Restarting, LeaveReason::Restarting),
            Condition::Stopping => return Some(Desired::Stopping(LeaveReason::Stopping)),
            Condition::Paused => return wait(Waiting::Paused, LeaveReason::Paused),
            Condition::Unresponsive => return wait(Waiting::Unresponsive, LeaveReason::Unresponsive),
            Condition::NoHealthcheck | Condition::Starting | Condition::Unhealthy | Condition::Healthy => {}
        }
        if let (true, Reach::Nowhere(why)) = (self.is_foreign(), &container.reach) {
            return wait(Waiting::NoAddress(why.clone()), LeaveReason::NoNetwork);
        }
        if let Err(error) = &container.labels {
            return wait(Waiting::BadLabel(error.clone()), LeaveReason::Unusable);
        }
        match (container.condition, &container.reach) {
            (Condition::NoHealthcheck, _) => wait(Waiting::NoHealthcheck, LeaveReason::Unusable),
            (Condition::Unhealthy, _) => wait(Waiting::Unhealthy, LeaveReason::Unhealthy),
            // After an engine restart, containers that still serve are called "starting" again. They stay in service as
            // long as they can be reached.
            (Condition::Starting, _) if !serving => wait(Waiting::Starting, LeaveReason::Unusable),
            (_, Reach::Nowhere(why)) => wait(Waiting::NoAddress(why.clone()), LeaveReason::NoNetwork),
            (_, Reach::At(addresses)) => match &self.state {
                // Its discovery is under way there.
                State::Discovering(discovering) if serving && addresses.contains(discovering.addresses.first()) => None,
                _ => Some(Desired::Serving(addresses.clone())),
            },
        }
    }
}
