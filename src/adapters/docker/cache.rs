//! The known containers that opted in, kept across connections to the engine.

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

/// How far events may be out of order. A larger step back means that the engine's clock was set back.
pub const CLOCK_TOLERANCE_NANOS: u64 = 2_000_000_000;
/// How far back signals are fetched at the first start. The engine remembers 256 events of any kind.
pub const REPLAY_MAX: Duration = MAX_STOP_TIMEOUT;
/// How long a signal from before the start may mean that a stop is under way, if the container's own timeout is shorter
/// or unknown: `docker stop -t` may wait longer.
const STOP_TAKES_AT_LEAST: Duration = Duration::from_secs(60);
/// How long after its timeout a stop may still be under way.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// How many sent events are remembered: as many as an engine replays.
const SENT_REMEMBERED: usize = 256;
/// How many different reasons for one loss are reported.
const REASONS_MAX: usize = 16;
/// How many unknown containers may have signals remembered.
const SIGNALLED_MAX: usize = 4096;

/// The label of the Compose project.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";

#[derive(Debug)]
pub struct CachedContainer {
    /// The container as last sent.
    pub last_sent: Container,
    /// The container whose network this one uses.
    pub owner: Option<ContainerId>,
    /// The addresses on each network, its own or those of the container whose network it uses.
    pub addresses: Vec<(String, Vec<IpAddr>)>,
}

/// The known containers, and what was sent of them.
#[derive(Debug, Default)]
pub struct ContainerCache {
    pub known: HashMap<ContainerId, CachedContainer>,
    /// The containers whose inspection failed, with the reason.
    pub uninspected: HashMap<ContainerId, Arc<str>>,
    /// Signals to containers that were unknown at the time.
    pub signals: Signals,
    /// The latest time seen on the engine's clock.
    pub latest: EngineTime,
    pub has_snapshot: bool,
    /// The engine's default stop timeout, if it is known.
    pub default_stop_timeout: Option<Duration>,
    sent: VecDeque<(ContainerId, EngineTime, LifecycleEvent)>,
    reasons: HashSet<String>,
}

impl ContainerCache {
    /// Records the result of an inspection. Returns `None` for a container that did not opt in.
    pub fn learn(
        &mut self,
        inspect: &Inspect,
        owner: Option<&Inspect>,
        local_networks: &mut LocalNetworks,
        only: Option<&LabelFilter>,
    ) -> Option<&CachedContainer> {
        if !inspect::is_selected(&inspect.config.labels, only) {
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
        let last_sent = inspect::container(inspect, reach, self.default_stop_timeout);
        let id = last_sent.id.clone();
        let addresses = networks::addresses(&owner.unwrap_or(inspect).network_settings);
        let known = CachedContainer { last_sent, owner: network_owner(inspect).map(ContainerId::new), addresses };
        self.known.insert(id.clone(), known);
        self.known.get(&id)
    }

    /// Returns the addresses that a container had on a network when it was last sent.
    pub fn lost_with(&self, id: &ContainerId, network: &str) -> LostAddresses {
        let addresses = self.known.get(id).map_or(&[][..], |known| &known.addresses);
        let on_it = addresses.iter().filter(|(name, _)| name == network);
        LostAddresses::These(on_it.flat_map(|(_, ips)| ips.iter().copied()).collect())
    }

    pub fn forget(&mut self, id: &ContainerId) {
        self.known.remove(id);
        self.uninspected.remove(id);
    }

    /// Returns the containers that use the network of this one.
    pub fn guests_of(&self, owner: &ContainerId) -> Vec<ContainerId> {
        let guests = self.known.iter().filter(|(_, known)| known.owner.as_ref() == Some(owner));
        guests.map(|(id, _)| id.clone()).collect()
    }

    /// Returns a time for a lifecycle event that the engine did not send: not before anything known of the container.
    pub fn now_for(&self, id: &ContainerId) -> EngineTime {
        let started = self.known.get(id).map(|known| known.last_sent.started_at).unwrap_or_default();
        self.latest.max(started)
    }

    /// Sets the clock to the engine's present time.
    pub fn clock_shows(&mut self, now: EngineTime) {
        let was_set_back = now.0 > 0 && now.0.saturating_add(CLOCK_TOLERANCE_NANOS) < self.latest.0;
        self.latest = if was_set_back { now } else { self.latest.max(now) };
    }

    /// Moves the clock to the time of an event. A replayed event does not show the present.
    pub fn clock_moves(&mut self, at: EngineTime, replayed: bool) {
        match replayed {
            true => self.latest = self.latest.max(at),
            false => self.clock_shows(at),
        }
    }

    /// Returns true if an event of this time is about an earlier run of the container. If the engine's clock was set
    /// back, so that the present run began in the future, times are not comparable.
    pub fn is_of_an_older_run(&self, id: &ContainerId, at: EngineTime) -> bool {
        let Some(CachedContainer { last_sent, .. }) = self.known.get(id) else { return false };
        let comparable = last_sent.started_at.0 <= self.latest.0.saturating_add(CLOCK_TOLERANCE_NANOS);
        comparable && at < last_sent.started_at
    }

    /// Returns true if this event was sent before, and remembers it as sent. A resumed stream begins before its last
    /// event.
    pub fn was_sent(&mut self, id: &ContainerId, at: EngineTime, lifecycle: &LifecycleEvent) -> bool {
        if self.sent.iter().any(|(of, when, what)| *when == at && of == id && what == lifecycle) {
            return true;
        }
        if self.sent.len() >= SENT_REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((id.clone(), at, lifecycle.clone()));
        false
    }

    /// Returns the event for a loss, unless the same reason was sent since the last snapshot.
    pub fn loss(&mut self, reason: String) -> Option<ContainerEvent> {
        let is_new = self.reasons.len() < REASONS_MAX && self.reasons.insert(reason.clone());
        is_new.then_some(ContainerEvent::Disconnected(reason))
    }

    pub fn snapshot_sent(&mut self) {
        self.has_snapshot = true;
        self.reasons.clear();
    }
}

/// Signals to unknown containers: the last of each kind.
#[derive(Debug, Default)]
pub struct Signals(HashMap<ContainerId, Vec<(EngineTime, Signal)>>);

impl Signals {
    pub fn note(&mut self, id: &ContainerId, at: EngineTime, signal: Signal) {
        if self.0.len() >= SIGNALLED_MAX && !self.0.contains_key(id) {
            return;
        }
        let signals = self.0.entry(id.clone()).or_default();
        signals.retain(|(_, before)| *before != signal);
        signals.push((at, signal));
    }

    /// Takes the signals that may concern the present run of this container, in order.
    pub fn take(&mut self, container: &Container, now: EngineTime) -> Vec<(EngineTime, Signal)> {
        let mut signals = self.0.remove(&container.id).unwrap_or_default();
        let takes = container.stop_timeout.unwrap_or_default().max(STOP_TAKES_AT_LEAST) + STOP_MARGIN;
        let oldest = now.0.saturating_sub(u64::try_from(takes.as_nanos()).unwrap_or(u64::MAX));
        signals.retain(|(at, _)| *at >= container.started_at && at.0 >= oldest);
        signals.sort_by_key(|(at, _)| *at);
        signals
    }

    /// Forgets the signals of all other containers.
    pub fn keep(&mut self, wanted: impl Fn(&ContainerId) -> bool) {
        self.0.retain(|id, _| wanted(id));
    }
}

fn started(inspect: &Inspect) -> EngineTime {
    rfc3339(&inspect.state.started_at).unwrap_or_default()
}
