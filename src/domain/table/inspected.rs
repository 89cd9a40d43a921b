//! What a container source shows: snapshots and looks. Only a look brings a container into service.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::entry::{ActedUpon, Ended, Entry, KnownModels, SourceId, State, Stopping, Waiting};
use super::event::{Generation, Transition, Warning};
use super::history::History;
use super::{EXPECTED_BACK_FOR, MAX_CONTAINERS, RoutingTable, Transitions};
use crate::container::{
    Addresses, Condition, Container, ContainerEvent, ContainerId, LifecycleEvent, Reach, RunEnd, Snapshot,
};
use crate::drain::LeaveReason;

/// What a look at a container comes to.
enum Verdict {
    /// It can be asked for its models there.
    Serve(Addresses),
    /// It cannot serve now; what becomes of its requests in flight is in the reason.
    Wait(Waiting, LeaveReason),
    /// It does not run.
    End(LeaveReason),
    /// It is being stopped.
    Stop(LeaveReason),
}

impl<L> RoutingTable<L> {
    pub(super) fn source_event(
        &mut self,
        source: SourceId,
        event: ContainerEvent,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        match event {
            ContainerEvent::Snapshot(all) => self.snapshot(source, all, now, out),
            ContainerEvent::InspectionFailed(one) => self.not_inspected(source, one, out),
            ContainerEvent::Inspected(container) => self.observed(source, container, now, out),
            ContainerEvent::Lifecycle { id, at, edge } => {
                if edge == LifecycleEvent::Removed {
                    self.is_inspected(&id);
                }
                let stale = self.entries.get(&id).is_none_or(|e| at.is_just_before(e.container.started_at));
                if (!stale || edge == LifecycleEvent::Removed) && !self.is_replayed(&id, at, &edge) {
                    if let LifecycleEvent::Ended { exit_code } = edge {
                        self.run_ended(&id, RunEnd { exit_code, out_of_memory: false }, Some(at), out);
                    }
                    self.edge(&id, edge, now, out);
                }
            }
            ContainerEvent::Lost(reason) => out.push(Transition::SourceLost(source, reason)),
        }
    }

