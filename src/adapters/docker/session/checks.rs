//! What is asked of the engine beside its events: its list, now and then, and whether it answers at all.
//!
//! A check that fails is a failed check and no lost engine: while the event stream lives, events are what counts.

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

/// How many containers are inspected with each check, in turn, although nothing seems to have changed.
const LOOKS_PER_CHECK: usize = 16;

/// What the list says of a container.
#[derive(Debug)]
pub struct Listed {
    /// Differs when the container may have changed.
    pub print: String,
    /// Its name.
    pub name: Arc<str>,
}

impl Listed {
    pub fn of(summary: &Summary) -> (ContainerId, Self) {
        let id = ContainerId::new(summary.id.as_str());
        let name = summary.names.first().map_or(id.short(), |name| name.trim_start_matches('/'));
        let listed = Self { print: fingerprint(summary), name: Arc::from(name) };
        (id, listed)
    }
}

/// What was asked, with the answer.
pub enum Done {
    /// The list.
    List(Result<Vec<Summary>, EngineError>),
    /// Whether it answers at all.
    Ping(Result<Ping, EngineError>),
    /// The signals that it still remembers.
    Past(Result<Bytes, EngineError>),
}

/// The questions that are due or under way.
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
    /// The engine answers nothing.
    silent: bool,
    warned: bool,
    full_at: Instant,
    turn: Option<ContainerId>,
}

impl Checks {
    /// The first list is due at once.
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
            turn: None,
        }
    }

    /// Has the next list come early, but not more often than every `settle`.
    pub fn soon(&mut self) {
        self.next_list = self.next_list.min(self.list_began + self.settle);
    }

    /// Has the engine asked whether it answers at all.
    pub fn doubt(&mut self) {
        if self.pings.is_empty() && self.next_ping.is_none() {
            self.next_ping = Some(Instant::now());
        }
    }

    /// Asks for the signals that were sent between two times.
    pub fn ask_past(&mut self, engine: &Engine, from: EngineTime, until: EngineTime) {
        let engine = engine.clone();
        self.pasts.spawn(async move { engine.past_signals(from, until).await });
    }

    /// The next answer. May be cancelled.
    pub async fn next(&mut self, engine: &Engine) -> Done {
        loop {
            let asked = !self.lists.is_empty();
            let late_at = (asked && !self.list_is_late).then(|| self.list_began + self.request_timeout);
            tokio::select! {
                Some(Ok(list)) = self.lists.join_next() => {
                    self.list_is_late = false;
                    return Done::List(list);
                }
                Some(Ok(ping)) = self.pings.join_next() => return Done::Ping(ping),
                Some(Ok(past)) = self.pasts.join_next() => return Done::Past(past),
                () = until((!asked).then_some(self.next_list)) => {
                    let engine = engine.clone();
                    self.list_began = Instant::now();
                    self.next_list = self.list_began + self.every;
                    self.lists.spawn(async move { engine.list().await });
                }
                () = until(late_at) => {
                    self.list_is_late = true;
                    self.doubt();
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
            tracing::warn!(engine, reason = %error, "container list failed, events still arrive");
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
    pub(super) async fn checked(&mut self, done: Done) -> Result<(), End> {
        match done {
            Done::List(Ok(list)) => {
                self.checks.failures = 0;
                if std::mem::take(&mut self.checks.warned) {
                    tracing::info!(engine = %self.address, "container list answered again");
                }
                match self.awaits_list() {
                    true => self.inspect_listed(list),
                    false => self.compare(list),
                }
                Ok(())
            }
            Done::List(Err(error)) => {
                if matches!(error, EngineError::Timeout(_) | EngineError::Connect(..) | EngineError::Broken(_)) {
                    self.checks.doubt();
                }
                self.list_failed(&error).await?;
                if self.pending.is_some() {
                    let pause = backoff::pause(self.checks.retry, self.checks.failures);
                    self.checks.failures = self.checks.failures.saturating_add(1);
                    self.checks.next_list = Instant::now() + pause;
                }
                Ok(())
            }
            Done::Ping(Ok(_)) if self.checks.silent => Err(End::Renew),
            Done::Ping(Ok(_)) if self.checks.list_is_late => {
                self.list_failed(&EngineError::Timeout(self.settings.request_timeout)).await
            }
            Done::Ping(Ok(_)) => Ok(()),
            Done::Ping(Err(error)) => {
                self.checks.silent = true;
                self.checks.next_ping = Some(Instant::now() + backoff::pause(self.checks.retry, self.checks.failures));
                self.checks.failures = self.checks.failures.saturating_add(1);
                self.tell_lost(&error).await
            }
            Done::Past(past) => {
                self.learn_past(past);
                Ok(())
            }
        }
    }

    /// Where a snapshot waits for the list, that is a loss; else a check failed.
    async fn list_failed(&mut self, error: &EngineError) -> Result<(), End> {
        match self.awaits_list() {
            true => self.tell_lost(error).await,
            false => {
                self.checks.warn(&self.address.to_string(), error);
                Ok(())
            }
        }
    }

    /// Compares a list with what is known, and inspects what differs.
    fn compare(&mut self, list: Vec<Summary>) {
        self.look_around();
        for summary in &list {
            self.local_networks.learn(&summary.network_settings);
        }
        let fresh: std::collections::HashMap<_, _> = list.iter().map(Listed::of).collect();
        for (id, listed) in &fresh {
            let before = self.listed.get(id).map(|before| &before.print);
            if before != Some(&listed.print) || !self.cache.known.contains_key(id) {
                self.inspections.want(id, false);
            }
        }
        for id in self.cache.known.keys().filter(|id| !fresh.contains_key(*id)) {
            self.inspections.want(id, false);
        }
        self.listed = fresh;
        if self.checks.full_at.elapsed() >= self.checks.full_every {
            self.checks.full_at = Instant::now();
            self.look_at_some();
        }
    }

    /// Inspects the next few containers in turn, so that a change that no event and no list showed is found too.
    fn look_at_some(&mut self) {
        let mut ids: Vec<_> = self.cache.known.keys().cloned().collect();
        ids.sort();
        let start = self.checks.turn.as_ref().map_or(0, |turn| ids.partition_point(|id| id <= turn));
        let count = ids.len().min(LOOKS_PER_CHECK);
        for id in ids.iter().cycle().skip(start).take(count) {
            self.inspections.want(id, false);
            self.checks.turn = Some(id.clone());
        }
    }
}
