//! The report: what people and scripts are told.

use std::time::Duration;

/// What is said where every container was seen, and none is for us.
const NO_CONTAINER: &str = "No container carries the label inference.enable=true.";

/// How the proxy stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The proxy's version.
    pub version: String,
    /// Where the proxy is between start and stop.
    pub phase: Phase,
    /// Where backends are discovered from.
    pub sources: Vec<SourceLine>,
    /// What is served, by name.
    pub models: Vec<ModelLine>,
    /// Every container that opted in, and every backend that still has requests.
    pub containers: Vec<ContainerLine>,
}

/// Where the proxy is between start and stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The containers that there are have not all been listed and asked yet.
    Starting,
    /// It serves.
    Ready,
    /// It was told to stop.
    Stopping,
}

/// Whether something needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Out of service on purpose: it was stopped, or is not for this proxy.
    Off,
    /// As it should be.
    Good,
    /// Not in service, and nobody need do anything.
    Waiting,
    /// It will not serve until somebody does something.
    Wrong,
}

/// One source of backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// What log lines call it.
    pub name: String,
    /// Why it is out of sight; `None` while it is seen, and before anything was heard of it.
    pub lost: Option<String>,
}

/// One model and who serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLine {
    /// The model.
    pub model: String,
    /// The container that serves it.
    pub container: String,
    /// Where.
    pub address: String,
    /// The requests in flight at that container, of all its models.
    pub in_flight: usize,
    /// For how long the container has been in service.
    pub since: Duration,
    /// The other containers that share its requests.
    pub replicas: Vec<String>,
    /// Who would serve it if all of these went, the next one first.
    pub behind: Vec<String>,
}

/// How many replicas are named beside the first.
const REPLICAS_NAMED: usize = 3;

/// One container and why it serves or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLine {
    /// Its name.
    pub name: String,
    /// Its id, shortened as people write it.
    pub id: String,
    /// Where it is, or was, reached.
    pub address: Option<String>,
    /// Whether it needs a person.
    pub level: Severity,
    /// One word: `ready`, `starting`, `unhealthy`, ….
    pub state: String,
    /// Why.
    pub line: String,
    /// What else one should know.
    pub notes: Vec<String>,
    /// The requests in flight.
    pub in_flight: usize,
    /// For how long it has stood so.
    pub since: Duration,
    /// The models that it lists.
    pub models: Vec<String>,
}

/// What the table does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Where the proxy is between start and stop.
    pub phase: Phase,
    /// Where backends are discovered from.
    pub sources: Vec<SourceLine>,
    /// The time by which ejections end; 0 where there are none.
    pub now_millis: u64,
}

impl ModelLine {
    /// The names of the containers that serve it, or of the first and how many more there are.
    pub fn served_by(&self) -> String {
        match self.replicas.len() {
            0..=REPLICAS_NAMED => {
                let replicas = self.replicas.iter().map(|name| format!(", {name}"));
                std::iter::once(self.container.clone()).chain(replicas).collect()
            }
            more => format!("{} and {more} more replicas", self.container),
        }
    }
}

impl Report {
    /// Whether nothing needs a person.
    pub fn is_well(&self) -> bool {
        self.phase == Phase::Ready
            && self.sources.iter().all(|source| source.lost.is_none())
            && self.containers.iter().all(|container| container.level != Severity::Wrong)
    }

    /// Why no container is listed. Where they were not all seen, that there is none would be a guess.
    pub fn no_container(&self) -> &'static str {
        match self.phase == Phase::Starting || self.sources.iter().any(|source| source.lost.is_some()) {
            true => "No container has been seen yet.",
            false => NO_CONTAINER,
        }
    }
}
