//! One connection to the engine, from the first ping until it is lost.
//!
//! The order loses nothing: subscribe, list, inspect each, tell the snapshot; only then are the events read that queued up
//! meanwhile. What takes a container out of service is told from the event alone; what may bring it back asks for a look.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::engine::{Engine, EngineError, Ping};
use super::event::Happening;
use super::inspections::{Found, Inspections, Look};
use super::known::Memory;
use super::look::fingerprint;
use super::networks::{OwnAddress, Surroundings};
use super::reader::{self, Notes};
use super::requests::Requests;
use super::settings::DockerSettings;
use super::wire::Summary;
use crate::domain::container::{ContainerEvent, ContainerId, Edge, EngineTime, LostAddresses};

/// How long before the engine's present second the stream begins: the engine registers a subscription only after it
/// said that it had.
const SINCE_MARGIN_NANOS: u64 = 2_000_000_000;
/// How long before the last event a resumed stream begins: events are stamped before they are put in order.
const RESUME_MARGIN_NANOS: u64 = 50_000_000;
/// How long the head of the event stream is waited for. Podman 5.2 sends it only with the first event.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(2);
/// How often one container is asked for in vain before a snapshot is told without a fresh look at it.
const SNAPSHOT_TRIES: u32 = 3;
/// How many containers are looked at afresh with each check, in turn, although nothing seems to have changed.
const LOOKS_PER_CHECK: usize = 16;
/// How old our knowledge of our own interfaces may be when a container is looked at.
const SURROUNDINGS_MAX_AGE: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug)]
pub enum End {
    /// Nobody listens any more.
    Unwatched,
    /// The engine was lost.
    Lost(EngineError),
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> Self {
        Self::Lost(error)
    }
}

/// A connection that has told its snapshot.
pub struct Session<'a> {
    settings: &'a DockerSettings,
    engine_is_local: bool,
    memory: &'a mut Memory,
    out: &'a mpsc::Sender<ContainerEvent>,
    engine: Engine,
    inspections: Inspections,
    queue: mpsc::Receiver<Happening>,
    reader: JoinSet<EngineError>,
    notes: Arc<Notes>,
    surroundings: Surroundings,
    surroundings_at: Instant,
    /// What happened before this shows in the snapshot, except for signals.
    covered_until: EngineTime,
    check_every: Duration,
    checked_at: Instant,
    next_check: Instant,
    checks: JoinSet<Result<Vec<Summary>, EngineError>>,
    prints: HashMap<ContainerId, String>,
    full_check_at: Instant,
    turn: Option<ContainerId>,
}

impl<'a> Session<'a> {
    /// Connects, subscribes and tells the snapshot.
    ///
    /// # Errors
    /// The engine was lost before there was a snapshot to tell; then none was told.
    pub async fn open(
        engine: Engine,
        settings: &'a DockerSettings,
        engine_is_local: bool,
        memory: &'a mut Memory,
        out: &'a mpsc::Sender<ContainerEvent>,
    ) -> Result<Self, End> {
        let ping = engine.ping().await?;
        let podman = greet(&engine, ping).await?;
        let (sender, queue) = mpsc::channel(settings.events_waiting.max(1));
        let notes = Arc::<Notes>::default();
        let mut reader = JoinSet::new();
        let (events, mut head) = engine.events(begin_of_events(memory.latest, ping.date));
        reader.spawn(reader::drain(events, sender, Arc::clone(&notes)));
        let opened = tokio::time::timeout(SUBSCRIBE_WAIT, head.wait_for(Option::is_some));
        tokio::select! {
            biased;
            Some(Ok(error)) = reader.join_next() => return Err(End::Lost(error)),
            _ = opened => {}
        }
        let now = Instant::now();
        let retry = (settings.retry_first, settings.retry_max);
        let mut session = Self {
            inspections: Inspections::new(engine.clone(), settings.inspects_at_once, retry),
            surroundings: Surroundings::look(settings.own_addresses.as_deref(), engine_is_local),
            check_every: if podman {
                settings.podman_check_every.min(settings.check_every)
            } else {
                settings.check_every
            },
            covered_until: ping.date.unwrap_or_default(),
            surroundings_at: now,
            checked_at: now,
            next_check: now + settings.settle.min(settings.check_every),
            full_check_at: now,
            checks: JoinSet::new(),
            prints: HashMap::new(),
            turn: None,
            settings,
            engine_is_local,
            memory,
            out,
            engine,
            queue,
            reader,
            notes,
        };
        session.memory.latest = session.memory.latest.max(session.covered_until);
        session.snapshot().await?;
        Ok(session)
    }

