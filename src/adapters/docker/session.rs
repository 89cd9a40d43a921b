//! One connection to the engine, from the first ping until its event stream ends.
//!
//! The order loses nothing: subscribe, list, inspect each, send the snapshot. What takes a container out of service is sent
//! from the event alone and never waits for an answer of the engine; what may bring it back asks for an inspection. Only
//! where nothing was ever sent, events wait for the first snapshot.

mod checks;
mod reports;
mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::container::{ContainerEvent, ContainerId, EngineTime, LifecycleEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::checks::Checks;
use self::snapshot::Pending;
use super::api_types::Version;
use super::cache::{COMPOSE_PROJECT, ContainerCache};
use super::engine::{Engine, EngineError, Ping};
use super::event::{EngineEvent, Network};
use super::inspections::{Found, Inspections, Look, Progress};
use super::networks::{LocalNetworks, OwnAddress};
use super::reader::{self, Notes};
use super::requests::Requests;
use super::settings::{Address, DockerSettings};

/// How long before the engine's present second the stream begins: the engine registers a subscription only after it
/// said that it had.
const SINCE_MARGIN_NANOS: u64 = 2_000_000_000;
/// How long before the last event a resumed stream begins: events are stamped before they are put in order.
const RESUME_MARGIN_NANOS: u64 = 50_000_000;
/// How long the head of the event stream, and the engine's version, are waited for. Podman 5.2 sends the head only with
/// the first event.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(2);
/// How many inspections in a row may fail before the operator is told.
const QUIET_FAILURES: u32 = 3;
/// How old our knowledge of our own interfaces may be when a container is inspected.
const LOCAL_NETWORKS_MAX_AGE: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug)]
pub enum End {
    /// The stream of the source was dropped.
    Unwatched,
    /// The engine was lost.
    Lost(EngineError),
    /// The engine answers again after it did not for a while: its event stream may have ended without a sign.
    Renew,
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> Self {
        Self::Lost(error)
    }
}

/// An open event stream, and what is asked beside it.
pub struct Session<'a> {
    settings: &'a DockerSettings,
    address: &'a Address,
    cache: &'a mut ContainerCache,
    out: &'a mpsc::Sender<ContainerEvent>,
    engine: Engine,
    inspections: Inspections,
    queue: mpsc::Receiver<EngineEvent>,
    reader: JoinSet<EngineError>,
    notes: Arc<Notes>,
    local_networks: LocalNetworks,
    surroundings_at: Instant,
    /// What happened before this shows in the snapshot, except for signals.
    covered_until: EngineTime,
    /// The snapshot that is being taken.
    pending: Option<Pending>,
    /// Events that were over when the stream was opened may still come.
    replaying: bool,
    checks: Checks,
    listed: HashMap<ContainerId, checks::Listed>,
}

impl<'a> Session<'a> {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// The engine was lost.
    pub async fn open(
        engine: Engine,
        settings: &'a DockerSettings,
        address: &'a Address,
        cache: &'a mut ContainerCache,
        out: &'a mpsc::Sender<ContainerEvent>,
    ) -> Result<Self, End> {
        let ping = engine.ping().await?;
        let (sender, queue) = mpsc::channel(settings.events_waiting.max(1));
        let notes = Arc::<Notes>::default();
        let mut reader = JoinSet::new();
        let (events, mut head) = engine.events(begin_of_events(cache.latest, ping.date));
        reader.spawn(reader::drain(events, sender, Arc::clone(&notes)));
        let opened = async {
            let _ =
                tokio::time::timeout(SUBSCRIBE_WAIT, async { head.wait_for(Option::is_some).await.map(drop) }).await;
        };
        let version = tokio::time::timeout(SUBSCRIBE_WAIT.min(settings.request_timeout), engine.version());
        let both = async { tokio::join!(opened, version).1 };
        let version = tokio::select! {
            biased;
            Some(Ok(error)) = reader.join_next() => return Err(End::Lost(error)),
            version = both => version.unwrap_or(Err(EngineError::Timeout(SUBSCRIBE_WAIT))),
        };
        let podman = detect_engine(cache, ping, version)?;
        let now = Instant::now();
        let mut session = Self {
            inspections: Inspections::new(engine.clone(), settings),
            local_networks: LocalNetworks::look(settings.own_addresses.as_deref(), address.is_local()),
            surroundings_at: now,
            covered_until: ping.date.unwrap_or_default(),
            pending: None,
            replaying: true,
            checks: Checks::new(settings, podman, now),
            listed: HashMap::new(),
            settings,
            address,
            cache,
            out,
            engine,
            queue,
            reader,
            notes,
        };
        session.local_networks.own_project = own_project(&session.engine, settings).await;
        session.cache.clock_shows(session.covered_until);
        session.begin_snapshot(podman);
        Ok(session)
    }

