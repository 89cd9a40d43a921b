//! One backend under watch: found, probed, and told when something about it changed.

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

/// At how many addresses of one name a probe tries.
const ADDRESSES_TRIED: usize = 4;
/// The time after which nobody kills it: no engine stops these backends.
const NEVER_KILLED: Duration = Duration::from_secs(24 * 60 * 60);

/// What a backend is probed through.
pub struct World {
    /// Asks it for its models.
    pub upstream: Arc<dyn UpstreamClient>,
    /// Finds its address.
    pub resolver: Arc<dyn Resolve>,
    /// Tells whether it is at work on requests.
    pub activity: Arc<dyn ServerActivity>,
}

/// Why a probe failed.
struct Failure {
    why: String,
    /// Whether nothing listens there, or there is no way there.
    looks_dead: bool,
}

/// One backend and what is known of it.
pub struct Probe {
    url: BackendUrl,
    world: World,
    settings: StaticSettings,
    /// When its source began.
    began: Instant,
    container: Container,
    /// The addresses that its name had last.
    candidates: Vec<IpAddr>,
    failures: u32,
    /// What was in flight at the last probe.
    seen: Activity,
    /// Whether nothing listened there since it answered last: what answers next is another run.
    was_gone: bool,
    /// What the log was told last.
    told: Option<String>,
}

impl Probe {
    /// Nothing is known of it before its first [`probe`](Self::probe).
    pub fn new(url: BackendUrl, world: World, settings: StaticSettings, began: Instant) -> Self {
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
            world,
            settings,
            began,
            container,
            candidates: Vec::new(),
            failures: 0,
            seen: Activity::default(),
            was_gone: false,
            told: None,
        }
    }

    /// What is known of it.
    pub fn container(&self) -> Container {
        self.container.clone()
    }

    /// Probes it again and again, and tells what changed.
    pub async fn keep(mut self, refresh_requests: &RefreshRequests, out: &mpsc::Sender<ContainerEvent>) {
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
            let asked = tokio::select! {
                () = refresh_requests.asked(&id) => true,
                () = time => false,
            };
            let before = self.container();
            self.probe().await;
            if (asked || self.differs(&before)) && out.send(ContainerEvent::Inspected(self.container())).await.is_err()
            {
                return;
            }
        }
    }

    /// Waits while it is at work on requests: that is health enough, and asking could end what it generates. One that is
    /// out of service is asked all the same, or it would not come back before its last answer ends.
    async fn until_askable(&self) {
        if let (Condition::Healthy, Some(address)) = (self.container.condition, self.address()) {
            self.world.activity.until_askable(address).await;
        }
    }

    /// Where it answered last.
    fn address(&self) -> Option<SocketAddr> {
        match &self.container.reach {
            Reach::At(addresses) => Some(SocketAddr::new(addresses.first(), self.url.port)),
            Reach::Nowhere(_) => None,
        }
    }

    fn activity(&self) -> Activity {
        self.address().map(|address| self.world.activity.at(address)).unwrap_or_default()
    }

    /// Whether there is anything new to tell.
    fn differs(&self, before: &Container) -> bool {
        let now = &self.container;
        (now.condition, &now.reach, &now.health_output, now.started_at)
            != (before.condition, &before.reach, &before.health_output, before.started_at)
    }

    /// Finds it and asks it, once.
    pub async fn probe(&mut self) {
        let within = self.settings.probe_timeout;
        let found = timeout(within, self.attempt()).await;
        let late = || Failure { why: format!("no answer within {} s", within.as_secs_f32()), looks_dead: false };
        let (before, now) = (self.seen, self.activity());
        let at_work = now.is_progress_since(&before);
        match found.unwrap_or_else(|_| Err(late())) {
            Ok(address) => self.passed(address, at_work),
            // It generates, so it lives; and one that is busy with our requests need not answer this one.
            Err(failure) if at_work || (now.in_flight > 0 && !failure.looks_dead) => {
                debug!(backend = %self.url, reason = failure.why, "a probe failed beside requests in flight; it proves nothing");
            }
            Err(failure) => self.failed(failure),
        }
        self.seen = self.activity();
    }

    /// The address at which it answers, or why there is none.
    async fn attempt(&mut self) -> Result<IpAddr, Failure> {
        match self.world.resolver.resolve(&self.url.host).await {
            Ok(found) if found.is_empty() => self.keep_addresses(format!("{} has no address", self.url.host))?,
            Ok(found) => self.candidates = found,
            Err(error) => self.keep_addresses(format!("{} cannot be resolved: {error}", self.url.host))?,
        }
        let present = match &self.container.reach {
            Reach::At(addresses) => Some(addresses.first()),
            Reach::Nowhere(_) => None,
        };
        // The present address first: a name with several, told in turn, is no move. Then IPv4, as servers listen there.
        let mut candidates = self.candidates.clone();
        candidates.sort_by_key(|ip| (Some(*ip) != present, !ip.is_ipv4()));
        let mut failure = None;
        for ip in candidates.into_iter().take(ADDRESSES_TRIED) {
            let address = SocketAddr::new(ip, self.url.port);
            let target =
                Target { address, base_path: self.url.base_path.clone(), origin: self.container.origin.clone() };
            match self.world.upstream.models(&target).await {
                // It answered 2xx. What it listed is for who asks for its models to judge.
                Ok(_) | Err(ListModelsError::TooLarge(_) | ListModelsError::NotAList(_) | ListModelsError::Empty) => {
                    return Ok(ip);
                }
                Err(error) => {
                    let why = format!("GET {}: {error}", target.models_url());
                    failure.get_or_insert(Failure { why, looks_dead: error.looks_dead() });
                }
            }
        }
        Err(failure.unwrap_or_else(|| Failure { why: format!("{} has no address", self.url.host), looks_dead: false }))
    }

    /// A name that cannot be resolved for once keeps its addresses.
    fn keep_addresses(&self, why: String) -> Result<(), Failure> {
        match self.candidates.is_empty() {
            true => Err(Failure { why, looks_dead: false }),
            false => Ok(()),
        }
    }

    fn passed(&mut self, address: IpAddr, at_work: bool) {
        if std::mem::take(&mut self.was_gone) && !at_work {
            // Nothing listened there for a while, and nothing has come from it: what answers now is another run.
            self.container.started_at = now(self.began).max(EngineTime(self.container.started_at.0 + 1));
        }
        self.failures = 0;
        self.container.condition = Condition::Healthy;
        self.container.reach = Reach::At(address.into());
        self.container.health_output = None;
        if self.told.take().is_some() {
            info!(backend = %self.url, %address, "backend of PROXY_BACKENDS answers");
        }
    }

    fn failed(&mut self, Failure { why, looks_dead }: Failure) {
        self.failures = self.failures.saturating_add(1);
        self.container.health_output = Some(Arc::from(why.as_str()));
        if self.failures < self.settings.failures_until_unhealthy {
            return;
        }
        self.was_gone |= looks_dead;
        self.container.condition = Condition::Unresponsive;
        if self.told.as_ref() != Some(&why) {
            warn!(backend = %self.url, reason = why, "backend of PROXY_BACKENDS does not answer; it is asked again");
            self.told = Some(why);
        }
    }
}

/// The time of a source: since it began, so that it never goes back.
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