    /// Lists, looks at each, and tells what there is.
    async fn snapshot(&mut self) -> Result<(), End> {
        let list = self.engine.list().await?;
        for summary in &list {
            self.surroundings.learn(&summary.network_settings);
        }
        self.prints = list.iter().map(|s| (ContainerId::new(s.id.as_str()), fingerprint(s))).collect();
        // What was known and is not listed is asked for as well: a list that is empty by mistake empties nothing.
        let due: HashSet<ContainerId> = self.prints.keys().chain(self.memory.known.keys()).cloned().collect();
        due.iter().for_each(|id| self.inspections.want(id, false));
        let (mut containers, mut failed) = (Vec::with_capacity(due.len()), Vec::new());
        let mut open = due.len();
        while open > 0 {
            let (Look { id, result, .. }, failures) = self.inspections.next().await;
            match result {
                Ok(Found::Nothing) => _ = self.memory.known.remove(&id),
                Ok(Found::Container(inspect, owner)) => {
                    let known = self.memory.learn(&inspect, owner.as_deref(), &mut self.surroundings);
                    containers.extend(known.map(|known| known.told.clone()));
                }
                Err(error) if error.is_away() => return Err(End::Lost(error)),
                Err(EngineError::Rubbish(_) | EngineError::Refused(..) | EngineError::Broken(_))
                    if failures + 1 < SNAPSHOT_TRIES =>
                {
                    self.inspections.retry(&id, false, failures + 1);
                    continue;
                }
                Err(error) => failed.push((id, error)),
            }
            open -= 1;
        }
        if let Some((_, error)) = failed.first().filter(|_| failed.len() == due.len()) {
            return Err(End::Lost(error.clone()));
        }
        for (id, error) in failed {
            tracing::debug!(container = %id, %error, "no fresh look for the snapshot");
            containers.extend(self.memory.known.get(&id).map(|known| known.told.clone()));
            self.inspections.retry(&id, true, SNAPSHOT_TRIES);
        }
        containers.sort_by(|a, b| a.id.cmp(&b.id));
        self.tell(ContainerEvent::Snapshot(containers)).await
    }

    /// Tells what happens until the engine is lost or nobody listens.
    pub async fn run(&mut self, requests: &Requests) -> End {
        loop {
            if let Err(end) = self.step(requests).await {
                return end;
            }
        }
    }

