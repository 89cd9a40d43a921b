//! A runtime of your own: containers that are lines of JSON in a file, one each.
//!
//! ```text
//! {"name":"qwen","ip":"10.0.0.5","started":1700000000,"healthy":true,"labels":{"inference.enable":"true"}}
//! cargo run --example file_source -- containers.jsonl        prints what it would tell the proxy
//! ```
//! `tests/file_source.rs` runs the contract of the port on it. See CONTRIBUTING.md.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use domain::container::{Condition, Container, ContainerEvent, ContainerId, EngineTime, LifecycleEvent, Reach};
use domain::{labels, signal::Signal};
use futures_util::{StreamExt, stream};
use ports::container_source::{ContainerEvents, ContainerSource};
use serde_json::Value;
use tokio::sync::broadcast::{self, Receiver, error::RecvError};
use tokio::time::{Interval, interval};

/// How often the file is read.
const POLL: Duration = Duration::from_millis(50);
/// How many requests for a look may wait. Who falls behind looks at every container instead.
const LOOKS_WAITING: usize = 64;

/// Watches one file.
pub struct FileSource {
    path: PathBuf,
    looks: broadcast::Sender<ContainerId>,
}

impl FileSource {
    /// A source of the containers in this file, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), looks: broadcast::Sender::new(LOOKS_WAITING) }
    }
}

impl ContainerSource for FileSource {
    fn name(&self) -> &str {
        "file"
    }

    fn watch(&self) -> ContainerEvents {
        let watch = Watch {
            path: self.path.clone(),
            asked: self.looks.subscribe(),
            poll: interval(POLL),
            seen: None,
            lost: None,
            waiting: VecDeque::new(),
        };
        // Everything lives in the stream: dropping it ends all.
        Box::pin(stream::unfold(watch, |mut watch| async { Some((watch.next().await, watch)) }))
    }

    fn refresh(&self, id: &ContainerId) {
        let _ = self.looks.send(id.clone());
    }
}

struct Watch {
    path: PathBuf,
    asked: Receiver<ContainerId>,
    poll: Interval,
    /// What was told last; `None` until the next snapshot.
    seen: Option<BTreeMap<ContainerId, Container>>,
    /// Each reason is told once.
    lost: Option<String>,
    waiting: VecDeque<ContainerEvent>,
}

impl Watch {
    async fn next(&mut self) -> ContainerEvent {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let asked = tokio::select! {
                asked = self.asked.recv() => Some(asked),
                _ = self.poll.tick() => None,
            };
            match read(&self.path) {
                Ok((at, now)) => self.tell(at, now, asked),
                Err(reason) if self.lost.as_ref() == Some(&reason) => {}
                Err(reason) => {
                    (self.seen, self.lost) = (None, Some(reason.clone()));
                    self.waiting.push_back(ContainerEvent::Disconnected(reason));
                }
            }
        }
    }

    /// A snapshot first; then what has changed, and what was asked for.
    fn tell(
        &mut self,
        at: EngineTime,
        now: BTreeMap<ContainerId, Container>,
        asked: Option<Result<ContainerId, RecvError>>,
    ) {
        self.lost = None;
        let Some(before) = self.seen.replace(now.clone()) else {
            return self.waiting.push_back(ContainerEvent::Snapshot(now.into_values().collect::<Vec<_>>().into()));
        };
        let (all, one) = (matches!(asked, Some(Err(_))), asked.and_then(Result::ok));
        let gone = before.keys().chain(&one).filter(|id| !now.contains_key(*id)).cloned();
        self.waiting.extend(gone.map(|id| ContainerEvent::Lifecycle { id, at, event: LifecycleEvent::Removed }));
        let fresh = now.into_values().filter(|c| all || one.as_ref() == Some(&c.id) || before.get(&c.id) != Some(c));
        self.waiting.extend(fresh.map(ContainerEvent::Inspected));
    }
}

/// The containers that opted in, and when the file was written. A file that cannot be read is never an empty one.
fn read(path: &Path) -> Result<(EngineTime, BTreeMap<ContainerId, Container>), String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let written = std::fs::metadata(path).and_then(|meta| meta.modified()).map_err(|error| wrong(&error))?;
    let at = written.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let containers = text.lines().map(|line| container(line).ok_or_else(|| wrong(&format!("not a container: {line}"))));
    let opted_in = containers.filter_map(Result::transpose).map(|read| read.map(|c| (c.id.clone(), c)));
    Ok((EngineTime(at), opted_in.collect::<Result<_, _>>()?))
}

/// `None`: the line cannot be read. `Some(None)`: a container that did not opt in.
fn container(line: &str) -> Option<Option<Container>> {
    let said: Value = serde_json::from_str(line).ok()?;
    let label = |name: &str| said["labels"][name].as_str();
    let container = Container {
        id: ContainerId::new(said["name"].as_str()?),
        name: said["name"].as_str()?.into(),
        started_at: EngineTime(said["started"].as_u64()?.checked_mul(1_000_000_000)?),
        condition: if said["healthy"].as_bool()? { Condition::Healthy } else { Condition::Unhealthy },
        labels: labels::parse(label),
        reach: Reach::At(said["ip"].as_str()?.parse::<std::net::IpAddr>().ok()?.into()),
        stop_signal: Signal::TERM,
        stop_timeout: Some(Duration::from_secs(10)),
        health_output: None,
        health_check_took: None,
        restarts: 0,
        last_end: None,
        origin: None,
        service: None,
    };
    Some(labels::has_opted_in(label).then_some(container))
}

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).unwrap_or_else(|| "containers.jsonl".to_owned());
    FileSource::new(path).watch().for_each(async |event| println!("{event:?}")).await;
}
