//! What a container source says of the containers that it sees.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::backend_url::Origin;
use super::labels::{InferenceLabels, LabelError};
use super::signal::Signal;

/// How many characters of an id are enough for a person to find the container.
const SHORT_ID_CHARS: usize = 12;

/// The stable identity of a container: Docker's 64 hexadecimal digits, or what another source calls its own.
///
/// Never an address and never a name: both are given to a successor at once.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Wraps an id as the source wrote it.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form for people: the first twelve characters of a hexadecimal id, and any other id whole.
    pub fn short(&self) -> &str {
        let hexadecimal = self.0.len() == 64 && self.0.bytes().all(|b| b.is_ascii_hexdigit());
        match hexadecimal {
            true => self.0.get(..SHORT_ID_CHARS).unwrap_or(&self.0),
            false => &self.0,
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// A point on the engine's own clock, in nanoseconds since the Unix epoch.
///
/// Only ever compared with other times of the same engine: its clock need not agree with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EngineTime(pub u64);

/// By how much an inspection can be ahead of the events that led to what it found.
const INSPECTION_AHEAD_NANOS: u64 = 10_000_000_000;

impl EngineTime {
    /// Returns true if this is a moment before a run that started then, so that it belongs to the run before. What seems
    /// much older was told by a clock that went back, and belongs to the present.
    pub fn is_just_before(self, started: Self) -> bool {
        self < started && started.0 - self.0 <= INSPECTION_AHEAD_NANOS
    }
}

/// What the engine says that a container is doing, as far as routing cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Created, exited, dead or being removed: there is no process.
    NotRunning,
    /// Between two runs under a restart policy.
    Restarting,
    /// A stop is under way (Podman says so in its state; Docker only by the signal).
    Stopping,
    /// Frozen by `docker pause`. It accepts connections and answers none.
    Paused,
    /// Running, without a `HEALTHCHECK`.
    NoHealthcheck,
    /// Running; its health check has not passed yet.
    Starting,
    /// Running; its health check fails.
    Unhealthy,
    /// It does not answer, as far as can be seen from outside. Nothing told it to stop, and it may well be busy.
    Unresponsive,
    /// Running, and the engine calls it healthy.
    Healthy,
}

/// The addresses at which a container can be reached, the best one first. Never empty, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    first: IpAddr,
    others: Vec<IpAddr>,
}

impl Addresses {
    /// The addresses in this order. Returns `None` if there are none.
    pub fn in_order(addresses: impl IntoIterator<Item = IpAddr>) -> Option<Self> {
        let mut addresses = addresses.into_iter();
        let mut all = Self::from(addresses.next()?);
        for ip in addresses {
            if !all.contains(ip) {
                all.others.push(ip);
            }
        }
        Some(all)
    }

    /// Returns the best address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// Returns every address, the best one first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// Returns true if this is one of them.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.iter().any(|own| own == ip)
    }

    /// Returns the addresses with this one first, if it is one of them.
    #[must_use]
    pub fn preferring(&self, ip: IpAddr) -> Self {
        let first = self.iter().find(|own| *own == ip);
        Self::in_order(first.into_iter().chain(self.iter())).unwrap_or_else(|| self.clone())
    }

    /// Returns the addresses without these. Returns `None` if none is left.
    pub fn without(&self, lost: &[IpAddr]) -> Option<Self> {
        Self::in_order(self.iter().filter(|ip| !lost.contains(ip)))
    }
}

impl From<IpAddr> for Addresses {
    fn from(first: IpAddr) -> Self {
        Self { first, others: Vec::new() }
    }
}

/// Where a container can be reached from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// At these addresses, which lie in networks that the proxy shares.
    At(Addresses),
    /// Nowhere; why, in words for the operator: the container's networks, and ours.
    Nowhere(Unreachable),
}

/// Why a container has no address for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// Its networks, each with its address where it has one: `name (172.20.0.3/16)`.
    pub theirs: Vec<String>,
    /// The networks that the proxy is on, as `address/prefix`.
    pub ours: Vec<String>,
    /// The Compose project that it belongs to, where the proxy belongs to another.
    pub other_project: Option<String>,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        let (theirs, ours) = (list(&self.theirs), list(&self.ours));
        match &self.other_project {
            None => write!(
                f,
                "no network in common: the container is on {theirs}, the proxy on {ours}; connect both to one network"
            ),
            Some(project) => write!(
                f,
                "it belongs to the Compose project {project}, and no network is in common: the container is on \
                 {theirs}, the proxy on {ours}"
            ),
        }
    }
}

