//! The first snapshot of a connection: list, inspect, and send when every inspection has finished or failed.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use domain::container::{ContainerEvent, ContainerId, EngineTime, LifecycleEvent, Snapshot};

use super::checks::Listed;
use super::{End, Session};
use crate::adapters::docker::api_types::Summary;
use crate::adapters::docker::cache::REPLAY_MAX;
use crate::adapters::docker::engine::EngineError;
use crate::adapters::docker::event::{self, Line};

/// A snapshot under way.
#[derive(Debug, Default)]
pub struct Pending {
    listed: bool,
    /// Past signals have not arrived yet.
    past: bool,
    waiting: HashSet<ContainerId>,
    failed: HashMap<ContainerId, EngineError>,
}

impl Pending {
    /// Records a finished inspection.
    pub fn settled(&mut self, id: &ContainerId) {
        self.waiting.remove(id);
        self.failed.remove(id);
    }

    /// Records a failed inspection.
    pub fn failed(&mut self, id: &ContainerId, error: EngineError) {
        if self.waiting.remove(id) {
            self.failed.insert(id.clone(), error);
        }
    }

    fn is_complete(&self) -> bool {
        self.listed && !self.past && self.waiting.is_empty()
    }

    /// Returns the error if every inspection was forbidden: then a socket proxy blocks them all, and no container is at
    /// fault.
    fn refused_as_a_whole(&self, shown: usize) -> Option<&EngineError> {
        let mut failed = self.failed.values();
        let forbidden = |error: &&EngineError| matches!(error, EngineError::Refused(403, _));
        let all = shown == 0 && failed.clone().all(|error| forbidden(&error));
        failed.next().filter(|_| all)
    }
}

impl Session<'_> {
    /// Begins the snapshot. The list is due, and past signals as well if no snapshot was ever sent.
    pub(super) fn begin_snapshot(&mut self, podman: bool) {
        let mut pending = Pending::default();
        let EngineTime(now) = self.covered_until;
        // Podman's events do not name the signal, but its state shows a stop under way.
        if !self.cache.has_snapshot && !podman && now > 0 {
            let period = u64::try_from(REPLAY_MAX.as_nanos()).unwrap_or(u64::MAX);
            self.checks.fetch_past_signals(&self.engine, EngineTime(now.saturating_sub(period)), self.covered_until);
            pending.past = true;
        }
        self.pending = Some(pending);
    }

    pub(super) fn awaits_list(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !pending.listed)
    }

    /// Inspects listed and known containers: a list that is empty by mistake removes none.
    pub(super) fn inspect_listed(&mut self, list: Vec<Summary>) {
        for summary in &list {
            self.local_networks.learn(&summary.network_settings);
        }
        self.listed = list.iter().map(Listed::of).collect();
        let due: HashSet<_> = self.listed.keys().chain(self.cache.known.keys()).cloned().collect();
        due.iter().for_each(|id| self.inspections.request(id, false));
        self.checks.list_soon();
        if let Some(pending) = &mut self.pending {
            pending.listed = true;
            pending.waiting = due;
        }
    }

    /// Inspects a container once more for the snapshot, which must not be older than an event that was sent.
    pub(super) fn invalidate_snapshot_of(&mut self, id: &ContainerId, at: EngineTime) {
        let is_later = at >= self.covered_until;
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.listed && is_later) else { return };
        if self.cache.known.contains_key(id) && !pending.failed.contains_key(id) && pending.waiting.insert(id.clone()) {
            self.inspections.request(id, false);
        }
    }

    /// Records the past signals.
    pub(super) fn record_past_signals(&mut self, past: Result<Bytes, EngineError>) {
        match past {
            Ok(lines) => {
                for line in lines.split(|byte| *byte == b'\n') {
                    if let Line::Event(event) = event::read(line)
                        && let Some(LifecycleEvent::Signal(signal)) = event.lifecycle
                    {
                        self.cache.signals.note(&event.id, event.at, signal);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "past signals unavailable"),
        }
        if let Some(pending) = &mut self.pending {
            pending.past = false;
        }
    }

    /// Sends the snapshot once it waits for nothing.
    pub(super) async fn send_snapshot_if_complete(&mut self) -> Result<(), End> {
        let Some(pending) = self.pending.take_if(|pending| pending.is_complete()) else { return Ok(()) };
        let known = self.cache.known.values().filter(|known| !pending.failed.contains_key(&known.last_sent.id));
        let mut containers: Vec<_> = known.map(|known| known.last_sent.clone()).collect();
        if let Some(error) = pending.refused_as_a_whole(containers.len()) {
            return Err(End::Lost(error.clone()));
        }
        containers.sort_by(|a, b| a.id.cmp(&b.id));
        self.cache.uninspected.retain(|id, _| pending.failed.contains_key(id));
        let hidden = self.cache.uninspected.iter().map(|(id, why)| self.uninspected(id, why.clone()));
        let mut uninspected: Vec<_> = hidden.collect();
        uninspected.sort_by(|a, b| a.id.cmp(&b.id));
        let ids: Vec<_> = containers.iter().map(|container| container.id.clone()).collect();
        self.send(ContainerEvent::Snapshot(Snapshot { containers, uninspected })).await?;
        self.cache.snapshot_sent();
        for id in ids {
            self.send_signals(&id).await?;
        }
        let inspections = &self.inspections;
        self.cache.signals.keep(|id| inspections.has(id));
        Ok(())
    }
}
