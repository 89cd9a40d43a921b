//! The probe of one static backend.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::backend_url::BackendUrl;
use domain::container::{Condition, Container, ContainerEvent, EngineTime, Reach, Unreachable};
use domain::labels::InferenceLabels;
use domain::signal::Signal;
use ports::activity::{Activity, ServerActivity};
use ports::upstream::{ListModelsError, Target, UpstreamClient};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::refresh_requests::RefreshRequests;
use super::resolve::Resolve;
use super::{StaticSettings, StaticSource};

/// How many addresses of one name a probe tries.
const ADDRESSES_TRIED: usize = 4;
/// The stop timeout of a static backend, which no engine stops.
const NEVER_KILLED: Duration = Duration::from_secs(24 * 60 * 60);

/// What a probe needs from outside.
pub struct ProbeContext {
    pub upstream: Arc<dyn UpstreamClient>,
    pub resolver: Arc<dyn Resolve>,
    /// Counts the requests in flight at the backend.
    pub activity: Arc<dyn ServerActivity>,
}

struct Failure {
    why: String,
    /// Whether nothing listens there, or the address is unreachable.
    unreachable: bool,
}

/// A static backend and its last known state.
pub struct Probe {
    url: BackendUrl,
    context: ProbeContext,
    settings: StaticSettings,
    /// The start of the source.
    began: Instant,
    container: Container,
    /// The last known addresses of the name.
    candidates: Vec<IpAddr>,
    failures: u32,
    /// The activity at the last probe.
    seen: Activity,
    /// Whether nothing listened there since the last response: the next response is from another run.
    was_gone: bool,
    /// The last reason in the log.
    last_logged: Option<String>,
}

impl Probe {
    /// Creates a probe of a backend in unknown state, until the first [`probe`](Self::probe).
    pub fn new(url: BackendUrl, context: ProbeContext, settings: StaticSettings, began: Instant) -> Self {
        let container = Container {
            id: StaticSource::id_of(&url),
            name: Arc::from(url.to_string()),
            started_at: now(began),
            condition: Condition::Starting,
            labels: Ok(InferenceLabels {
                port: url.port,
                base_path: url.base_path.clone(),
                ..InferenceLabels::default()
            }),
            reach: nowhere(&url),
            stop_signal: Signal::TERM,
            stop_timeout: Some(NEVER_KILLED),
            health_output: None,
            health_check_took: None,
            restarts: 0,
            last_end: None,
            origin: Some(Arc::new(url.origin())),
            service: None,
        };
        Self {
            url,
            context,
            settings,
            began,
            container,
            candidates: Vec::new(),
            failures: 0,
            seen: Activity::default(),
            was_gone: false,
            last_logged: None,
        }
    }

    /// Returns the backend as a container.
    pub fn container(&self) -> Container {
        self.container.clone()
    }

    /// Probes the backend at intervals, and sends changes.
    pub async fn run(mut self, refresh_requests: &RefreshRequests, out: &mpsc::Sender<ContainerEvent>) {
        let id = self.container.id.clone();
        loop {
            let pause = match (self.container.condition, self.failures) {
                (Condition::Healthy, 0) => self.settings.healthy_every,
                _ => self.settings.unhealthy_every,
            };
            let time = async {
                tokio::time::sleep(pause).await;
                self.until_askable().await;
            };
            let is_requested = tokio::select! {
                () = refresh_requests.requested(&id) => true,
                () = time => false,
            };
            let before = self.container();
            self.probe().await;
            if (is_requested || self.differs(&before))
                && out.send(ContainerEvent::Inspected(self.container())).await.is_err()
            {
                return;
            }
        }
    }

    /// Waits while the backend has requests in flight: they show that it is healthy, and a probe might abort what it
    /// generates. A backend out of service is probed all the same, or it would not return before its last response
    /// ends.
    async fn until_askable(&self) {
        if let (Condition::Healthy, Some(address)) = (self.container.condition, self.address()) {
            self.context.activity.until_idle(address).await;
        }
    }

    /// Returns the address of the last response.
    fn address(&self) -> Option<SocketAddr> {
        match &self.container.reach {
            Reach::At(addresses) => Some(SocketAddr::new(addresses.first(), self.url.port)),
            Reach::Nowhere(_) => None,
        }
    }

    fn activity(&self) -> Activity {
        self.address().map(|address| self.context.activity.at(address)).unwrap_or_default()
    }

