//! One backend under watch: found, probed, and told when something about it changed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::looks::Looks;
use super::resolve::Resolve;
use super::{FixedSettings, FixedSource};
use crate::domain::backend_url::BackendUrl;
use crate::domain::container::{Condition, Container, ContainerEvent, EngineTime, Reach, Unreachable};
use crate::domain::labels::InferenceLabels;
use crate::domain::signal::Signal;
use crate::ports::upstream::{AskError, Target, UpstreamClient};

/// At how many addresses of one name a probe tries.
const ADDRESSES_TRIED: usize = 4;
/// The time after which nobody kills it: no engine stops these backends.
const NEVER_KILLED: Duration = Duration::from_secs(24 * 60 * 60);

/// One backend and what is known of it.
pub struct Post {
    url: BackendUrl,
    upstream: Arc<dyn UpstreamClient>,
    resolver: Arc<dyn Resolve>,
    settings: FixedSettings,
    /// When its source began.
    began: Instant,
    container: Container,
    /// The addresses that its name had last.
    candidates: Vec<IpAddr>,
    failures: u32,
    /// What the log was told last.
    told: Option<String>,
}

impl Post {
    /// Nothing is known of it before its first [`probe`](Self::probe).
    pub fn new(
        url: BackendUrl,
        upstream: Arc<dyn UpstreamClient>,
        resolver: Arc<dyn Resolve>,
        settings: FixedSettings,
        began: Instant,
    ) -> Self {
        let container = Container {
            id: FixedSource::id_of(&url),
            name: Arc::from(url.to_string()),
            started_at: now(began),
            condition: Condition::Starting,
            labels: Ok(InferenceLabels { port: url.port, base_path: url.base_path.clone() }),
            reach: nowhere(&url),
            stop_signal: Signal::TERM,
            stop_timeout: Some(NEVER_KILLED),
            health_output: None,
            health_check_took: None,
            restarts: 0,
            last_end: None,
        };
        Self { url, upstream, resolver, settings, began, container, candidates: Vec::new(), failures: 0, told: None }
    }

    /// What is known of it.
    pub fn container(&self) -> Container {
        self.container.clone()
    }

    /// Probes it again and again, and tells what changed.
    pub async fn keep(mut self, looks: &Looks, out: &mpsc::Sender<ContainerEvent>) {
        let id = self.container.id.clone();
        loop {
            let pause = match (self.container.condition, self.failures) {
                (Condition::Healthy, 0) => self.settings.healthy_every,
                _ => self.settings.unhealthy_every,
            };
            let asked = tokio::select! {
                () = looks.asked(&id) => true,
                () = tokio::time::sleep(pause) => false,
            };
            let before = self.container();
            self.probe().await;
            if (asked || self.differs(&before)) && out.send(ContainerEvent::Observed(self.container())).await.is_err() {
                return;
            }
        }
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
        match found.unwrap_or_else(|_| Err(format!("no answer within {} s", within.as_secs_f32()))) {
            Ok(address) => self.passed(address),
            Err(why) => self.failed(&why),
        }
    }

    /// The address at which it answers, or why there is none.
    async fn attempt(&mut self) -> Result<IpAddr, String> {
        match self.resolver.resolve(&self.url.host).await {
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
            let target = Target { address, base_path: self.url.base_path.clone() };
            match self.upstream.models(&target).await {
                // It answered 2xx. What it listed is for who asks for its models to judge.
                Ok(_) | Err(AskError::TooLarge(_) | AskError::NotAList(_) | AskError::Empty) => return Ok(ip),
                Err(error) => {
                    let path = self.url.base_path.as_str();
                    failure.get_or_insert(format!("GET http://{address}{path}/models: {error}"));
                }
            }
        }
        Err(failure.unwrap_or_default())
    }

    /// A name that cannot be resolved for once keeps its addresses.
    fn keep_addresses(&self, failure: String) -> Result<(), String> {
        match self.candidates.is_empty() {
            true => Err(failure),
            false => Ok(()),
        }
    }

    fn passed(&mut self, address: IpAddr) {
        if self.container.condition == Condition::Unhealthy {
            // It was away for a while; what answers now is taken for another run.
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

    fn failed(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        self.container.health_output = Some(Arc::from(why));
        if self.failures < self.settings.failures_until_unhealthy {
            return;
        }
        self.container.condition = Condition::Unhealthy;
        if self.told.as_deref() != Some(why) {
            warn!(backend = %self.url, reason = why, "backend of PROXY_BACKENDS does not answer; it is asked again");
            self.told = Some(why.to_owned());
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