    /// Reports what happens until the engine is lost or the stream is dropped.
    pub async fn run(&mut self, requests: &Requests) -> End {
        loop {
            if let Err(end) = self.step(requests).await {
                return end;
            }
        }
    }

    /// Whether a snapshot was sent on this connection.
    pub fn has_snapshot(&self) -> bool {
        self.pending.is_none()
    }

    /// Events come first: what an inspection found is sent only after every event that had arrived by then.
    async fn step(&mut self, requests: &Requests) -> Result<(), End> {
        let reads_events = self.cache.has_snapshot || self.pending.is_none();
        tokio::select! {
            biased;
            () = self.out.closed() => return Err(End::Unwatched),
            happening = self.queue.recv(), if reads_events => match happening {
                Some(happening) => self.happened(happening).await?,
                None => {
                    let ended = self.reader.join_next().await.and_then(Result::ok);
                    return Err(End::Lost(ended.unwrap_or(EngineError::EventsEnded)));
                }
            },
            Some(ended) = self.reader.join_next(), if !reads_events => {
                return Err(End::Lost(ended.unwrap_or(EngineError::EventsEnded)));
            }
            asked = requests.taken() => asked.iter().for_each(|id| self.inspections.want(id, true)),
            progress = self.inspections.next() => match progress {
                Progress::Finished(look) => self.looked(look).await?,
                Progress::Overdue(id) => {
                    let error = EngineError::Timeout(self.settings.inspect_timeout);
                    self.cannot_inspect(&id, &error).await?;
                }
            },
            done = self.checks.next(&self.engine) => self.checked(done).await?,
        }
        self.send_snapshot_if_complete().await?;
        // Seen only after the events that did fit were read, and before the next wait.
        if reads_events && self.queue.is_empty() {
            self.replaying &= self.pending.is_some();
            if self.notes.overflowed() {
                tracing::debug!("too many events at once: every container is inspected");
                self.look_at_all();
            }
            if self.notes.unreadable() {
                self.checks.soon();
            }
        }
        Ok(())
    }

    async fn happened(&mut self, happening: EngineEvent) -> Result<(), End> {
        let EngineEvent { ref id, at, ref opted_in, ref edge, look, ref network } = happening;
        self.cache.clock_moves(at, self.replaying);
        self.tell_guests(&happening).await?;
        let known = self.cache.known.contains_key(id);
        if let (false, Some(name)) = (known, opted_in) {
            let unlisted = || checks::Listed { print: String::new(), name: Arc::clone(name) };
            self.listed.entry(id.clone()).or_insert_with(unlisted);
        }
        if !known && opted_in.is_none() && !self.inspections.has(id) {
            if matches!(network, Network::Changed(_)) {
                // It may be the proxy itself that joined a network or left one.
                self.checks.soon();
            }
            return Ok(());
        }
        if let Some(edge) = edge.clone().filter(|edge| !self.is_over(id, at, edge)) {
            let edge = match (edge, network) {
                (LifecycleEvent::LeftNetwork(_), Network::Changed(name)) => {
                    LifecycleEvent::LeftNetwork(self.cache.lost_with(id, name))
                }
                (edge, _) => edge,
            };
            match edge {
                LifecycleEvent::OutOfMemory => self.inspections.put_off(id),
                _ => self.inspections.outdate(id),
            }
            if edge == LifecycleEvent::Removed {
                self.cache.forget(id);
                self.listed.remove(id);
                self.inspections.forget(id);
                // Nothing is found of it any more that a snapshot could wait for.
                if let Some(pending) = &mut self.pending {
                    pending.settled(id);
                }
            }
            match edge {
                // Nothing that an inspection finds tells of a signal: it is sent when the container is known.
                LifecycleEvent::Signal(signal) if !known => self.cache.signals.note(id, at, signal),
                edge => self.tell_edge(id.clone(), at, edge).await?,
            }
            self.happened_during_snapshot(id, at);
        }
        if look {
            self.inspections.want(id, true);
        }
        Ok(())
    }

    /// Whether an event is about what is over: about an earlier run, sent before, or seen in the snapshot already.
    fn is_over(&mut self, id: &ContainerId, at: EngineTime, edge: &LifecycleEvent) -> bool {
        if at == EngineTime(0) {
            return false;
        }
        let shows_in_snapshot = self.replaying
            && self.pending.is_none()
            && at < self.covered_until
            && !matches!(edge, LifecycleEvent::Signal(_));
        self.cache.is_of_an_older_run(id, at) || shows_in_snapshot || self.cache.was_sent(id, at, edge)
    }

