//! The snapshot that a connection begins with: listed, inspected, and sent when each inspection is in or given up.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use domain::container::{ContainerEvent, ContainerId, EngineTime, LifecycleEvent, Snapshot};

use super::checks::Listed;
use super::{End, Session};
use crate::adapters::docker::api_types::Summary;
use crate::adapters::docker::cache::REPLAY_MAX;
use crate::adapters::docker::engine::EngineError;
use crate::adapters::docker::event::{self, Line};

/// A snapshot that is being taken.
#[derive(Debug, Default)]
pub struct Pending {
    listed: bool,
    /// The signals that the engine remembers are still to come.
    past: bool,
    waiting: HashSet<ContainerId>,
    failed: HashMap<ContainerId, EngineError>,
}

impl Pending {
    /// An inspection is in.
    pub fn settled(&mut self, id: &ContainerId) {
        self.waiting.remove(id);
        self.failed.remove(id);
    }

    /// An inspection is not waited for any more.
    pub fn failed(&mut self, id: &ContainerId, error: EngineError) {
        if self.waiting.remove(id) {
            self.failed.insert(id.clone(), error);
        }
    }

    fn is_complete(&self) -> bool {
        self.listed && !self.past && self.waiting.is_empty()
    }

    /// A refusal that is about all containers is none about one: something in between keeps inspections back.
    fn refused_as_a_whole(&self, shown: usize) -> Option<&EngineError> {
        let mut failed = self.failed.values();
        let forbidden = |error: &&EngineError| matches!(error, EngineError::Refused(403, _));
        let all = shown == 0 && failed.clone().all(|error| forbidden(&error));
        failed.next().filter(|_| all)
    }
}

impl Session<'_> {
    /// Begins to take the snapshot: the list is due, and, where nothing was sent before, the signals of before.
    pub(super) fn begin_snapshot(&mut self, podman: bool) {
        let mut pending = Pending::default();
        let EngineTime(now) = self.covered_until;
        // Podman's signals have no number; its state tells of a stop that is under way.
        if !self.cache.has_snapshot && !podman && now > 0 {
            let back = u64::try_from(REPLAY_MAX.as_nanos()).unwrap_or(u64::MAX);
            self.checks.ask_past(&self.engine, EngineTime(now.saturating_sub(back)), self.covered_until);
            pending.past = true;
        }
        self.pending = Some(pending);
    }

    /// Whether a snapshot waits for the list.
    pub(super) fn awaits_list(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !pending.listed)
    }

    /// Inspects what is listed and what is known: a list that is empty by mistake empties nothing.
    pub(super) fn inspect_listed(&mut self, list: Vec<Summary>) {
        for summary in &list {
            self.local_networks.learn(&summary.network_settings);
        }
        self.listed = list.iter().map(Listed::of).collect();
        let due: HashSet<_> = self.listed.keys().chain(self.cache.known.keys()).cloned().collect();
        due.iter().for_each(|id| self.inspections.want(id, false));
        self.checks.soon();
        if let Some(pending) = &mut self.pending {
            pending.listed = true;
            pending.waiting = due;
        }
    }

    /// What is found of a container must not be older than what was sent of it: it is inspected once more.
    pub(super) fn happened_during_snapshot(&mut self, id: &ContainerId, at: EngineTime) {
        let is_later = at >= self.covered_until;
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.listed && is_later) else { return };
        if self.cache.known.contains_key(id) && !pending.failed.contains_key(id) && pending.waiting.insert(id.clone()) {
            self.inspections.want(id, false);
        }
    }

    /// Takes in the signals that the engine remembers.
    pub(super) fn learn_past(&mut self, past: Result<Bytes, EngineError>) {
        match past {
            Ok(lines) => {
                for line in lines.split(|byte| *byte == b'\n') {
                    if let Line::Happened(happening) = event::read(line)
                        && let Some(LifecycleEvent::Signal(signal)) = happening.edge
                    {
                        self.cache.signals.note(&happening.id, happening.at, signal);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "no signals of before the start"),
        }
        if let Some(pending) = &mut self.pending {
            pending.past = false;
        }
    }

    /// Sends the snapshot as soon as nothing is waited for.
    pub(super) async fn send_snapshot_if_complete(&mut self) -> Result<(), End> {
        let Some(pending) = self.pending.take_if(|pending| pending.is_complete()) else { return Ok(()) };
        let known = self.cache.known.values().filter(|known| !pending.failed.contains_key(&known.told.id));
        let mut containers: Vec<_> = known.map(|known| known.told.clone()).collect();
        if let Some(error) = pending.refused_as_a_whole(containers.len()) {
            return Err(End::Lost(error.clone()));
        }
        containers.sort_by(|a, b| a.id.cmp(&b.id));
        self.cache.uninspected.retain(|id, _| pending.failed.contains_key(id));
        let hidden = self.cache.uninspected.iter().map(|(id, why)| self.uninspected(id, why.clone()));
        let mut uninspected: Vec<_> = hidden.collect();
        uninspected.sort_by(|a, b| a.id.cmp(&b.id));
        let ids: Vec<_> = containers.iter().map(|container| container.id.clone()).collect();
        self.tell(ContainerEvent::Snapshot(Snapshot { containers, uninspected })).await?;
        self.cache.snapshot_sent();
        for id in ids {
            self.tell_signals(&id).await?;
        }
        let inspections = &self.inspections;
        self.cache.signals.keep(|id| inspections.has(id));
        Ok(())
    }
}
