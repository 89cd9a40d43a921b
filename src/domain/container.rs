//! Containers as their source reports them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::backend_url::Origin;
use super::labels::{InferenceLabels, LabelError};
use super::signal::Signal;

/// The number of characters of an id that are shown.
const SHORT_ID_CHARS: usize = 12;

/// The stable identity of a container: Docker's 64 hexadecimal digits, or the id of another source.
///
/// Never an address and never a name: a successor may get both at once.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Wraps an id of a source.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// Returns the whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id as it is shown: the first twelve characters of a hexadecimal id, or the whole of any other one.
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

/// A time on the engine's own clock, in nanoseconds since the Unix epoch.
///
/// It is compared only with other times of the same engine, as the clocks of engine and proxy may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EngineTime(pub u64);

/// By how much an inspection can be ahead of the events behind its findings.
const INSPECTION_AHEAD_NANOS: u64 = 10_000_000_000;

impl EngineTime {
    /// Returns true if this time is shortly before the start of a run, so that it belongs to the run before. A time
    /// that seems much older comes from a clock that went back, and belongs to the present run.
    pub fn is_just_before(self, started: Self) -> bool {
        self < started && started.0 - self.0 <= INSPECTION_AHEAD_NANOS
    }
}

/// The condition of a container, as far as it matters to routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Created, exited, dead or being removed: there is no process.
    NotRunning,
    /// It is between two runs under a restart policy.
    Restarting,
    /// A stop is under way (Podman says so in its state; Docker only by the signal).
    Stopping,
    /// Paused by `docker pause`. It accepts connections and responds on none.
    Paused,
    /// Running, without a `HEALTHCHECK`.
    NoHealthcheck,
    /// Running; its health check has not passed yet.
    Starting,
    /// Running; its health check fails.
    Unhealthy,
    /// It does not respond, as far as can be seen from outside. It was not told to stop, and may be busy.
    Unresponsive,
    /// Running, and the engine calls it healthy.
    Healthy,
}

/// The addresses of a container, the best one first. Never empty, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    first: IpAddr,
    others: Vec<IpAddr>,
}

impl Addresses {
    /// Returns the addresses in this order, or `None` if there are none.
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

    /// Returns the addresses without these, or `None` if none is left.
    pub fn without(&self, lost: &[IpAddr]) -> Option<Self> {
        Self::in_order(self.iter().filter(|ip| !lost.contains(ip)))
    }
}

impl From<IpAddr> for Addresses {
    fn from(first: IpAddr) -> Self {
        Self { first, others: Vec::new() }
    }
}

/// The reach of a container from the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It has these addresses in networks that the proxy shares.
    At(Addresses),
    /// It is in no network that the proxy shares.
    Nowhere(Unreachable),
}

/// The reason why a container cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// The networks of the container, each with its address if it has one: `name (172.20.0.3/16)`.
    pub theirs: Vec<String>,
    /// The networks of the proxy, as `address/prefix`.
    pub ours: Vec<String>,
    /// The Compose project of the container, if the proxy belongs to another one.
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

/// One container, as the source has inspected it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: Arc<str>,
    /// When the present (or last) run began. A restart is a new run.
    pub started_at: EngineTime,
    /// Its condition.
    pub condition: Condition,
    /// Its labels, or the first invalid one.
    pub labels: Result<InferenceLabels, LabelError>,
    /// Where it can be reached.
    pub reach: Reach,
    /// The signal that `docker stop` sends to it.
    pub stop_signal: Signal,
    /// How long the engine waits after that signal before it kills, if that is known.
    pub stop_timeout: Option<Duration>,
    /// The last output of its health check, shortened.
    pub health_output: Option<Arc<str>>,
    /// How long its last health check took.
    pub health_check_took: Option<Duration>,
    /// How often its restart policy has restarted it.
    pub restarts: u64,
    /// How its last run ended, if it does not run.
    pub last_end: Option<RunEnd>,
    /// The scheme and authority, if it is named by a URL. `None`: plain HTTP, with the `Host` that clients send.
    pub origin: Option<Arc<Origin>>,
    /// The service that it belongs to, if the source knows services: the containers of one service are replicas.
    pub service: Option<Arc<str>>,
}

impl Container {
    /// Returns its Compose project, if that is not the proxy's and it cannot be reached.
    pub fn other_project(&self) -> Option<&str> {
        match &self.reach {
            Reach::Nowhere(why) => why.other_project.as_deref(),
            Reach::At(_) => None,
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// The exit code of its process, if it is known.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed a process in it for lack of memory.
    pub out_of_memory: bool,
}

/// A container that opted in and that the source could not inspect. Its last inspection still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uninspected {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: Arc<str>,
    /// The cause, in words.
    pub why: Arc<str>,
}

/// All containers of a source at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The containers that were inspected.
    pub containers: Vec<Container>,
    /// The containers that exist and could not be inspected.
    pub uninspected: Vec<Uninspected>,
}

impl From<Vec<Container>> for Snapshot {
    fn from(containers: Vec<Container>) -> Self {
        Self { containers, uninspected: Vec::new() }
    }
}

/// A report of a container source.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most events are the large one, and none lives long")]
pub enum ContainerEvent {
    /// All containers that there are now; any other one is gone. The first report, and the first after a disconnection.
    Snapshot(Snapshot),
    /// The present state of one container, inspected after everything that was reported of it before.
    Inspected(Container),
    /// A container that could not be inspected. The source retries, and reports when that changes.
    InspectionFailed(Uninspected),
    /// A lifecycle event, reported without an inspection.
    Lifecycle {
        /// The container, which may be unknown.
        id: ContainerId,
        /// The time, by the engine's clock.
        at: EngineTime,
        /// The event.
        event: LifecycleEvent,
    },
    /// The source is disconnected, for this reason. Its containers keep their last known state until the next snapshot.
    Disconnected(String),
}

/// The addresses that a container lost with a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LostAddresses {
    /// All of its addresses: it used the network of another container, which has ended.
    All,
    /// Its addresses in the network that it left, as far as they are known.
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

/// A lifecycle event. It can only take a container out of service: entering service takes an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleEvent {
    /// The engine sent it a signal (the `kill` event).
    Signal(Signal),
    /// Its process ended (`die`, `stop`).
    Ended {
        /// The exit code, if it is known.
        exit_code: Option<i64>,
    },
    /// It was removed.
    Removed,
    /// The kernel killed a process in it for lack of memory. Its end follows, or an inspection that shows that it goes
    /// on.
    OutOfMemory,
    /// It was paused.
    Paused,
    /// Its health check failed as often as its configuration allows.
    Unhealthy,
    /// It left a network and lost these addresses. If none of them is in use, it stays in service.
    LeftNetwork(LostAddresses),
    /// It was renamed.
    Renamed(Arc<str>),
}