    /// Both ways: what is listed is looked at, what is not listed is gone.
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
            self.edge(&id, LifecycleEvent::Removed, now, out);
        }
        out.push(Transition::SourceSeen(source, listed.len()));
        self.set_uninspected(source, uninspected, out);
        // The order in which they turned healthy is not known; the order of their starts is the best guess.
        containers.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        for container in containers {
            self.observed(source, container, now, out);
        }
    }

    fn observed(&mut self, source: SourceId, container: Container, now: Instant, out: &mut Transitions<L>) {
        let id = container.id.clone();
        self.is_inspected(&id);
        if !self.entries.contains_key(&id) && !self.admit(source, &container, now, out) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // What a look finds is the present. Another start is another run, also an earlier one: the clock may have gone back.
        let new_run = container.started_at != entry.container.started_at;
        let renamed = container.name != entry.container.name;
        entry.history.seen(&entry.container, &container, now);
        entry.container = Arc::new(container);
        if new_run {
            entry.warned.retain(Warning::is_for_life);
            entry.signals = ActedUpon::default();
        }
        if renamed {
            self.rename_backends(&id);
            self.inherit(&id);
            self.succeed(&id);
        }
        let Some(entry) = self.entries.get(&id) else { return };
        if let (State::Stopping(stopping), false) = (&entry.state, new_run) {
            let readmit = now >= stopping.readmit_at;
            return self.look_at_stopping(&id, readmit, now, out);
        }
        self.judge(&id, new_run, now, out);
    }

    /// Takes a container into sight.
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
            signals: ActedUpon::default(),
            known: None,
            left_out: Arc::from([]),
        };
        self.entries.insert(container.id.clone(), entry);
        self.inherit(&container.id);
        true
    }

    /// A container that has served nothing yet inherits what is expected of its name: recreated, it is the same
    /// service to whoever asks for its models. Compose makes the new one under another name and renames it only when
    /// the old one is gone, so a new name counts like a new container.
    pub(super) fn inherit(&mut self, id: &ContainerId) {
        let Some(heir) = self.entries.get(id).filter(|entry| entry.served.is_empty()) else { return };
        let ended_before = |entry: &&Entry<L>| {
            matches!(entry.state, State::Ended(_))
                && entry.source == heir.source
                && entry.container.name == heir.container.name
                && !entry.served.is_empty()
        };
        if let Some(served) = self.entries.values().find(ended_before).map(|entry| Arc::clone(&entry.served)) {
            self.remember(id, served);
        }
    }

    /// A container is in service: what was expected of the one that had its name before is settled by what it lists.
    pub(super) fn succeed(&mut self, id: &ContainerId) {
        let Some(Entry { state: State::Ready(_), source, container, .. }) = self.entries.get(id) else { return };
        let replaced = |entry: &Entry<L>| {
            matches!(entry.state, State::Ended(Ended { expected_until: Some(_), .. }))
                && entry.source == *source
                && entry.container.name == container.name
        };
        let before: Vec<_> = self.entries.iter().filter(|(_, e)| replaced(e)).map(|(id, _)| id.clone()).collect();
        for id in before {
            self.forget(&id);
            let Some(Entry { state: State::Ended(ended), .. }) = self.entries.get_mut(&id) else { continue };
            ended.expected_until = None;
            if ended.removed {
                self.entries.remove(&id);
            }
        }
    }

    /// A container that was told to stop is believed only when it has ended, or after a long time.
    fn look_at_stopping(&mut self, id: &ContainerId, readmit: bool, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get(id) else { return };
        match entry.container.condition {
            Condition::NotRunning | Condition::Restarting => self.judge(id, false, now, out),
            Condition::Healthy if readmit => {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.warned.clear();
                }
                self.warn(id, Warning::TakenBack, out);
                self.judge(id, false, now, out);
            }
            Condition::Healthy
            | Condition::Stopping
            | Condition::Paused
            | Condition::NoHealthcheck
            | Condition::Starting
            | Condition::Unhealthy
            | Condition::Unresponsive => {}
        }
    }

    /// Puts a container where the last look says that it belongs.
    fn judge(&mut self, id: &ContainerId, new_run: bool, now: Instant, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get(id) else { return };
        let reason = new_run.then_some(LeaveReason::NewRun);
        match entry.verdict(new_run) {
            None => {}
            Some(Verdict::Serve(addresses)) => self.serve(id, &addresses, reason, now, out),
            // An engine calls a container unhealthy from its pause until the first check after it. That alone is no sign
            // against the requests which the pause has kept.
            Some(Verdict::Wait(Waiting::Unhealthy, why)) if reason.is_none() && self.keeps_for_a_pause(id) => {
                self.take_out(id, why, now, out);
                self.wait(id, Waiting::Unhealthy, now, out);
            }
            Some(Verdict::Wait(waiting, why)) => {
                self.note_end(id, &waiting, out);
                self.withdraw(id, reason.unwrap_or(why), now, out);
                self.wait(id, waiting, now, out);
            }
            Some(Verdict::End(why)) => {
                self.note_end(id, &Waiting::Restarting, out);
                self.end(id, reason.unwrap_or(why), false, now, out);
            }
            Some(Verdict::Stop(why)) => {
                self.stop(id, why, now, out);
                if let Some(new_run) = reason {
                    self.shorten_drain(id, &new_run, now);
                }
            }
        }
    }

    /// Told to stop: out of service until it has ended, or has been healthy for long after.
    pub(super) fn stop(&mut self, id: &ContainerId, reason: LeaveReason, now: Instant, out: &mut Transitions<L>) {
        self.withdraw(id, reason.clone(), now, out);
        let drain = self.rules.drain;
        let Some(entry) = self.entries.get_mut(id) else { return };
        let stopping = Stopping {
            reason,
            recheck_at: now + drain.recheck_after(entry.container.stop_timeout).min(drain.readmit_after),
            readmit_at: now + drain.readmit_after(entry.container.stop_timeout),
        };
        entry.set(State::Stopping(stopping), now);
    }

    /// Its process is gone.
    pub(super) fn end(
        &mut self,
        id: &ContainerId,
        reason: LeaveReason,
        removed: bool,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        self.withdraw(id, reason, now, out);
        let Some(entry) = self.entries.get_mut(id) else { return };
        let ended = match &entry.state {
            // A second sign of the same end (`die` and `stop`, then `destroy`) does not put anything off.
            State::Ended(before) => Ended { removed: removed || before.removed, ..before.clone() },
            _ => Ended { removed, expected_until: Some(now + EXPECTED_BACK_FOR) },
        };
        let forget = ended.removed && ended.expected_until.is_none();
        entry.set(State::Ended(ended), now);
        if forget {
            self.forget(id);
            self.entries.remove(id);
        }
    }

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

    /// Takes whatever a container has in service, or is about to have, out of it.
    pub(super) fn withdraw(&mut self, id: &ContainerId, reason: LeaveReason, now: Instant, out: &mut Transitions<L>) {
        self.shorten_drain(id, &reason, now);
        self.take_out(id, reason, now, out);
    }

    /// As [`Self::withdraw`], but leaves the time of what went before as it is.
    fn take_out(&mut self, id: &ContainerId, reason: LeaveReason, now: Instant, out: &mut Transitions<L>) {
        let generation = Generation(self.next_sequence());
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.generation = generation;
        match &entry.state {
            State::Discovering(_) => out.push(Transition::Abandon(id.clone())),
            State::Ready(ready) => {
                let ready = ready.clone();
                self.leave_service(ready, reason, now, out);
            }
            State::Waiting(_) | State::Stopping(_) | State::Ended(_) => {}
        }
    }
}