/// One container, as it was when the source looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: Arc<str>,
    /// When the present (or last) run began, by the engine's clock. A restart is a new run.
    pub started_at: EngineTime,
    /// What it is doing.
    pub condition: Condition,
    /// Its labels, read; or the first that could not be read.
    pub labels: Result<InferenceLabels, LabelError>,
    /// Where it is reached.
    pub reach: Reach,
    /// The signal that `docker stop` sends to it.
    pub stop_signal: Signal,
    /// How long the engine waits after that signal before it kills, where that is known.
    pub stop_timeout: Option<Duration>,
    /// The last output of its health check, shortened, for people.
    pub health_output: Option<Arc<str>>,
    /// How long its last health check took.
    pub health_check_took: Option<Duration>,
    /// How often its restart policy has started it again.
    pub restarts: u64,
    /// How its last run ended, if it does not run.
    pub last_end: Option<RunEnd>,
    /// How its server is spoken to, where a URL says so. `None`: plain HTTP, with the `Host` that clients send.
    pub origin: Option<Arc<Origin>>,
    /// The service that it is one of several containers of, where the source knows such: those of one service are
    /// replicas.
    pub service: Option<Arc<str>>,
}

impl Container {
    /// The Compose project that it belongs to, if that is not the proxy's and there is no way to it.
    pub fn other_project(&self) -> Option<&str> {
        match &self.reach {
            Reach::Nowhere(why) => why.other_project.as_deref(),
            Reach::At(_) => None,
        }
    }
}

/// How a run of a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// The exit code of its process, where it is known.
    pub exit_code: Option<i64>,
    /// The kernel killed a process in it for want of memory.
    pub out_of_memory: bool,
}

/// A container that opted in and that the source could not inspect. What is known of it already stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uninspected {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: Arc<str>,
    /// Why, for the operator.
    pub why: Arc<str>,
}

/// Every container that there is at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Those that were inspected.
    pub containers: Vec<Container>,
    /// Those that exist and could not be inspected.
    pub uninspected: Vec<Uninspected>,
}

impl From<Vec<Container>> for Snapshot {
    fn from(containers: Vec<Container>) -> Self {
        Self { containers, uninspected: Vec::new() }
    }
}

/// One thing that a container source reports.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most events are the large one, and none lives long")]
pub enum ContainerEvent {
    /// Every container that there is now. What is not in it is gone. The first item, and the first after every loss.
    Snapshot(Snapshot),
    /// The present state of one container, looked at after everything that was reported of it before.
    Inspected(Container),
    /// A container that could not be inspected now. The source tries again, and reports it when that changes.
    InspectionFailed(Uninspected),
    /// Something happened to a container, known before anybody looked at it.
    Lifecycle {
        /// To which container. It may be one that nobody knows.
        id: ContainerId,
        /// When, by the engine's clock.
        at: EngineTime,
        /// What.
        event: LifecycleEvent,
    },
    /// The source lost sight of its containers, for this reason. They keep their last known state until the next
    /// snapshot.
    Lost(String),
}

/// The addresses that a container lost with a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LostAddresses {
    /// Every address that it had: the network was that of another container, which has ended.
    All,
    /// The ones that it had there, as far as they are known.
    These(Vec<IpAddr>),
}

impl LostAddresses {
    /// Returns true if this address is lost.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::These(lost) => lost.contains(&ip),
        }
    }
}

/// What happened to a container. Edges only ever take a container out of service: coming into service needs a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleEvent {
    /// A signal was sent to it by the engine (the `kill` event).
    Signal(Signal),
    /// Its process ended (`die`, `stop`), with the exit code where it is known.
    Ended {
        /// The exit code.
        exit_code: Option<i64>,
    },
    /// It exists no more.
    Removed,
    /// The kernel killed a process in it for want of memory. Its end follows, or a look that shows that it goes on.
    OutOfMemory,
    /// It was frozen.
    Paused,
    /// Its health check failed as often as it takes.
    Unhealthy,
    /// It left a network, and lost these addresses. Where none of them is in use, this is only a reason for a look.
    LeftNetwork(LostAddresses),
    /// It has a new name.
    Renamed(Arc<str>),
}
