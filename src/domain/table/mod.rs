//! The routing table: the containers that opted in, the claims to models, the backends that drain.
//!
//! A version of it never changes. [`RoutingTable::apply`] takes a version, an event and the time, and returns the next
//! version and the transitions that follow; it has no side effect.

mod claims;
mod discovery;
mod entry;
mod event;
mod history;
mod ids;
mod inspected;
mod leave;
mod lifecycle;
mod pools;
mod run_end;
mod serve;
mod succession;
#[cfg(test)]
mod tests;
mod tick;
mod uninspected;
mod warn;
mod warning;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use claims::{Claim, Resolution};
pub use entry::{Discovering, Draining, Ended, Entry, Ready, Stale, State, Stopping, Waiting};
pub use event::{DiscoveryRequest, TableEvent, Transition};
pub use history::{History, LastEnd};
pub use ids::{Generation, SourceId};
pub use pools::members;
pub use warning::Warning;

use super::backend::{OfferedModel, Registration};
use super::balance::Policy;
use super::container::{ContainerId, Uninspected};
use super::drain::DrainPolicy;
use super::model_name::ModelName;
use super::pool::{Pool, PoolId, Replicas};

/// The most models of one backend; further ones are left out.
pub const MAX_MODELS_PER_BACKEND: usize = 1024;
/// The most claims in the table.
pub const MAX_CLAIMS: usize = 4096;
/// The most containers in the table.
pub const MAX_CONTAINERS: usize = 4096;

/// How long the models of a container that ended are "not ready" rather than "not known".
const EXPECTED_BACK_FOR: Duration = Duration::from_secs(10);

/// The rules of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRules {
    /// How backends drain.
    pub drain: DrainPolicy,
    /// How often the models of a backend in service are refreshed.
    pub refresh_every: Duration,
    /// Which containers with the same model are replicas.
    pub replicas: Replicas,
    /// How replicas share their requests, unless a label says otherwise.
    pub balance: Policy,
}

/// One version of the table. `L` is the application's link to a backend.
#[derive(Debug, Clone)]
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

/// The transitions that follow from an event, in the order in which they are to be performed.
pub type Transitions<L> = Vec<Transition<L>>;

impl<L> RoutingTable<L> {
    /// Returns an empty table.
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

    /// Returns the rules.
    pub fn rules(&self) -> &TableRules {
        &self.rules
    }

    /// Returns the containers that opted in, by id.
    pub fn entries(&self) -> impl Iterator<Item = (&ContainerId, &Entry<L>)> {
        self.entries.iter()
    }

    /// Returns the container with this id, if it opted in.
    pub fn entry(&self, id: &ContainerId) -> Option<&Entry<L>> {
        self.entries.get(id)
    }

    /// Returns the backends that drain.
    pub fn draining(&self) -> &[Draining<L>] {
        &self.draining
    }

    /// Returns the number of backends in service.
    pub fn active(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry.state, State::Ready(_))).count()
    }

    /// Returns the number of containers that start, or whose models are being discovered.
    pub fn starting(&self) -> usize {
        let starts = |state: &State<L>| {
            matches!(state, State::Waiting(Waiting::Starting | Waiting::Restarting) | State::Discovering(_))
        };
        self.entries.values().filter(|entry| starts(&entry.state)).count()
    }

    /// Returns true if the models of every healthy container were listed, or failed to be listed, at least once.
    pub fn is_settled(&self) -> bool {
        let is_pending = |state: &State<L>| matches!(state, State::Discovering(Discovering { failure: None, .. }));
        !self.entries.values().any(|entry| is_pending(&entry.state))
    }

    /// Returns the models that are served, sorted by name, each as the backend that serves it describes it.
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

    /// Returns the first `most` names of the models that are served, sorted, and the number of further ones.
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

    /// Returns the models that servers list and that found no room.
    pub fn left_out(&self) -> impl Iterator<Item = &ModelName> {
        let is_there = |state: &State<L>| matches!(state, State::Ready(_) | State::Waiting(Waiting::TooMany));
        self.entries.values().filter(move |entry| is_there(&entry.state)).flat_map(|entry| entry.left_out.iter())
    }

    /// Returns the backend with this registration, if it is in service.
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

