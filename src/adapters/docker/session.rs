//! One connection to the engine, from the first ping to the end of its event stream.
//!
//! The order loses nothing: subscribe, list, inspect each, send the snapshot. An event that takes a container out of
//! service is sent at once, without waiting for the engine. An event that may bring one back requests an inspection.
//! Events wait for the snapshot only if there never was one.

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
use super::inspections::{Found, Inspection, Inspections, Progress};
use super::networks::{LocalNetworks, OwnAddress};
use super::reader::{self, Notes};
use super::requests::Requests;
use super::settings::{Address, DockerSettings};

/// How far before the engine's present second the stream begins: the engine registers a subscription only after it has
/// confirmed it.
const SINCE_MARGIN_NANOS: u64 = 2_000_000_000;
/// How far before the last event a resumed stream begins: events get their timestamps before their order.
const RESUME_MARGIN_NANOS: u64 = 50_000_000;
/// The longest wait for the head of the event stream, and for the version. Podman 5.2 sends the head only with the
/// first event.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(2);
/// How many failed inspections in a row are reported.
const QUIET_FAILURES: u32 = 3;
/// How old the list of the proxy's interfaces may be for an inspection.
const LOCAL_NETWORKS_MAX_AGE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub enum End {
    Unwatched,
    Lost(EngineError),
    /// The engine answers again after it did not: its event stream may be dead without a sign.
    Renew,
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> Self {
        Self::Lost(error)
    }
}

/// An open event stream, with the requests beside it.
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
    networks_detected_at: Instant,
    /// The snapshot shows what happened before this time, except for signals.
    covered_until: EngineTime,
    pending: Option<Pending>,
    /// Replayed events may still come.
    replaying: bool,
    checks: Checks,
    listed: HashMap<ContainerId, checks::Listed>,
}

impl<'a> Session<'a> {
    /// Connects and subscribes.
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
            local_networks: LocalNetworks::detect(settings.own_addresses.as_deref(), address.is_local()),
            networks_detected_at: now,
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

    /// Sends events until the engine is lost or the stream is dropped.
    pub async fn run(&mut self, requests: &Requests) -> End {
        loop {
            if let Err(end) = self.step(requests).await {
                return end;
            }
        }
    }

    /// Returns true if this connection has sent a snapshot.
    pub fn has_snapshot(&self) -> bool {
        self.pending.is_none()
    }

    /// Handles the next event, request or result. Events come first, so that the result of an inspection is sent after
    /// every event that had arrived by then.
    async fn step(&mut self, requests: &Requests) -> Result<(), End> {
        let reads_events = self.cache.has_snapshot || self.pending.is_none();
        tokio::select! {
            biased;
            () = self.out.closed() => return Err(End::Unwatched),
            event = self.queue.recv(), if reads_events => match event {
                Some(event) => self.handle_event(event).await?,
                None => {
                    let ended = self.reader.join_next().await.and_then(Result::ok);
                    return Err(End::Lost(ended.unwrap_or(EngineError::EventsEnded)));
                }
            },
            Some(ended) = self.reader.join_next(), if !reads_events => {
                return Err(End::Lost(ended.unwrap_or(EngineError::EventsEnded)));
            }
            ids = requests.take_all() => ids.iter().for_each(|id| self.inspections.request(id, true)),
            progress = self.inspections.next() => match progress {
                Progress::Finished(inspection) => self.inspected(inspection).await?,
                Progress::Overdue(id) => {
                    let error = EngineError::Timeout(self.settings.inspect_timeout);
                    self.inspection_failed(&id, &error).await?;
                }
            },
            outcome = self.checks.next(&self.engine) => self.handle_outcome(outcome).await?,
        }
        self.send_snapshot_if_complete().await?;
        // Checked once the queue is empty: the events that did fit are sent by then.
        if reads_events && self.queue.is_empty() {
            self.replaying &= self.pending.is_some();
            if self.notes.overflowed() {
                tracing::debug!("event queue overflowed, inspecting every container");
                self.inspect_all();
            }
            if self.notes.unreadable() {
                self.checks.list_soon();
            }
        }
        Ok(())
    }

    async fn handle_event(&mut self, event: EngineEvent) -> Result<(), End> {
        let EngineEvent { ref id, at, ref opted_in, ref lifecycle, needs_inspection, ref network } = event;
        self.cache.clock_moves(at, self.replaying);
        self.report_to_guests(&event).await?;
        let known = self.cache.known.contains_key(id);
        if let (false, Some(name)) = (known, opted_in) {
            let unlisted = || checks::Listed { fingerprint: String::new(), name: Arc::clone(name) };
            self.listed.entry(id.clone()).or_insert_with(unlisted);
        }
        if !known && opted_in.is_none() && !self.inspections.has(id) {
            if matches!(network, Network::Changed(_)) {
                // The proxy itself may have joined or left a network.
                self.checks.list_soon();
            }
            return Ok(());
        }
        if let Some(lifecycle) = lifecycle.clone().filter(|lifecycle| !self.is_outdated(id, at, lifecycle)) {
            let lifecycle = match (lifecycle, network) {
                (LifecycleEvent::LeftNetwork(_), Network::Changed(name)) => {
                    LifecycleEvent::LeftNetwork(self.cache.lost_with(id, name))
                }
                (lifecycle, _) => lifecycle,
            };
            match lifecycle {
                LifecycleEvent::OutOfMemory => self.inspections.postpone(id),
                _ => self.inspections.invalidate(id),
            }
            if lifecycle == LifecycleEvent::Removed {
                self.cache.forget(id);
                self.listed.remove(id);
                self.inspections.forget(id);
                // The snapshot waits for no inspection of it.
                if let Some(pending) = &mut self.pending {
                    pending.settled(id);
                }
            }
            match lifecycle {
                // An inspection does not show signals: this one is sent once the container is known.
                LifecycleEvent::Signal(signal) if !known => self.cache.signals.note(id, at, signal),
                lifecycle => self.send_lifecycle(id.clone(), at, lifecycle).await?,
            }
            self.invalidate_snapshot_of(id, at);
        }
        if needs_inspection {
            self.inspections.request(id, true);
        }
        Ok(())
    }