    /// Events come first: what a look found is told only after every event that had arrived by then.
    async fn step(&mut self, requests: &Requests) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.out.closed() => return Err(End::Unwatched),
            happening = self.queue.recv() => match happening {
                Some(happening) => self.happened(happening).await?,
                None => {
                    let ended = self.reader.join_next().await.and_then(Result::ok);
                    return Err(End::Lost(ended.unwrap_or(EngineError::EventsEnded)));
                }
            },
            asked = requests.taken() => asked.iter().for_each(|id| self.inspections.want(id, true)),
            (look, failures) = self.inspections.next() => self.looked(look, failures).await?,
            Some(list) = self.checks.join_next() => {
                if let Ok(list) = list {
                    self.compare(list?);
                }
            }
            () = tokio::time::sleep_until(self.next_check), if self.checks.is_empty() => {
                let engine = self.engine.clone();
                self.checked_at = Instant::now();
                self.next_check = self.checked_at + self.check_every;
                self.checks.spawn(async move { engine.list().await });
            }
        }
        // Seen only after the events that did fit were read, and before the next wait.
        if self.queue.is_empty() {
            if self.notes.overflowed() {
                tracing::debug!("too many events at once: every container is looked at afresh");
                self.look_at_all();
            }
            if self.notes.unreadable() {
                self.check_soon();
            }
        }
        Ok(())
    }

    async fn happened(&mut self, happening: Happening) -> Result<(), End> {
        let Happening { id, at, opted_in, edge, network, look, run_changed } = happening;
        self.memory.latest = self.memory.latest.max(at);
        if run_changed {
            for guest in self.memory.guests_of(&id) {
                self.tell_edge(guest.clone(), at, Edge::LeftNetwork(LostAddresses::All)).await?;
                self.inspections.want(&guest, true);
            }
        }
        let known = self.memory.known.get(&id);
        if known.is_none() && !opted_in && !self.inspections.has(&id) {
            if look && !run_changed {
                // It may be the proxy itself that joined a network or left one.
                self.check_soon();
            }
            return Ok(());
        }
        let started = known.map(|known| known.told.started_at).unwrap_or_default();
        let of_an_older_run = at < started && at != EngineTime(0);
        let shows_in_snapshot = at < self.covered_until && !matches!(edge, Some(Edge::Signal(_)));
        if let Some(edge) = edge.filter(|_| !of_an_older_run && !shows_in_snapshot) {
            let edge = match (edge, network) {
                (Edge::LeftNetwork(_), Some(network)) => Edge::LeftNetwork(self.memory.lost_with(&id, &network)),
                (edge, _) => edge,
            };
            self.inspections.outdate(&id);
            if edge == Edge::Removed {
                self.memory.known.remove(&id);
                self.prints.remove(&id);
                self.inspections.forget(&id);
            }
            self.tell_edge(id.clone(), at, edge).await?;
        }
        if look {
            self.inspections.want(&id, true);
        }
        Ok(())
    }

    async fn looked(&mut self, look: Look, failures: u32) -> Result<(), End> {
        let Look { id, result, tell } = look;
        match result {
            Ok(Found::Nothing) => {
                let at = self.memory.now_for(&id);
                self.memory.known.remove(&id);
                self.prints.remove(&id);
                self.tell_edge(id, at, Edge::Removed).await
            }
            Ok(Found::Container(inspect, owner)) => {
                if self.surroundings_at.elapsed() > SURROUNDINGS_MAX_AGE {
                    self.look_around();
                }
                let before = self.memory.known.get(&id).map(|known| known.told.clone());
                match self.memory.learn(&inspect, owner.as_deref(), &mut self.surroundings) {
                    Some(known) if tell || before.as_ref() != Some(&known.told) => {
                        let told = known.told.clone();
                        self.tell(ContainerEvent::Observed(told)).await
                    }
                    _ => Ok(()),
                }
            }
            Err(error) if error.is_away() => Err(End::Lost(error)),
            Err(error) => {
                tracing::debug!(container = %id, %error, "cannot look at a container; trying again");
                self.inspections.retry(&id, tell, failures.saturating_add(1));
                Ok(())
            }
        }
    }

    /// Compares a list with what is known, and looks at what differs.
    fn compare(&mut self, list: Vec<Summary>) {
        self.look_around();
        let prints: HashMap<_, _> = list.iter().map(|s| (ContainerId::new(s.id.as_str()), fingerprint(s))).collect();
        for summary in &list {
            self.surroundings.learn(&summary.network_settings);
        }
        for (id, print) in &prints {
            if self.prints.get(id) != Some(print) || !self.memory.known.contains_key(id) {
                self.inspections.want(id, false);
            }
        }
        for id in self.memory.known.keys().filter(|id| !prints.contains_key(*id)) {
            self.inspections.want(id, false);
        }
        self.prints = prints;
        if self.full_check_at.elapsed() >= self.settings.check_every {
            self.full_check_at = Instant::now();
            self.look_at_some();
        }
    }

    /// Looks at the next few containers in turn, so that a change that no event and no list showed is found too.
    fn look_at_some(&mut self) {
        let mut ids: Vec<_> = self.memory.known.keys().cloned().collect();
        ids.sort();
        let start = self.turn.as_ref().map_or(0, |turn| ids.partition_point(|id| id <= turn));
        let count = ids.len().min(LOOKS_PER_CHECK);
        for id in ids.iter().cycle().skip(start).take(count) {
            self.inspections.want(id, false);
            self.turn = Some(id.clone());
        }
    }

    fn look_at_all(&mut self) {
        for id in self.memory.known.keys() {
            self.inspections.want(id, true);
        }
        self.check_soon();
    }

    /// Has the next check come early, but not more often than every `settle`.
    fn check_soon(&mut self) {
        self.next_check = self.next_check.min(self.checked_at + self.settings.settle);
    }

    /// Looks at our own interfaces; if they changed, any container may be reached differently now.
    fn look_around(&mut self) {
        let own: Option<&[OwnAddress]> = self.settings.own_addresses.as_deref();
        let mut fresh = Surroundings::look(own, self.engine_is_local);
        fresh.gateways.append(&mut self.surroundings.gateways);
        let moved = fresh.own != self.surroundings.own;
        self.surroundings = fresh;
        self.surroundings_at = Instant::now();
        if moved {
            self.memory.known.keys().for_each(|id| self.inspections.want(id, false));
        }
    }

    async fn tell_edge(&self, id: ContainerId, at: EngineTime, edge: Edge) -> Result<(), End> {
        self.tell(ContainerEvent::Edge { id, at, edge }).await
    }

    async fn tell(&self, event: ContainerEvent) -> Result<(), End> {
        self.out.send(event).await.map_err(|_| End::Unwatched)
    }
}

/// Asks the engine what it is, and whether it is Podman.
async fn greet(engine: &Engine, ping: Ping) -> Result<bool, EngineError> {
    // A socket proxy may keep the version to itself.
    let version = match engine.version().await {
        Ok(version) => version,
        Err(error @ (EngineError::Connect(..) | EngineError::Timeout(_))) => return Err(error),
        Err(_) => Default::default(),
    };
    let podman = ping.podman || version.components.iter().any(|part| part.name.starts_with("Podman"));
    tracing::info!(version = version.version, api = version.api_version, podman, "engine connected");
    Ok(podman)
}

/// Where the event stream begins: a little before the last event that was seen, or before the engine's present second.
fn begin_of_events(latest: EngineTime, date: Option<EngineTime>) -> Option<EngineTime> {
    match latest {
        EngineTime(0) => date.map(|EngineTime(date)| EngineTime(date.saturating_sub(SINCE_MARGIN_NANOS))),
        EngineTime(latest) => {
            let resumed = latest.saturating_sub(RESUME_MARGIN_NANOS);
            let date = date.map_or(u64::MAX, |EngineTime(date)| date.saturating_sub(SINCE_MARGIN_NANOS));
            Some(EngineTime(resumed.min(date)))
        }
    }
}