impl<L: Clone> RoutingTable<L> {
    /// Returns the next version, and the transitions that follow from the event.
    ///
    /// A healthy container is discovered; once its models are listed, they resolve to it:
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use lw_inference_proxy_domain::container::{Condition, Container, ContainerEvent, ContainerId};
    /// # use lw_inference_proxy_domain::container::{EngineTime, Reach};
    /// # use lw_inference_proxy_domain::drain::DrainPolicy;
    /// # use lw_inference_proxy_domain::labels::InferenceLabels;
    /// # use lw_inference_proxy_domain::signal::Signal;
    /// # use lw_inference_proxy_domain::table::{
    /// #     Resolution, RoutingTable, SourceId, TableEvent, TableRules, Transition,
    /// # };
    /// # use std::net::IpAddr;
    /// # let (timeout, readmit_after) = (Duration::from_secs(60), Duration::from_secs(300));
    /// # let rules = TableRules {
    /// #     drain: DrainPolicy { timeout, readmit_after },
    /// #     refresh_every: Duration::from_secs(30),
    /// #     replicas: Default::default(),
    /// #     balance: Default::default(),
    /// # };
    /// # let container = Container {
    /// #     id: ContainerId::new("c0ffee"),
    /// #     name: "llm".into(),
    /// #     started_at: EngineTime(1),
    /// #     condition: Condition::Healthy,
    /// #     labels: Ok(InferenceLabels::default()),
    /// #     reach: Reach::At(IpAddr::from([172, 20, 0, 3]).into()),
    /// #     stop_signal: Signal::TERM,
    /// #     stop_timeout: None,
    /// #     health_output: None,
    /// #     health_check_took: None,
    /// #     restarts: 0,
    /// #     last_end: None,
    /// #     origin: None,
    /// #     service: None,
    /// # };
    /// # let now = Instant::now();
    /// let inspected = |container| TableEvent::Source(SourceId(0), ContainerEvent::Inspected(container));
    /// let table = RoutingTable::new(rules);
    ///
    /// // The health check has not passed yet: nothing to do.
    /// let starting = Container { condition: Condition::Starting, ..container.clone() };
    /// let (table, transitions) = table.apply(inspected(starting), now);
    /// assert!(transitions.is_empty());
    ///
    /// // It turns healthy: its models are to be discovered.
    /// let healthy = Container { condition: Condition::Healthy, ..container };
    /// let (table, transitions) = table.apply(inspected(healthy), now);
    /// let [Transition::Discover(request)] = &transitions[..] else { panic!("{transitions:?}") };
    ///
    /// // It lists a model: the model resolves to it.
    /// let discovered = TableEvent::Discovered {
    ///     container: request.container.clone(),
    ///     generation: request.generation,
    ///     address: request.address,
    ///     models: vec![("llama-3".to_owned(), r#"{"id": "llama-3"}"#.into())],
    ///     link: (),
    /// };
    /// let (table, _) = table.apply(discovered, now);
    /// let Resolution::Claimed(claims) = table.resolve("llama-3") else { panic!("not claimed") };
    /// assert_eq!(claims[0].backend.address, ([172, 20, 0, 3], 8000).into());
    /// ```
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
            TableEvent::DiscoveryFailed { container, generation, failure, unreachable } => {
                self.discovery_failed(&container, generation, failure, unreachable, now, &mut out);
            }
            TableEvent::DrainFinished(registration) => self.drain_finished(registration, now, &mut out),
            TableEvent::Ejected { registration, why } => self.eject_registration(registration, why, now, &mut out),
            TableEvent::Tick => self.tick(now, &mut out),
        }
        (self, out)
    }
}