impl<L> Entry<L> {
    /// Where the last look says that the container belongs; `None` where it belongs where it stands.
    fn verdict(&self, new_run: bool) -> Option<Verdict> {
        let wait = |waiting, why| Some(Verdict::Wait(waiting, why));
        let container = &self.container;
        let serving = matches!(self.state, State::Ready(_) | State::Discovering(_)) && !new_run;
        match container.condition {
            Condition::NotRunning => return Some(Verdict::End(LeaveReason::Ended(None))),
            Condition::Restarting => return wait(Waiting::Restarting, LeaveReason::Restarting),
            Condition::Stopping => return Some(Verdict::Stop(LeaveReason::Stopping)),
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
            // An engine that was restarted under its containers calls them "starting" again: they still serve, as long
            // as they are reached.
            (Condition::Starting, _) if !serving => wait(Waiting::Starting, LeaveReason::Unusable),
            (_, Reach::Nowhere(why)) => wait(Waiting::NoAddress(why.clone()), LeaveReason::NoNetwork),
            (_, Reach::At(addresses)) => match &self.state {
                // Being asked already, there.
                State::Discovering(discovering) if serving && addresses.contains(discovering.asked.first()) => None,
                _ => Some(Verdict::Serve(addresses.clone())),
            },
        }
    }

    /// Returns what the present run has served, if it has.
    pub(super) fn known_of_this_run(&self) -> Option<&KnownModels> {
        let port = self.container.labels.as_ref().ok()?.port;
        self.known.as_ref().filter(|known| known.run == self.container.started_at && known.address.port() == port)
    }

    /// Returns true if it may be reached where it has not been asked.
    pub(super) fn has_address_not_asked(&self) -> bool {
        match (&self.state, &self.container.reach) {
            (State::Discovering(discovering), Reach::At(addresses)) => {
                addresses.iter().any(|ip| !discovering.asked.contains(ip))
            }
            _ => false,
        }
    }

    /// Moves to another state, and notes when.
    pub(super) fn set(&mut self, state: State<L>, now: Instant) {
        self.state = state;
        self.since = now;
    }
}
