//! A container source of backends at fixed addresses. No engine knows their health, so the source probes each.

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
use probe::{Probe, ProbeContext};
use refresh_requests::RefreshRequests;
pub use resolve::{Resolve, SystemResolver};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::adapters::shared::watches::Watches;

/// The capacity of the stream.
const ITEMS_WAITING: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticSettings {
    /// The interval of probes of a healthy backend.
    pub healthy_every: Duration,
    /// The interval of probes of an unhealthy backend.
    pub unhealthy_every: Duration,
    /// The timeout of a probe, name resolution included.
    pub probe_timeout: Duration,
    /// The failures in a row that make a backend unhealthy.
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

/// A source of backends on a fixed list.
///
/// A backend shows as a container, which is healthy while `GET {base}/models` returns 2xx. The source never sends
/// signals, ends, pauses or removals: a probe cannot see them.
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
    /// Creates a source of these backends, with the system's resolver. Nothing is opened yet.
    pub fn new(backends: Vec<BackendUrl>, upstream: Arc<dyn UpstreamClient>, settings: StaticSettings) -> Self {
        let (resolver, activity, began) = (Arc::new(SystemResolver), Arc::new(NoActivity), Instant::now());
        Self { backends, upstream, resolver, activity, settings, began, watches: Watches::default() }
    }

    /// Replaces the resolver.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Sets where the source sees requests in flight. A busy backend is not probed, and not ejected for being slow.
    #[must_use]
    pub fn with_activity(mut self, activity: Arc<dyn ServerActivity>) -> Self {
        self.activity = activity;
        self
    }

    /// Returns the id of a backend as a container.
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
            let context = ProbeContext {
                upstream: Arc::clone(&self.upstream),
                resolver: Arc::clone(&self.resolver),
                activity: Arc::clone(&self.activity),
            };
            Probe::new(url.clone(), context, self.settings.clone(), self.began)
        });
        self.watches.start(ITEMS_WAITING, refresh_requests, |refresh_requests, out| {
            probe_all(probes.collect(), refresh_requests, out, self.began)
        })
    }

    fn refresh(&self, id: &ContainerId) {
        self.watches.request(|requests| requests.add(id));
    }
}

/// Probes all backends for the snapshot, then each at its own interval.
async fn probe_all(
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
    let unknown_ids = async {
        loop {
            let id = refresh_requests.next_unknown().await;
            let gone = ContainerEvent::Lifecycle { id, at: probe::now(began), event: LifecycleEvent::Removed };
            if out.send(gone).await.is_err() {
                return;
            }
        }
    };
    // A failed send ends nothing here; the closing of the stream does.
    let probing = join_all(probes.into_iter().map(|probe| probe.run(&refresh_requests, &out)));
    tokio::select! {
        () = out.closed() => {}
        () = unknown_ids => {}
        _ = probing => {}
    }
}