    async fn looked(&mut self, look: Look) -> Result<(), End> {
        let Look { id, result, tell, failures } = look;
        match result {
            Ok(Found::Nothing) => {
                let at = self.cache.now_for(&id);
                self.cache.forget(&id);
                self.listed.remove(&id);
                match &mut self.pending {
                    Some(pending) => pending.settled(&id),
                    None => self.tell_edge(id, at, LifecycleEvent::Removed).await?,
                }
                Ok(())
            }
            Ok(Found::Container(inspect, owner)) => {
                if self.surroundings_at.elapsed() > LOCAL_NETWORKS_MAX_AGE {
                    self.look_around();
                }
                let before = self.cache.known.get(&id).map(|known| known.told.clone());
                let only = self.settings.label_filter.as_ref();
                let known = self.cache.learn(&inspect, owner.as_deref(), &mut self.local_networks, only);
                let told = known.map(|known| known.told.clone());
                let was_hidden = self.cache.uninspected.remove(&id).is_some();
                match (&mut self.pending, told) {
                    (Some(pending), _) => pending.settled(&id),
                    (None, Some(told)) if tell || was_hidden || before.as_ref() != Some(&told) => {
                        self.tell(ContainerEvent::Inspected(told)).await?;
                        self.tell_signals(&id).await?;
                    }
                    (None, _) => {}
                }
                Ok(())
            }
            Err(error) => {
                tracing::debug!(container = %id, %error, "cannot inspect a container; trying again");
                let failures = failures.saturating_add(1);
                self.inspections.retry(&id, tell, failures);
                if error.is_away() {
                    self.checks.doubt();
                    return Ok(());
                }
                match failures < QUIET_FAILURES && !matches!(error, EngineError::Timeout(_)) {
                    true => Ok(()),
                    false => self.cannot_inspect(&id, &error).await,
                }
            }
        }
    }

    /// Reports, once per reason, that a container cannot be inspected. A snapshot that waits for it waits no longer.
    async fn cannot_inspect(&mut self, id: &ContainerId, error: &EngineError) -> Result<(), End> {
        let why: Arc<str> = match error {
            EngineError::Timeout(_) => Arc::from("the engine does not answer GET /containers/<id>/json for it"),
            error => Arc::from(format!("GET /containers/<id>/json: {error}")),
        };
        let before = self.cache.uninspected.insert(id.clone(), Arc::clone(&why));
        match &mut self.pending {
            Some(pending) => pending.failed(id, error.clone()),
            None if before.as_ref() != Some(&why) => {
                let one = self.uninspected(id, why);
                self.tell(ContainerEvent::InspectionFailed(one)).await?;
            }
            None => {}
        }
        Ok(())
    }

    fn look_at_all(&mut self) {
        for id in self.cache.known.keys() {
            self.inspections.want(id, true);
        }
        self.checks.soon();
    }

    /// Looks at our own interfaces; if they changed, any container may be reached differently now.
    fn look_around(&mut self) {
        let own: Option<&[OwnAddress]> = self.settings.own_addresses.as_deref();
        let mut fresh = LocalNetworks::look(own, self.address.is_local());
        fresh.gateways.append(&mut self.local_networks.gateways);
        fresh.own_project = self.local_networks.own_project.take();
        let moved = fresh.own != self.local_networks.own;
        self.local_networks = fresh;
        self.surroundings_at = Instant::now();
        if moved {
            self.cache.known.keys().for_each(|id| self.inspections.want(id, false));
        }
    }
}

/// Takes in what the engine is, and says whether it is Podman.
fn detect_engine(
    cache: &mut ContainerCache,
    ping: Ping,
    version: Result<Version, EngineError>,
) -> Result<bool, EngineError> {
    // A socket proxy may keep the version to itself.
    let version = match version {
        Ok(version) => version,
        Err(error @ EngineError::Connect(..)) => return Err(error),
        Err(_) => Version::default(),
    };
    let podman = ping.podman || version.components.iter().any(|part| part.name.starts_with("Podman"));
    tracing::info!(version = version.version, api = version.api_version, podman, "engine connected");
    cache.default_stop_timeout = super::inspect::default_stop_timeout(&version.version, podman);
    Ok(podman)
}

/// The Compose project of the proxy's own container. What cannot be found out keeps nothing from working.
async fn own_project(engine: &Engine, settings: &DockerSettings) -> Option<String> {
    let own = engine.inspect(settings.own_container.as_deref()?).await.ok()??;
    own.config.labels.get(COMPOSE_PROJECT).cloned()
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
