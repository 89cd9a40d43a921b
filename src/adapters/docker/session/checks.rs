//! Requests to the engine beside its events: a periodic list, and pings.
//!
//! A failed check does not mean a lost engine: while the event stream lives, events count.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::container::{ContainerId, EngineTime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{End, Session};
use crate::adapters::docker::api_types::Summary;
use crate::adapters::docker::backoff;
use crate::adapters::docker::engine::{Engine, EngineError, Ping};
use crate::adapters::docker::inspect::fingerprint;
use crate::adapters::docker::settings::DockerSettings;

/// How many containers each check inspects in turn, although nothing seems to have changed.
const INSPECTIONS_PER_CHECK: usize = 16;

/// An entry of the container list.
#[derive(Debug)]
pub struct Listed {
    /// Differs if the container may have changed.
    pub fingerprint: String,
    pub name: Arc<str>,
}

impl Listed {
    pub fn of(summary: &Summary) -> (ContainerId, Self) {
        let id = ContainerId::new(summary.id.as_str());
        let name = summary.names.first().map_or(id.short(), |name| name.trim_start_matches('/'));
        let listed = Self { fingerprint: fingerprint(summary), name: Arc::from(name) };
        (id, listed)
    }
}

/// The result of a request.
pub enum Outcome {
    List(Result<Vec<Summary>, EngineError>),
    Ping(Result<Ping, EngineError>),
    /// The past signals that the engine remembers.
    Past(Result<Bytes, EngineError>),
}

/// The requests that are due or under way.
pub struct Checks {
    request_timeout: Duration,
    settle: Duration,
    every: Duration,
    full_every: Duration,
    retry: (Duration, Duration),
    lists: JoinSet<Result<Vec<Summary>, EngineError>>,
    pings: JoinSet<Result<Ping, EngineError>>,
    pasts: JoinSet<Result<Bytes, EngineError>>,
    list_began: Instant,
    list_is_late: bool,
    next_list: Instant,
    next_ping: Option<Instant>,
    failures: u32,
    /// The engine did not answer a ping.
    silent: bool,
    warned: bool,
    full_at: Instant,
    last_inspected: Option<ContainerId>,
}

impl Checks {
    /// Starts with a list that is due at once.
    pub fn new(settings: &DockerSettings, podman: bool, now: Instant) -> Self {
        Self {
            request_timeout: settings.request_timeout,
            settle: settings.settle,
            every: if podman { settings.podman_check_every.min(settings.check_every) } else { settings.check_every },
            full_every: settings.check_every,
            retry: (settings.retry_first, settings.retry_max),
            lists: JoinSet::new(),
            pings: JoinSet::new(),
            pasts: JoinSet::new(),
            list_began: now,
            list_is_late: false,
            next_list: now,
            next_ping: None,
            failures: 0,
            silent: false,
            warned: false,
            full_at: now,
            last_inspected: None,
        }
    }

    /// Requests the next list early, but not more often than every `settle`.
    pub fn list_soon(&mut self) {
        self.next_list = self.next_list.min(self.list_began + self.settle);
    }

    /// Requests a ping.
    pub fn request_ping(&mut self) {
        if self.pings.is_empty() && self.next_ping.is_none() {
            self.next_ping = Some(Instant::now());
        }
    }

    /// Requests the signals that were sent between two times.
    pub fn fetch_past_signals(&mut self, engine: &Engine, from: EngineTime, until: EngineTime) {
        let engine = engine.clone();
        self.pasts.spawn(async move { engine.past_signals(from, until).await });
    }

    /// Returns the next result. Cancel safe.
    pub async fn next(&mut self, engine: &Engine) -> Outcome {
        loop {
            let is_listing = !self.lists.is_empty();
            let late_at = (is_listing && !self.list_is_late).then(|| self.list_began + self.request_timeout);
            tokio::select! {
                Some(Ok(list)) = self.lists.join_next() => {
                    self.list_is_late = false;
                    return Outcome::List(list);
                }
                Some(Ok(ping)) = self.pings.join_next() => return Outcome::Ping(ping),
                Some(Ok(past)) = self.pasts.join_next() => return Outcome::Past(past),
                () = until((!is_listing).then_some(self.next_list)) => {
                    let engine = engine.clone();
                    self.list_began = Instant::now();
                    self.next_list = self.list_began + self.every;
                    self.lists.spawn(async move { engine.list().await });
                }
                () = until(late_at) => {
                    self.list_is_late = true;
                    self.request_ping();
                }
                () = until(self.next_ping) => {
                    let engine = engine.clone();
                    self.next_ping = None;
                    self.pings.spawn(async move { engine.ping().await });
                }
            }
        }
    }

