//! Backends at addresses that the operator names: no engine tells of their health, so each is probed.

mod probe;
mod refresh_requests;
mod resolve;

use std::sync::Arc;
use std::time::Duration;

use domain::backend_url::BackendUrl;
use domain::container::{ContainerEvent, ContainerId, LifecycleEvent};
use futures_util::future::join_all;
use ports::activity::{NoActivity, ServerActivity};
use ports::container_source::{ContainerEvents, ContainerSource};
use ports::upstream::UpstreamClient;
use probe::{Probe, World};
use refresh_requests::RefreshRequests;
pub use resolve::{Resolve, SystemResolver};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::adapters::shared::watches::Watches;

/// How many items wait for the reader of the stream.
const ITEMS_WAITING: usize = 256;

/// How the backends are probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticSettings {
    /// The time between two probes of a backend that is healthy.
    pub healthy_every: Duration,
    /// The time between two probes of one that is not.
    pub unhealthy_every: Duration,
    /// How long a probe may take, with finding the address.
    pub probe_timeout: Duration,
    /// After how many failures in a row it is unhealthy.
    pub failures_until_unhealthy: u32,
}

impl Default for StaticSettings {
    fn default() -> Self {
        Self {
            healthy_every: Duration::from_secs(5),
            unhealthy_every: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(5),
            failures_until_unhealthy: 2,
        }
    }
}

/// Probes the backends of a list that does not change.
///
/// A backend shows as a container of its own, healthy while `GET {base}/models` answers 2xx. It never tells signals,
/// ends, pauses or removals: who only probes cannot know them.
pub struct StaticSource {
    backends: Vec<BackendUrl>,
    upstream: Arc<dyn UpstreamClient>,
    resolver: Arc<dyn Resolve>,
    activity: Arc<dyn ServerActivity>,
    settings: StaticSettings,
    began: Instant,
    watches: Watches<RefreshRequests>,
}

impl StaticSource {
    /// A source of these backends, probed through `upstream`, found by the system's resolver. Opens nothing yet.
    pub fn new(backends: Vec<BackendUrl>, upstream: Arc<dyn UpstreamClient>, settings: StaticSettings) -> Self {
        let (resolver, activity, began) = (Arc::new(SystemResolver), Arc::new(NoActivity), Instant::now());
        Self { backends, upstream, resolver, activity, settings, began, watches: Watches::default() }
    }

    /// The same, with names found by `resolver`.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// The same; a backend that is at work on requests is not asked, and not given up for being slow.
    #[must_use]
    pub fn with_activity(mut self, activity: Arc<dyn ServerActivity>) -> Self {
        self.activity = activity;
        self
    }

    /// The id under which a backend shows.
    pub fn id_of(url: &BackendUrl) -> ContainerId {
        ContainerId::new(format!("static:{url}"))
    }
}

impl ContainerSource for StaticSource {
    fn name(&self) -> &str {
        "PROXY_BACKENDS"
    }

    /// Must be called within a tokio runtime.
    fn watch(&self) -> ContainerEvents {
        let refresh_requests = Arc::new(RefreshRequests::new(self.backends.iter().map(Self::id_of)));
        let probes = self.backends.iter().map(|url| {
            let world = World {
                upstream: Arc::clone(&self.upstream),
                resolver: Arc::clone(&self.resolver),
                activity: Arc::clone(&self.activity),
            };
            Probe::new(url.clone(), world, self.settings.clone(), self.began)
        });
        self.watches.start(ITEMS_WAITING, refresh_requests, |refresh_requests, out| {
            keep(probes.collect(), refresh_requests, out, self.began)
        })
    }

    fn refresh(&self, id: &ContainerId) {
        self.watches.request(|requests| requests.add(id));
    }
}

/// Probes each once for the snapshot, then each at its own pace.
async fn keep(
    mut probes: Vec<Probe>,
    refresh_requests: Arc<RefreshRequests>,
    out: mpsc::Sender<ContainerEvent>,
    began: Instant,
) {
    join_all(probes.iter_mut().map(Probe::probe)).await;
    let snapshot: Vec<_> = probes.iter().map(Probe::container).collect();
    if out.send(ContainerEvent::Snapshot(snapshot.into())).await.is_err() {
        return;
    }
    let strangers = async {
        loop {
            let id = refresh_requests.stranger().await;
            let gone = ContainerEvent::Lifecycle { id, at: probe::now(began), edge: LifecycleEvent::Removed };
            if out.send(gone).await.is_err() {
                return;
            }
        }
    };
    // What is sent into a closed stream ends nothing here; the closing itself does.
    let probing = join_all(probes.into_iter().map(|probe| probe.keep(&refresh_requests, &out)));
    tokio::select! {
        () = out.closed() => {}
        () = strangers => {}
        _ = probing => {}
    }
}