    /// Returns true if an event is outdated: from an earlier run, sent before, or shown in the snapshot.
    fn is_outdated(&mut self, id: &ContainerId, at: EngineTime, lifecycle: &LifecycleEvent) -> bool {
        if at == EngineTime(0) {
            return false;
        }
        let shows_in_snapshot = self.replaying
            && self.pending.is_none()
            && at < self.covered_until
            && !matches!(lifecycle, LifecycleEvent::Signal(_));
        self.cache.is_of_an_older_run(id, at) || shows_in_snapshot || self.cache.was_sent(id, at, lifecycle)
    }

    async fn inspected(&mut self, inspection: Inspection) -> Result<(), End> {
        let Inspection { id, result, report, failures } = inspection;
        match result {
            Ok(Found::Nothing) => {
                let at = self.cache.now_for(&id);
                self.cache.forget(&id);
                self.listed.remove(&id);
                match &mut self.pending {
                    Some(pending) => pending.settled(&id),
                    None => self.send_lifecycle(id, at, LifecycleEvent::Removed).await?,
                }
                Ok(())
            }
            Ok(Found::Container(inspect, owner)) => {
                if self.networks_detected_at.elapsed() > LOCAL_NETWORKS_MAX_AGE {
                    self.refresh_networks();
                }
                let before = self.cache.known.get(&id).map(|known| known.last_sent.clone());
                let only = self.settings.label_filter.as_ref();
                let known = self.cache.learn(&inspect, owner.as_deref(), &mut self.local_networks, only);
                let current = known.map(|known| known.last_sent.clone());
                let had_failed = self.cache.uninspected.remove(&id).is_some();
                match (&mut self.pending, current) {
                    (Some(pending), _) => pending.settled(&id),
                    (None, Some(current)) if report || had_failed || before.as_ref() != Some(&current) => {
                        self.send(ContainerEvent::Inspected(current)).await?;
                        self.send_signals(&id).await?;
                    }
                    (None, _) => {}
                }
                Ok(())
            }
            Err(error) => {
                tracing::debug!(container = %id, %error, "inspection failed, retrying");
                let failures = failures.saturating_add(1);
                self.inspections.retry(&id, report, failures);
                if error.is_connect_failure() {
                    self.checks.request_ping();
                    return Ok(());
                }
                match failures < QUIET_FAILURES && !matches!(error, EngineError::Timeout(_)) {
                    true => Ok(()),
                    false => self.inspection_failed(&id, &error).await,
                }
            }
        }
    }

    /// Sends, once for each reason, that an inspection failed. A snapshot stops waiting for it.
    async fn inspection_failed(&mut self, id: &ContainerId, error: &EngineError) -> Result<(), End> {
        let why: Arc<str> = match error {
            EngineError::Timeout(_) => Arc::from("the engine does not answer GET /containers/<id>/json for it"),
            error => Arc::from(format!("GET /containers/<id>/json: {error}")),
        };
        let before = self.cache.uninspected.insert(id.clone(), Arc::clone(&why));
        match &mut self.pending {
            Some(pending) => pending.failed(id, error.clone()),
            None if before.as_ref() != Some(&why) => {
                let one = self.uninspected(id, why);
                self.send(ContainerEvent::InspectionFailed(one)).await?;
            }
            None => {}
        }
        Ok(())
    }

    fn inspect_all(&mut self) {
        for id in self.cache.known.keys() {
            self.inspections.request(id, true);
        }
        self.checks.list_soon();
    }

    /// Reads the proxy's interfaces again. If they changed, any container's address may change.
    fn refresh_networks(&mut self) {
        let own: Option<&[OwnAddress]> = self.settings.own_addresses.as_deref();
        let mut fresh = LocalNetworks::detect(own, self.address.is_local());
        fresh.gateways.append(&mut self.local_networks.gateways);
        fresh.own_project = self.local_networks.own_project.take();
        let moved = fresh.own != self.local_networks.own;
        self.local_networks = fresh;
        self.networks_detected_at = Instant::now();
        if moved {
            self.cache.known.keys().for_each(|id| self.inspections.request(id, false));
        }
    }
}

/// Records the engine's version, and returns true if it is Podman.
fn detect_engine(
    cache: &mut ContainerCache,
    ping: Ping,
    version: Result<Version, EngineError>,
) -> Result<bool, EngineError> {
    // A socket proxy may refuse the version.
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

/// Returns the Compose project of the proxy's container. A failure has no consequence.
async fn own_project(engine: &Engine, settings: &DockerSettings) -> Option<String> {
    let own = engine.inspect(settings.own_container.as_deref()?).await.ok()??;
    own.config.labels.get(COMPOSE_PROJECT).cloned()
}

/// Returns the start of the event stream: a little before the last event, or before the engine's present second.
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
