//! Looks at containers: a few at once, one at a time for each, and afresh when something happened meanwhile.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::task::JoinSet;

use super::backoff;
use super::engine::{Engine, EngineError};
use super::wire::Inspect;
use crate::domain::container::ContainerId;

/// What a look found.
#[derive(Debug)]
pub enum Found {
    /// No such container.
    Nothing,
    /// The container, and the one whose network it uses, if it uses another's and that one exists.
    Container(Box<Inspect>, Option<Box<Inspect>>),
}

/// A finished look.
#[derive(Debug)]
pub struct Look {
    /// At which container.
    pub id: ContainerId,
    /// What it found.
    pub result: Result<Found, EngineError>,
    /// It was wanted by somebody, and not just made to be sure.
    pub tell: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    /// Running, but what it finds is out of date already.
    Void,
    /// Running, and nobody wants to know any more.
    Dropped,
    Pausing,
}

#[derive(Debug)]
struct Job {
    stage: Stage,
    tell: bool,
    failures: u32,
}

/// The looks that are due or under way.
pub struct Inspections {
    engine: Engine,
    at_once: usize,
    retry: (Duration, Duration),
    jobs: HashMap<ContainerId, Job>,
    waiting: VecDeque<ContainerId>,
    running: JoinSet<(ContainerId, Result<Found, EngineError>)>,
    pausing: JoinSet<ContainerId>,
}

impl Inspections {
    /// None yet. `at_once` bounds how many run together, `retry` is the first and the longest pause after a failure.
    pub fn new(engine: Engine, at_once: usize, retry: (Duration, Duration)) -> Self {
        Self {
            engine,
            at_once: at_once.max(1),
            retry,
            jobs: HashMap::new(),
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            pausing: JoinSet::new(),
        }
    }

    /// Asks for a look that begins after this call. Merged with one that has not begun.
    pub fn want(&mut self, id: &ContainerId, tell: bool) {
        let Some(job) = self.jobs.get_mut(id) else {
            self.jobs.insert(id.clone(), Job { stage: Stage::Waiting, tell, failures: 0 });
            self.waiting.push_back(id.clone());
            return;
        };
        job.tell |= tell;
        match job.stage {
            Stage::Running | Stage::Dropped => job.stage = Stage::Void,
            Stage::Pausing => {
                job.stage = Stage::Waiting;
                self.waiting.push_back(id.clone());
            }
            Stage::Waiting | Stage::Void => {}
        }
    }

    /// Something happened to a container: a look under way is made again, as what it finds may be older than that.
    pub fn outdate(&mut self, id: &ContainerId) {
        if let Some(job) = self.jobs.get_mut(id).filter(|job| job.stage == Stage::Running) {
            job.stage = Stage::Void;
            job.tell = true;
        }
    }

    /// The container is gone: nobody waits for a look any more.
    pub fn forget(&mut self, id: &ContainerId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        match job.stage {
            Stage::Running | Stage::Void | Stage::Dropped => job.stage = Stage::Dropped,
            Stage::Waiting | Stage::Pausing => {
                self.jobs.remove(id);
                self.waiting.retain(|waiting| waiting != id);
            }
        }
    }

    /// Whether a look at this container is due or under way.
    pub fn has(&self, id: &ContainerId) -> bool {
        self.jobs.get(id).is_some_and(|job| job.stage != Stage::Dropped)
    }

    /// Looks again after a pause that grows with `failures`, unless a look is due anyway.
    pub fn retry(&mut self, id: &ContainerId, tell: bool, failures: u32) {
        if self.jobs.contains_key(id) {
            return;
        }
        self.jobs.insert(id.clone(), Job { stage: Stage::Pausing, tell, failures });
        let pause = backoff::pause(self.retry, failures);
        let id = id.clone();
        self.pausing.spawn(async move {
            tokio::time::sleep(pause).await;
            id
        });
    }

    /// The next finished look, and how often it failed before. Waits for ever where none is due. May be cancelled.
    pub async fn next(&mut self) -> (Look, u32) {
        loop {
            self.begin();
            tokio::select! {
                Some(done) = self.running.join_next() => {
                    if let Some(look) = done.ok().and_then(|(id, result)| self.finished(id, result)) {
                        return look;
                    }
                }
                Some(rested) = self.pausing.join_next() => {
                    if let Ok(id) = rested {
                        self.rested(id);
                    }
                }
                else => std::future::pending::<()>().await,
            }
        }
    }

    fn begin(&mut self) {
        while self.running.len() < self.at_once {
            let Some(id) = self.waiting.pop_front() else { return };
            if let Some(job) = self.jobs.get_mut(&id) {
                job.stage = Stage::Running;
                let engine = self.engine.clone();
                self.running.spawn(async move {
                    let result = look(&engine, id.as_str()).await;
                    (id, result)
                });
            }
        }
    }

    fn finished(&mut self, id: ContainerId, result: Result<Found, EngineError>) -> Option<(Look, u32)> {
        let job = self.jobs.get_mut(&id)?;
        if job.stage == Stage::Void {
            job.stage = Stage::Waiting;
            self.waiting.push_back(id);
            return None;
        }
        let job = self.jobs.remove(&id)?;
        (job.stage != Stage::Dropped).then_some((Look { id, result, tell: job.tell }, job.failures))
    }

    fn rested(&mut self, id: ContainerId) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.stage == Stage::Pausing) {
            job.stage = Stage::Waiting;
            self.waiting.push_back(id);
        }
    }
}

/// Looks at a container and, where it uses another's network, at that one too.
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
