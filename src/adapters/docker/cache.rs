//! What is remembered of the containers that opted in, from one connection to the engine to the next.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::container::{Container, ContainerEvent, ContainerId, EngineTime, LifecycleEvent, LostAddresses};
use domain::signal::Signal;

use super::api_types::Inspect;
use super::inspect::{self, MAX_STOP_TIMEOUT};
use super::inspections::network_owner;
use super::networks::{self, LocalNetworks};
use super::settings::LabelFilter;
use super::time::rfc3339;

/// How far events may be out of order. An engine whose clock seems to go back by more was set back.
pub const CLOCK_TOLERANCE_NANOS: u64 = 2_000_000_000;
/// How far back the engine is asked for signals at the first start. It remembers its last 256 events, of any kind.
pub const REPLAY_MAX: Duration = MAX_STOP_TIMEOUT;
/// How long a signal from before the start can mean that a stop is under way, where the container waits for less or its
/// wait is not known: `docker stop -t` may wait longer than the container says.
const STOP_TAKES_AT_LEAST: Duration = Duration::from_secs(60);
/// How long after its stop timeout a stop may still be under way.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// How many events are remembered as sent: as many as an engine replays.
const SENT_REMEMBERED: usize = 256;
/// How many different reasons for a loss are told before it is over; after that it is clear enough.
const REASONS_MAX: usize = 16;
/// Of how many containers that are not known yet signals are remembered.
const SIGNALLED_MAX: usize = 4096;

/// The label in which Compose names its project.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";

/// One container.
#[derive(Debug)]
pub struct Known {
    /// As it was last told.
    pub told: Container,
    /// The container whose network it uses.
    pub owner: Option<ContainerId>,
    /// The addresses that it uses, its own or another container's, by the name of the network.
    pub addresses: Vec<(String, Vec<IpAddr>)>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct ContainerCache {
    /// By id.
    pub known: HashMap<ContainerId, Known>,
    /// Those that could not be inspected, with the reason.
    pub uninspected: HashMap<ContainerId, Arc<str>>,
    /// Signals to containers that were not known when they came.
    pub signals: Signals,
    /// The latest time that the engine's clock was seen to show.
    pub latest: EngineTime,
    /// A snapshot was sent at some time.
    pub has_snapshot: bool,
    /// How long a stop waits where the container says nothing, if that is known of this engine.
    pub default_stop_timeout: Option<Duration>,
    sent: VecDeque<(ContainerId, EngineTime, LifecycleEvent)>,
    reasons: HashSet<String>,
}

impl ContainerCache {
    /// Takes in what an inspection found. `None` for a container that did not opt in.
    pub fn learn(
        &mut self,
        inspect: &Inspect,
        owner: Option<&Inspect>,
        local_networks: &mut LocalNetworks,
        only: Option<&LabelFilter>,
    ) -> Option<&Known> {
        if !inspect::concern_us(&inspect.config.labels, only) {
            return None;
        }
        local_networks.learn(&inspect.network_settings);
        let mut reach = match network_owner(inspect) {
            None => local_networks.reach(&inspect.host_config.network_mode, &inspect.network_settings),
            Some(id) => match owner {
                None => local_networks.nowhere(vec![format!("the network of container {id}, which is gone")]),
                Some(owner) if started(owner) > started(inspect) => local_networks.nowhere(vec![format!(
                    "an old network of container {}, which was started later: restart this one as well",
                    owner.name.trim_start_matches('/')
                )]),
                Some(owner) => {
                    local_networks.learn(&owner.network_settings);
                    local_networks.reach(&owner.host_config.network_mode, &owner.network_settings)
                }
            },
        };
        local_networks.note_project(&mut reach, inspect.config.labels.get(COMPOSE_PROJECT));
        let told = inspect::container(inspect, reach, self.default_stop_timeout);
        let id = told.id.clone();
        let addresses = networks::addresses(&owner.unwrap_or(inspect).network_settings);
        let known = Known { told, owner: network_owner(inspect).map(ContainerId::new), addresses };
        self.known.insert(id.clone(), known);
        self.known.get(&id)
    }

    /// Returns the addresses that a container had on a network, as it was last told.
    pub fn lost_with(&self, id: &ContainerId, network: &str) -> LostAddresses {
        let addresses = self.known.get(id).map_or(&[][..], |known| &known.addresses);
        let on_it = addresses.iter().filter(|(name, _)| name == network);
        LostAddresses::These(on_it.flat_map(|(_, ips)| ips.iter().copied()).collect())
    }