    fn differs(&self, before: &Container) -> bool {
        let now = &self.container;
        (now.condition, &now.reach, &now.health_output, now.started_at)
            != (before.condition, &before.reach, &before.health_output, before.started_at)
    }

    /// Resolves the name and probes the backend once.
    pub async fn probe(&mut self) {
        let within = self.settings.probe_timeout;
        let found = timeout(within, self.attempt()).await;
        let late = || Failure { why: format!("no response within {} s", within.as_secs_f32()), unreachable: false };
        let (before, now) = (self.seen, self.activity());
        let at_work = now.is_progress_since(&before);
        match found.unwrap_or_else(|_| Err(late())) {
            Ok(address) => self.passed(address, at_work),
            // A backend that sends bytes is alive, and one that is busy need not answer a probe.
            Err(failure) if at_work || (now.in_flight > 0 && !failure.unreachable) => {
                debug!(backend = %self.url, reason = failure.why, "probe failed beside requests in flight");
            }
            Err(failure) => self.failed(failure),
        }
        self.seen = self.activity();
    }

    /// Returns the address that responds, or the reason why none does.
    async fn attempt(&mut self) -> Result<IpAddr, Failure> {
        match self.context.resolver.resolve(&self.url.host).await {
            Ok(found) if found.is_empty() => self.keep_addresses(format!("{} has no address", self.url.host))?,
            Ok(found) => self.candidates = found,
            Err(error) => self.keep_addresses(format!("{} cannot be resolved: {error}", self.url.host))?,
        }
        let present = match &self.container.reach {
            Reach::At(addresses) => Some(addresses.first()),
            Reach::Nowhere(_) => None,
        };
        // The present address comes first: a name with rotating addresses has not moved. Then IPv4, on which more
        // servers listen.
        let mut candidates = self.candidates.clone();
        candidates.sort_by_key(|ip| (Some(*ip) != present, !ip.is_ipv4()));
        let mut failure = None;
        for ip in candidates.into_iter().take(ADDRESSES_TRIED) {
            let address = SocketAddr::new(ip, self.url.port);
            let target =
                Target { address, base_path: self.url.base_path.clone(), origin: self.container.origin.clone() };
            match self.context.upstream.models(&target).await {
                // The backend returned 2xx. Discovery judges what it listed.
                Ok(_) | Err(ListModelsError::TooLarge(_) | ListModelsError::NotAList(_) | ListModelsError::Empty) => {
                    return Ok(ip);
                }
                Err(error) => {
                    let why = format!("GET {}: {error}", target.models_url());
                    failure.get_or_insert(Failure { why, unreachable: error.is_unreachable() });
                }
            }
        }
        Err(failure.unwrap_or_else(|| Failure { why: format!("{} has no address", self.url.host), unreachable: false }))
    }

    /// Keeps the last known addresses if a name cannot be resolved.
    fn keep_addresses(&self, why: String) -> Result<(), Failure> {
        match self.candidates.is_empty() {
            true => Err(Failure { why, unreachable: false }),
            false => Ok(()),
        }
    }

    fn passed(&mut self, address: IpAddr, at_work: bool) {
        if std::mem::take(&mut self.was_gone) && !at_work {
            // Nothing listened there for a while, and no byte came from it: this is another run.
            self.container.started_at = now(self.began).max(EngineTime(self.container.started_at.0 + 1));
        }
        self.failures = 0;
        self.container.condition = Condition::Healthy;
        self.container.reach = Reach::At(address.into());
        self.container.health_output = None;
        if self.last_logged.take().is_some() {
            info!(backend = %self.url, %address, "static backend reachable");
        }
    }

    fn failed(&mut self, Failure { why, unreachable }: Failure) {
        self.failures = self.failures.saturating_add(1);
        self.container.health_output = Some(Arc::from(why.as_str()));
        if self.failures < self.settings.failures_until_unhealthy {
            return;
        }
        self.was_gone |= unreachable;
        self.container.condition = Condition::Unresponsive;
        if self.last_logged.as_ref() != Some(&why) {
            warn!(backend = %self.url, reason = why, "static backend unreachable, retrying");
            self.last_logged = Some(why);
        }
    }
}

/// Returns the time since the source began, which never goes back.
pub fn now(began: Instant) -> EngineTime {
    EngineTime(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1))
}

fn nowhere(url: &BackendUrl) -> Reach {
    Reach::Nowhere(Unreachable {
        theirs: vec![format!("{} (not found yet)", url.host)],
        ours: Vec::new(),
        other_project: None,
    })
}
