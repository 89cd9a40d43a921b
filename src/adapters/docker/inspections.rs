//! Inspects containers: a few at once, one at a time for each, and again when something happened meanwhile.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use domain::container::ContainerId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api_types::Inspect;
use super::backoff;
use super::engine::{Engine, EngineError};
use super::settings::DockerSettings;

/// What an inspection found.
#[derive(Debug)]
pub enum Found {
    /// No such container.
    Nothing,
    /// The container, and the one whose network it uses, if it uses another's and that one exists.
    Container(Box<Inspect>, Option<Box<Inspect>>),
}

/// A finished inspection.
#[derive(Debug)]
pub struct Look {
    /// Of which container.
    pub id: ContainerId,
    /// What it found.
    pub result: Result<Found, EngineError>,
    /// It was asked for, and not just made to be sure.
    pub tell: bool,
    /// How often it failed before.
    pub failures: u32,
}

/// What becomes of an inspection.
#[derive(Debug)]
pub enum Progress {
    /// It is over.
    Finished(Look),
    /// It has not been answered within the patience, and goes on.
    Overdue(ContainerId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    /// Running, and to be made once more.
    Again,
    /// Running, but what it finds is out of date already.
    Void,
    /// Running; what it finds is thrown away, and it is made again after the rest.
    PutOff,
    /// Running, and no longer wanted.
    Dropped,
    Pausing,
    Resting,
}

#[derive(Debug)]
struct Job {
    stage: Stage,
    tell: bool,
    failures: u32,
}

impl Job {
    fn is_running(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::Pausing | Stage::Resting)
    }
}

/// The inspections that are due or under way.
pub struct Inspections {
    engine: Engine,
    at_once: usize,
    patience: Duration,
    rest: Duration,
    retry: (Duration, Duration),
    jobs: HashMap<ContainerId, Job>,
    waiting: VecDeque<ContainerId>,
    /// Those under way that are not overdue, the oldest first. Only these count against `at_once`: a few containers that
    /// hang the engine's answer must not keep all others from being inspected.
    begun: VecDeque<(Instant, ContainerId)>,
    running: JoinSet<(ContainerId, Result<Found, EngineError>)>,
    pausing: JoinSet<ContainerId>,
}

impl Inspections {
    /// None yet.
    pub fn new(engine: Engine, settings: &DockerSettings) -> Self {
        Self {
            engine,
            at_once: settings.inspects_at_once.max(1),
            patience: settings.inspect_timeout,
            rest: settings.out_of_memory_rest,
            retry: (settings.retry_first, settings.retry_max),
            jobs: HashMap::new(),
            waiting: VecDeque::new(),
            begun: VecDeque::new(),
            running: JoinSet::new(),
            pausing: JoinSet::new(),
        }
    }

    /// Asks for an inspection that begins after this call. Merged with one that has not begun.
    pub fn want(&mut self, id: &ContainerId, tell: bool) {
        let Some(job) = self.jobs.get_mut(id) else {
            self.jobs.insert(id.clone(), Job { stage: Stage::Waiting, tell, failures: 0 });
            self.waiting.push_back(id.clone());
            return;
        };
        job.tell |= tell;
        match job.stage {
            Stage::Running => job.stage = Stage::Again,
            Stage::Dropped => job.stage = Stage::Void,
            Stage::Pausing => {
                job.stage = Stage::Waiting;
                self.waiting.push_back(id.clone());
            }
            Stage::Resting if tell => {
                job.stage = Stage::Waiting;
                self.waiting.push_back(id.clone());
            }
            Stage::Waiting | Stage::Again | Stage::Void | Stage::PutOff | Stage::Resting => {}
        }
    }

    /// Something happened to a container: an inspection under way is made again, as what it finds may be older than that.
    pub fn outdate(&mut self, id: &ContainerId) {
        if let Some(job) = self.jobs.get_mut(id).filter(|job| matches!(job.stage, Stage::Running | Stage::Again)) {
            job.stage = Stage::Void;
            job.tell = true;
        }
    }