    /// Warns that a check failed, once until one succeeds.
    fn warn(&mut self, engine: &str, error: &EngineError) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(engine, reason = %error, "container list failed, events continue");
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Session<'_> {
    pub(super) async fn handle_outcome(&mut self, outcome: Outcome) -> Result<(), End> {
        match outcome {
            Outcome::List(Ok(list)) => {
                self.checks.failures = 0;
                if std::mem::take(&mut self.checks.warned) {
                    tracing::info!(engine = %self.address, "container list recovered");
                }
                match self.awaits_list() {
                    true => self.inspect_listed(list),
                    false => self.compare(list),
                }
                Ok(())
            }
            Outcome::List(Err(error)) => {
                if matches!(error, EngineError::Timeout(_) | EngineError::Connect(..) | EngineError::Broken(_)) {
                    self.checks.request_ping();
                }
                self.list_failed(&error).await?;
                if self.pending.is_some() {
                    let pause = backoff::pause(self.checks.retry, self.checks.failures);
                    self.checks.failures = self.checks.failures.saturating_add(1);
                    self.checks.next_list = Instant::now() + pause;
                }
                Ok(())
            }
            Outcome::Ping(Ok(_)) if self.checks.silent => Err(End::Renew),
            Outcome::Ping(Ok(_)) if self.checks.list_is_late => {
                self.list_failed(&EngineError::Timeout(self.settings.request_timeout)).await
            }
            Outcome::Ping(Ok(_)) => Ok(()),
            Outcome::Ping(Err(error)) => {
                self.checks.silent = true;
                self.checks.next_ping = Some(Instant::now() + backoff::pause(self.checks.retry, self.checks.failures));
                self.checks.failures = self.checks.failures.saturating_add(1);
                self.send_lost(&error).await
            }
            Outcome::Past(past) => {
                self.record_past_signals(past);
                Ok(())
            }
        }
    }

    /// Reports a loss if a snapshot waits for the list, and a failed check otherwise.
    async fn list_failed(&mut self, error: &EngineError) -> Result<(), End> {
        match self.awaits_list() {
            true => self.send_lost(error).await,
            false => {
                self.checks.warn(&self.address.to_string(), error);
                Ok(())
            }
        }
    }

    /// Compares a list with the last one, and inspects what differs.
    fn compare(&mut self, list: Vec<Summary>) {
        self.refresh_networks();
        for summary in &list {
            self.local_networks.learn(&summary.network_settings);
        }
        let fresh: std::collections::HashMap<_, _> = list.iter().map(Listed::of).collect();
        for (id, listed) in &fresh {
            let before = self.listed.get(id).map(|before| &before.fingerprint);
            if before != Some(&listed.fingerprint) || !self.cache.known.contains_key(id) {
                self.inspections.request(id, false);
            }
        }
        for id in self.cache.known.keys().filter(|id| !fresh.contains_key(*id)) {
            self.inspections.request(id, false);
        }
        self.listed = fresh;
        if self.checks.full_at.elapsed() >= self.checks.full_every {
            self.checks.full_at = Instant::now();
            self.inspect_some();
        }
    }

    /// Inspects the next few containers in turn, to find changes that neither an event nor the list showed.
    fn inspect_some(&mut self) {
        let mut ids: Vec<_> = self.cache.known.keys().cloned().collect();
        ids.sort();
        let start = self.checks.last_inspected.as_ref().map_or(0, |last| ids.partition_point(|id| id <= last));
        let count = ids.len().min(INSPECTIONS_PER_CHECK);
        for id in ids.iter().cycle().skip(start).take(count) {
            self.inspections.request(id, false);
            self.checks.last_inspected = Some(id.clone());
        }
    }
}
