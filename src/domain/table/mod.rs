//! The routing table: every container that opted in, every claim to a model, every backend on its way out.
//!
//! A version of it never changes. [`RoutingTable::apply`] takes a version, an event and the time, and gives the next
//! version and what follows; it does nothing by itself.

mod claims;
mod discovery;
mod entry;
mod event;
mod history;
mod inspected;
mod leave;
mod lifecycle;
mod pools;
mod rename;
mod serve;
#[cfg(test)]
mod tests;
mod uninspected;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use claims::{Claim, Resolution};
pub use entry::{Discovering, Draining, Ended, Entry, Ready, SourceId, Stale, State, Stopping, Waiting};
pub use event::{DiscoveryRequest, Generation, TableEvent, Transition, Warning};
pub use history::{History, LastEnd};
pub use pools::members;

use super::backend::{OfferedModel, Registration};
use super::balance::Policy;
use super::container::{ContainerId, Uninspected};
use super::drain::DrainPolicy;
use super::model_name::ModelName;
use super::pool::{Pool, PoolId, Replicas};

/// The most models of one backend; what it lists beyond is left out.
pub const MAX_MODELS_PER_BACKEND: usize = 1024;
/// The most claims in all.
pub const MAX_CLAIMS: usize = 4096;
/// The most containers that are kept in sight.
pub const MAX_CONTAINERS: usize = 4096;

/// How long the models of a container that ended are "not ready" rather than "not known".
const EXPECTED_BACK_FOR: Duration = Duration::from_secs(10);

/// The rules that a table goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRules {
    /// How backends leave.
    pub drain: DrainPolicy,
    /// How often a backend in service is asked for its models anew.
    pub refresh_every: Duration,
    /// Which containers with the same model are replicas.
    pub replicas: Replicas,
    /// How replicas share their requests, where no label says otherwise.
    pub balance: Policy,
}

/// One version of the table.
#[derive(Debug)]
pub struct RoutingTable<L> {
    rules: TableRules,
    entries: BTreeMap<ContainerId, Entry<L>>,
    claims: HashMap<ModelName, Arc<[Claim<L>]>>,
    pools: BTreeMap<PoolId, Arc<Pool>>,
    claim_count: usize,
    served: HashMap<ModelName, Vec<ContainerId>>,
    draining: Vec<Draining<L>>,
    uninspected: BTreeMap<ContainerId, (SourceId, Uninspected)>,
    sequence: u64,
}

impl<L> Clone for RoutingTable<L> {
    fn clone(&self) -> Self {
        Self {
            rules: self.rules,
            entries: self.entries.clone(),
            claims: self.claims.clone(),
            pools: self.pools.clone(),
            claim_count: self.claim_count,
            served: self.served.clone(),
            draining: self.draining.clone(),
            uninspected: self.uninspected.clone(),
            sequence: self.sequence,
        }
    }
}

/// What an event comes to: the transitions, in the order in which they are to be performed.
pub type Transitions<L> = Vec<Transition<L>>;

