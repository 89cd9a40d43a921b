//! Schedules inspections: a few at once, one at a time for each container, and again if something happened meanwhile.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use domain::container::ContainerId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api_types::Inspect;
use super::backoff;
use super::engine::{Engine, EngineError};
use super::settings::DockerSettings;

#[derive(Debug)]
pub enum Found {
    /// There is no such container.
    Nothing,
    /// The container, and the container whose network it uses, if any.
    Container(Box<Inspect>, Option<Box<Inspect>>),
}

#[derive(Debug)]
pub struct Inspection {
    pub id: ContainerId,
    pub result: Result<Found, EngineError>,
    /// Whether to send the result even if nothing changed.
    pub report: bool,
    /// How often it failed in a row before.
    pub failures: u32,
}

#[derive(Debug)]
pub enum Progress {
    Finished(Inspection),
    /// The inspection takes longer than the timeout, and goes on.
    Overdue(ContainerId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Running,
    /// Running, and to run once more.
    RunAgain,
    /// Running, with a result that is outdated already.
    Stale,
    /// Running, with a result to discard, and to run again after a rest.
    Postponed,
    /// Running, with a result to discard.
    Canceled,
    BackingOff,
    Resting,
}

#[derive(Debug)]
struct Job {
    stage: Stage,
    report: bool,
    failures: u32,
}

impl Job {
    fn is_running(&self) -> bool {
        !matches!(self.stage, Stage::Queued | Stage::BackingOff | Stage::Resting)
    }
}

/// The inspections that are queued or running.
pub struct Inspections {
    engine: Engine,
    at_once: usize,
    timeout: Duration,
    rest: Duration,
    retry: (Duration, Duration),
    jobs: HashMap<ContainerId, Job>,
    waiting: VecDeque<ContainerId>,
    /// Running and not overdue, the oldest first. Only these count against `at_once`: a few containers on which the
    /// engine hangs must not keep all others waiting.
    begun: VecDeque<(Instant, ContainerId)>,
    running: JoinSet<(ContainerId, Result<Found, EngineError>)>,
    pausing: JoinSet<ContainerId>,
}

impl Inspections {
    pub fn new(engine: Engine, settings: &DockerSettings) -> Self {
        Self {
            engine,
            at_once: settings.inspects_at_once.max(1),
            timeout: settings.inspect_timeout,
            rest: settings.out_of_memory_rest,
            retry: (settings.retry_first, settings.retry_max),
            jobs: HashMap::new(),
            waiting: VecDeque::new(),
            begun: VecDeque::new(),
            running: JoinSet::new(),
            pausing: JoinSet::new(),
        }
    }

    /// Requests an inspection that begins after this call, merged with one that has not begun.
    pub fn request(&mut self, id: &ContainerId, report: bool) {
        let Some(job) = self.jobs.get_mut(id) else {
            self.jobs.insert(id.clone(), Job { stage: Stage::Queued, report, failures: 0 });
            self.waiting.push_back(id.clone());
            return;
        };
        job.report |= report;
        match job.stage {
            Stage::Running => job.stage = Stage::RunAgain,
            Stage::Canceled => job.stage = Stage::Stale,
            Stage::BackingOff => {
                job.stage = Stage::Queued;
                self.waiting.push_back(id.clone());
            }
            Stage::Resting if report => {
                job.stage = Stage::Queued;
                self.waiting.push_back(id.clone());
            }
            Stage::Queued | Stage::RunAgain | Stage::Stale | Stage::Postponed | Stage::Resting => {}
        }
    }

    /// Discards the result of a running inspection, which may be older than an event, and runs it again.
    pub fn invalidate(&mut self, id: &ContainerId) {
        if let Some(job) = self.jobs.get_mut(id).filter(|job| matches!(job.stage, Stage::Running | Stage::RunAgain)) {
            job.stage = Stage::Stale;
            job.report = true;
        }
    }

    /// Inspects a container after a rest, unless something else happens to it before.
    pub fn postpone(&mut self, id: &ContainerId) {
        match self.jobs.get_mut(id) {
            Some(job) if job.is_running() => {
                job.stage = Stage::Postponed;
                job.report = true;
            }
            Some(_) => {
                self.forget(id);
                self.pause(id, Stage::Resting, 0, self.rest);
            }
            None => self.pause(id, Stage::Resting, 0, self.rest),
        }
    }