    /// The container is gone.
    pub fn forget(&mut self, id: &ContainerId) {
        self.known.remove(id);
        self.uninspected.remove(id);
    }

    /// Those that use the network of this container.
    pub fn guests_of(&self, owner: &ContainerId) -> Vec<ContainerId> {
        let guests = self.known.iter().filter(|(_, known)| known.owner.as_ref() == Some(owner));
        guests.map(|(id, _)| id.clone()).collect()
    }

    /// A time for an edge that no event told: after everything that is known of the container.
    pub fn now_for(&self, id: &ContainerId) -> EngineTime {
        let started = self.known.get(id).map(|known| known.told.started_at).unwrap_or_default();
        self.latest.max(started)
    }

    /// The engine says what time it is.
    pub fn clock_shows(&mut self, now: EngineTime) {
        let was_set_back = now.0 > 0 && now.0.saturating_add(CLOCK_TOLERANCE_NANOS) < self.latest.0;
        self.latest = if was_set_back { now } else { self.latest.max(now) };
    }

    /// An event came with this time. A replayed one says nothing of the present.
    pub fn clock_moves(&mut self, at: EngineTime, replayed: bool) {
        match replayed {
            true => self.latest = self.latest.max(at),
            false => self.clock_shows(at),
        }
    }

    /// Whether an event of this time is about an earlier run of a container. Where the engine's clock was set back, so
    /// that the present run began in what is the future now, times do not tell.
    pub fn is_of_an_older_run(&self, id: &ContainerId, at: EngineTime) -> bool {
        let Some(Known { told, .. }) = self.known.get(id) else { return false };
        let comparable = told.started_at.0 <= self.latest.0.saturating_add(CLOCK_TOLERANCE_NANOS);
        comparable && at < told.started_at
    }

    /// Whether this very event was sent before; if not, it counts as sent from now on. A stream that is resumed begins
    /// before its last event.
    pub fn was_sent(&mut self, id: &ContainerId, at: EngineTime, edge: &LifecycleEvent) -> bool {
        if self.sent.iter().any(|(of, when, what)| *when == at && of == id && what == edge) {
            return true;
        }
        if self.sent.len() >= SENT_REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((id.clone(), at, edge.clone()));
        false
    }

    /// The report of a loss, unless this reason was reported since the last snapshot.
    pub fn loss(&mut self, reason: String) -> Option<ContainerEvent> {
        let is_new = self.reasons.len() < REASONS_MAX && self.reasons.insert(reason.clone());
        is_new.then_some(ContainerEvent::Lost(reason))
    }

    /// A snapshot was sent.
    pub fn snapshot_sent(&mut self) {
        self.has_snapshot = true;
        self.reasons.clear();
    }
}

/// Signals to containers that are not known yet: of each container the last of each signal.
#[derive(Debug, Default)]
pub struct Signals(HashMap<ContainerId, Vec<(EngineTime, Signal)>>);

impl Signals {
    /// Remembers one.
    pub fn note(&mut self, id: &ContainerId, at: EngineTime, signal: Signal) {
        if self.0.len() >= SIGNALLED_MAX && !self.0.contains_key(id) {
            return;
        }
        let signals = self.0.entry(id.clone()).or_default();
        signals.retain(|(_, before)| *before != signal);
        signals.push((at, signal));
    }

    /// Takes those that may still mean something to the present run of this container, in order.
    pub fn take(&mut self, container: &Container, now: EngineTime) -> Vec<(EngineTime, Signal)> {
        let mut signals = self.0.remove(&container.id).unwrap_or_default();
        let takes = container.stop_timeout.unwrap_or_default().max(STOP_TAKES_AT_LEAST) + STOP_MARGIN;
        let oldest = now.0.saturating_sub(u64::try_from(takes.as_nanos()).unwrap_or(u64::MAX));
        signals.retain(|(at, _)| *at >= container.started_at && at.0 >= oldest);
        signals.sort_by_key(|(at, _)| *at);
        signals
    }

    /// Forgets the others.
    pub fn keep(&mut self, wanted: impl Fn(&ContainerId) -> bool) {
        self.0.retain(|id, _| wanted(id));
    }
}

fn started(inspect: &Inspect) -> EngineTime {
    rfc3339(&inspect.state.started_at).unwrap_or_default()
}