    /// Inspects a container after a rest, and not before, unless something else happens to it.
    pub fn put_off(&mut self, id: &ContainerId) {
        match self.jobs.get_mut(id) {
            Some(job) if job.is_running() => {
                job.stage = Stage::PutOff;
                job.tell = true;
            }
            Some(_) => {
                self.forget(id);
                self.pause(id, Stage::Resting, 0, self.rest);
            }
            None => self.pause(id, Stage::Resting, 0, self.rest),
        }
    }

    /// The container is gone: inspections of it are not wanted any more.
    pub fn forget(&mut self, id: &ContainerId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if job.is_running() {
            job.stage = Stage::Dropped;
        } else {
            self.jobs.remove(id);
            self.waiting.retain(|waiting| waiting != id);
        }
    }

    /// Whether an inspection of this container is due or under way.
    pub fn has(&self, id: &ContainerId) -> bool {
        self.jobs.get(id).is_some_and(|job| job.stage != Stage::Dropped)
    }

    /// Inspects again after a pause that grows with `failures`, unless an inspection is due anyway.
    pub fn retry(&mut self, id: &ContainerId, tell: bool, failures: u32) {
        if !self.jobs.contains_key(id) {
            self.pause(id, Stage::Pausing, failures, backoff::pause(self.retry, failures));
            if let Some(job) = self.jobs.get_mut(id) {
                job.tell = tell;
            }
        }
    }

    fn pause(&mut self, id: &ContainerId, stage: Stage, failures: u32, pause: Duration) {
        self.jobs.insert(id.clone(), Job { stage, tell: true, failures });
        let id = id.clone();
        self.pausing.spawn(async move {
            tokio::time::sleep(pause).await;
            id
        });
    }

    /// What becomes of the next inspection. Waits for ever where none is due. May be cancelled.
    pub async fn next(&mut self) -> Progress {
        loop {
            self.begin();
            let overdue_at = self.begun.front().map(|(at, _)| *at + self.patience);
            tokio::select! {
                Some(done) = self.running.join_next() => {
                    if let Some(look) = done.ok().and_then(|(id, result)| self.finished(id, result)) {
                        return Progress::Finished(look);
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
                    let result = look(&engine, id.as_str()).await;
                    (id, result)
                });
            }
        }
    }

    fn finished(&mut self, id: ContainerId, result: Result<Found, EngineError>) -> Option<Look> {
        self.begun.retain(|(_, begun)| *begun != id);
        let job = self.jobs.remove(&id)?;
        match job.stage {
            Stage::Dropped => return None,
            Stage::PutOff => {
                self.pause(&id, Stage::Resting, 0, self.rest);
                return None;
            }
            // A failure is told also where it is tried again at once: else a container that is talked of all the time,
            // and cannot be inspected, would never be seen to be that.
            Stage::Void | Stage::Again => {
                let failures = if result.is_err() { job.failures.saturating_add(1) } else { 0 };
                self.jobs.insert(id.clone(), Job { stage: Stage::Waiting, tell: job.tell, failures });
                self.waiting.push_back(id.clone());
                if job.stage == Stage::Void && result.is_ok() {
                    return None;
                }
            }
            Stage::Running | Stage::Waiting | Stage::Pausing | Stage::Resting => {}
        }
        Some(Look { id, result, tell: job.tell, failures: job.failures })
    }

    fn rested(&mut self, id: ContainerId) {
        let paused = |job: &&mut Job| matches!(job.stage, Stage::Pausing | Stage::Resting);
        if let Some(job) = self.jobs.get_mut(&id).filter(paused) {
            job.stage = Stage::Waiting;
            self.waiting.push_back(id);
        }
    }
}

/// Inspects a container and, where it uses another's network, that one too.
async fn look(engine: &Engine, id: &str) -> Result<Found, EngineError> {
    let Some(inspect) = engine.inspect(id).await? else { return Ok(Found::Nothing) };
    let owner = match network_owner(&inspect) {
        Some(owner) => engine.inspect(owner).await?.map(Box::new),
        None => None,
    };
    Ok(Found::Container(Box::new(inspect), owner))
}

/// The container whose network this one uses.
pub fn network_owner(inspect: &Inspect) -> Option<&str> {
    inspect.host_config.network_mode.strip_prefix("container:")
}