    /// Cancels the inspections of a container that is gone.
    pub fn forget(&mut self, id: &ContainerId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if job.is_running() {
            job.stage = Stage::Canceled;
        } else {
            self.jobs.remove(id);
            self.waiting.retain(|waiting| waiting != id);
        }
    }

    /// Returns true if an inspection of this container is queued or running.
    pub fn has(&self, id: &ContainerId) -> bool {
        self.jobs.get(id).is_some_and(|job| job.stage != Stage::Canceled)
    }

    /// Inspects again after a backoff, unless an inspection is queued anyway.
    pub fn retry(&mut self, id: &ContainerId, report: bool, failures: u32) {
        if !self.jobs.contains_key(id) {
            self.pause(id, Stage::BackingOff, failures, backoff::pause(self.retry, failures));
            if let Some(job) = self.jobs.get_mut(id) {
                job.report = report;
            }
        }
    }

    fn pause(&mut self, id: &ContainerId, stage: Stage, failures: u32, pause: Duration) {
        self.jobs.insert(id.clone(), Job { stage, report: true, failures });
        let id = id.clone();
        self.pausing.spawn(async move {
            tokio::time::sleep(pause).await;
            id
        });
    }

    /// Returns the next progress. Waits forever if nothing is queued. Cancel safe.
    pub async fn next(&mut self) -> Progress {
        loop {
            self.begin();
            let overdue_at = self.begun.front().map(|(at, _)| *at + self.timeout);
            tokio::select! {
                Some(done) = self.running.join_next() => {
                    if let Some(inspection) = done.ok().and_then(|(id, result)| self.finished(id, result)) {
                        return Progress::Finished(inspection);
                    }
                }
                Some(rested) = self.pausing.join_next() => {
                    if let Ok(id) = rested {
                        self.rested(id);
                    }
                }
                () = tokio::time::sleep_until(overdue_at.unwrap_or_else(Instant::now)), if overdue_at.is_some() => {
                    if let Some((_, id)) = self.begun.pop_front() {
                        return Progress::Overdue(id);
                    }
                }
                else => std::future::pending::<()>().await,
            }
        }
    }

    fn begin(&mut self) {
        while self.begun.len() < self.at_once {
            let Some(id) = self.waiting.pop_front() else { return };
            if let Some(job) = self.jobs.get_mut(&id) {
                job.stage = Stage::Running;
                self.begun.push_back((Instant::now(), id.clone()));
                let engine = self.engine.clone();
                self.running.spawn(async move {
                    let result = inspect(&engine, id.as_str()).await;
                    (id, result)
                });
            }
        }
    }

    fn finished(&mut self, id: ContainerId, result: Result<Found, EngineError>) -> Option<Inspection> {
        self.begun.retain(|(_, begun)| *begun != id);
        let job = self.jobs.remove(&id)?;
        match job.stage {
            Stage::Canceled => return None,
            Stage::Postponed => {
                self.pause(&id, Stage::Resting, 0, self.rest);
                return None;
            }
            // A failure is reported even if the inspection runs again at once. Otherwise a container with frequent
            // events that cannot be inspected would never be reported as such.
            Stage::Stale | Stage::RunAgain => {
                let failures = if result.is_err() { job.failures.saturating_add(1) } else { 0 };
                self.jobs.insert(id.clone(), Job { stage: Stage::Queued, report: job.report, failures });
                self.waiting.push_back(id.clone());
                if job.stage == Stage::Stale && result.is_ok() {
                    return None;
                }
            }
            Stage::Running | Stage::Queued | Stage::BackingOff | Stage::Resting => {}
        }
        Some(Inspection { id, result, report: job.report, failures: job.failures })
    }

    fn rested(&mut self, id: ContainerId) {
        let paused = |job: &&mut Job| matches!(job.stage, Stage::BackingOff | Stage::Resting);
        if let Some(job) = self.jobs.get_mut(&id).filter(paused) {
            job.stage = Stage::Queued;
            self.waiting.push_back(id);
        }
    }
}

/// Inspects a container, and the container whose network it uses.
async fn inspect(engine: &Engine, id: &str) -> Result<Found, EngineError> {
    let Some(inspect) = engine.inspect(id).await? else { return Ok(Found::Nothing) };
    let owner = match network_owner(&inspect) {
        Some(owner) => engine.inspect(owner).await?.map(Box::new),
        None => None,
    };
    Ok(Found::Container(Box::new(inspect), owner))
}

/// Returns the container whose network this one uses.
pub fn network_owner(inspect: &Inspect) -> Option<&str> {
    inspect.host_config.network_mode.strip_prefix("container:")
}