impl<L> RoutingTable<L> {
    /// A table of nothing.
    pub fn new(rules: TableRules) -> Self {
        Self {
            rules,
            entries: BTreeMap::new(),
            claims: HashMap::new(),
            pools: BTreeMap::new(),
            claim_count: 0,
            served: HashMap::new(),
            draining: Vec::new(),
            uninspected: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// The next version, and what follows from the event.
    #[must_use]
    pub fn apply(mut self, event: TableEvent<L>, now: Instant) -> (Self, Transitions<L>) {
        let mut out = Vec::new();
        match event {
            TableEvent::Source(source, event) => self.source_event(source, event, now, &mut out),
            TableEvent::Discovered { container, generation, address, models, link } => {
                self.discovered(&container, generation, (address, models, link), now, &mut out);
            }
            TableEvent::Resumed { container, generation, link } => {
                self.resumed(&container, generation, link, now, &mut out);
            }
            TableEvent::Refreshed { container, generation, models } => {
                self.refreshed(&container, generation, models, now, &mut out);
            }
            TableEvent::DiscoveryFailed { container, generation, failure, looks_dead } => {
                self.discovery_failed(&container, generation, failure, looks_dead, now, &mut out);
            }
            TableEvent::DrainFinished(registration) => self.drain_finished(registration, now, &mut out),
            TableEvent::Ejected { registration, why } => self.eject_registration(registration, why, now, &mut out),
            TableEvent::Tick => self.tick(now, &mut out),
        }
        (self, out)
    }

    /// The next moment at which a `Tick` would do something.
    pub fn next_wake(&self) -> Option<Instant> {
        let entries = self.entries.values().filter_map(|entry| match &entry.state {
            State::Ready(ready) => Some(ready.refresh_at),
            State::Stopping(stopping) => Some(stopping.recheck_at),
            State::Ended(ended) => ended.expected_until,
            State::Discovering(discovering) => discovering.ask_at,
            State::Waiting(_) => entry.warn_of_health_at(),
        });
        let draining =
            self.draining.iter().flat_map(|draining| [draining.fail_waiting_at, draining.force_close_at]).flatten();
        entries.chain(draining).min()
    }

    /// The rules that it goes by.
    pub fn rules(&self) -> &TableRules {
        &self.rules
    }

    /// Every container that opted in, by id.
    pub fn entries(&self) -> impl Iterator<Item = (&ContainerId, &Entry<L>)> {
        self.entries.iter()
    }

    /// The container with this id, if it opted in.
    pub fn entry(&self, id: &ContainerId) -> Option<&Entry<L>> {
        self.entries.get(id)
    }

    /// The backends on their way out.
    pub fn draining(&self) -> &[Draining<L>] {
        &self.draining
    }

    /// How many backends are in service.
    pub fn active(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry.state, State::Ready(_))).count()
    }

    /// How many containers may come into service without anybody's help: they start, or are asked for their models.
    pub fn starting(&self) -> usize {
        let starts = |state: &State<L>| {
            matches!(state, State::Waiting(Waiting::Starting | Waiting::Restarting) | State::Discovering(_))
        };
        self.entries.values().filter(|entry| starts(&entry.state)).count()
    }

    /// Whether every healthy container was asked for its models at least once.
    pub fn is_settled(&self) -> bool {
        let asked = |state: &State<L>| !matches!(state, State::Discovering(Discovering { failure: None, .. }));
        self.entries.values().all(|entry| asked(&entry.state))
    }

    /// What is served, sorted by name: of each model the description of the backend that serves it.
    pub fn models(&self) -> Vec<(&Claim<L>, &OfferedModel)> {
        let ready = self.entries.values().filter_map(|entry| match &entry.state {
            State::Ready(ready) => Some(ready),
            State::Waiting(_) | State::Discovering(_) | State::Stopping(_) | State::Ended(_) => None,
        });
        let serves = |ready: &Ready<L>, claim: &Claim<L>| claim.backend.registration == ready.backend.registration;
        let mut models: Vec<_> = ready
            .flat_map(|ready| ready.models.iter().map(move |offered| (ready, offered)))
            .filter_map(|(ready, offered)| {
                let claim = self.claims.get(&offered.name)?.first()?;
                serves(ready, claim).then_some((claim, offered))
            })
            .collect();
        models.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
        models
    }

    /// The first `most` names of what is served, sorted, and how many more there are.
    pub fn first_names(&self, most: usize) -> (Vec<ModelName>, usize) {
        let mut names: Vec<_> = self.claims.keys().collect();
        let more = names.len().saturating_sub(most);
        if more > 0 && most > 0 {
            names.select_nth_unstable(most - 1);
        }
        names.truncate(most);
        names.sort_unstable();
        (names.into_iter().cloned().collect(), more)
    }

    /// The models that servers list and for which there is no room.
    pub fn left_out(&self) -> impl Iterator<Item = &ModelName> {
        let is_there = |state: &State<L>| matches!(state, State::Ready(_) | State::Waiting(Waiting::TooMany));
        self.entries.values().filter(move |entry| is_there(&entry.state)).flat_map(|entry| entry.left_out.iter())
    }

    /// The registration with this number, if it is in service.
    pub fn registered(&self, registration: Registration) -> Option<&Ready<L>> {
        self.entries.values().find_map(|entry| match &entry.state {
            State::Ready(ready) if ready.backend.registration == registration => Some(ready),
            _ => None,
        })
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}
