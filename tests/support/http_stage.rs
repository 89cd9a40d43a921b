//! The proxy in this process, on loopback: the real server, use case, table and upstream. Only containers are scripted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use app::Table;
use app::proxy::Proxy;
use app::route_store::RouteStore;
use app::watcher::Watcher;
use async_trait::async_trait;
use domain::container::{Container, ContainerId};
use domain::drain::DrainPolicy;
use domain::labels::InferenceLabels;
use domain::table::{State, TableRules};
use lw_inference_proxy::adapters::http::{Bound, HttpSettings, Server};
use lw_inference_proxy::adapters::upstream::{HttpUpstream, UpstreamSettings};
use ports::container_source::ContainerSource;
use ports::telemetry::{NoTelemetry, Telemetry};
use ports::upstream::{Channel, ListModelsError, ListedModel, Target, UpstreamClient};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fake_container_source::{FakeContainerSource, container};
use super::fake_upstream::listed;
use super::raw_backend::soon;
use super::raw_client::{RawAnswer, RawClient};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The real way to backends, but for what they list: that a test says.
pub struct Known {
    lists: Mutex<HashMap<SocketAddr, Vec<ListedModel>>>,
    carries: Arc<dyn UpstreamClient>,
}

#[async_trait]
impl UpstreamClient for Known {
    async fn models(&self, target: &Target) -> Result<Vec<ListedModel>, ListModelsError> {
        self.lists.lock().unwrap().get(&target.address).cloned().ok_or(ListModelsError::ConnectionRefused)
    }

    fn open(&self, target: &Target) -> Arc<dyn Channel> {
        self.carries.open(target)
    }
}

/// How a stage differs from the defaults.
pub struct Tuning {
    pub http: HttpSettings,
    pub upstream: UpstreamSettings,
    pub rules: TableRules,
    /// In place of the real way to backends.
    pub carries: Option<Arc<dyn UpstreamClient>>,
    pub telemetry: Option<Arc<dyn Telemetry>>,
}

impl Default for Tuning {
    fn default() -> Self {
        let drain = DrainPolicy { timeout: Duration::from_secs(60), readmit_after: Duration::from_secs(300) };
        Self {
            http: HttpSettings::default(),
            // Connections are used again from the first response on, so that tests need not let a backend prove itself.
            upstream: UpstreamSettings { probation: Duration::ZERO, ..UpstreamSettings::default() },
            rules: TableRules {
                drain,
                refresh_every: Duration::from_secs(30),
                replicas: Default::default(),
                balance: Default::default(),
            },
            carries: None,
            telemetry: None,
        }
    }
}

/// The proxy and what a test holds of it.
pub struct Stage {
    pub address: SocketAddr,
    pub source: FakeContainerSource,
    pub shared: Arc<RouteStore>,
    pub known: Arc<Known>,
    pub stop_accepting: CancellationToken,
    pub abort: CancellationToken,
    all_over: CancellationToken,
    serving: Option<JoinHandle<usize>>,
}

impl Stage {
    /// One backend that serves the model `m`.
    pub async fn before(backend: SocketAddr) -> Self {
        Self::tuned(&[("m", backend)], Tuning::default()).await
    }

    /// Each backend as a container `b0`, `b1`, ... that serves its model.
    pub async fn tuned(backends: &[(&str, SocketAddr)], tuning: Tuning) -> Self {
        let carries = tuning.carries.unwrap_or_else(|| Arc::new(HttpUpstream::new(tuning.upstream).unwrap()));
        let known = Arc::new(Known { lists: Mutex::default(), carries });
        let source = FakeContainerSource::default();
        let (shared, queue) = RouteStore::new(Table::new(tuning.rules));
        let (abort, all_over, stop_accepting) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let telemetry = tuning.telemetry.unwrap_or_else(|| Arc::new(NoTelemetry));
        let sources: Vec<Arc<dyn ContainerSource>> = vec![Arc::new(source.clone())];
        let upstream: Arc<dyn UpstreamClient> = Arc::clone(&known) as _;
        let tasks = TaskTracker::new();
        let watch = Watcher::new(
            Arc::clone(&shared),
            queue,
            sources,
            upstream,
            Arc::clone(&telemetry),
            tasks.clone(),
            all_over.clone(),
        );
        tasks.spawn(watch.run());
        let bound = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.address().unwrap();
        let server = Server::new(Proxy::new(Arc::clone(&shared), telemetry), tuning.http, abort.clone());
        let serving = Some(tokio::spawn(bound.serve(server, stop_accepting.clone())));
        let stage = Self { address, source, shared, known, stop_accepting, abort, all_over, serving };
        for (number, (model, backend)) in backends.iter().enumerate() {
            stage.add(&format!("b{number}"), model, *backend).await;
        }
        stage.until("readiness", |shared| shared.is_ready()).await;
        stage
    }

    /// Has a server list these models, before the one with which it is added.
    pub fn lists(&self, backend: SocketAddr, models: impl Iterator<Item = String>) {
        self.known.lists.lock().unwrap().entry(backend).or_default().extend(models.map(|id| listed(&id)));
    }

    /// A container comes into service.
    pub async fn add(&self, id: &str, model: &str, backend: SocketAddr) -> Container {
        self.add_labelled(id, model, backend, InferenceLabels::default()).await
    }

    /// The same, with these labels but for the port.
    pub async fn add_labelled(&self, id: &str, model: &str, backend: SocketAddr, labels: InferenceLabels) -> Container {
        self.known.lists.lock().unwrap().entry(backend).or_default().push(listed(model));
        let labels = Ok(InferenceLabels { port: backend.port(), ..labels });
        let container = Container { labels, ..container(id) };
        let before = self.shared.load().table.active();
        self.source.put(container.clone());
        self.until("a backend", |shared| shared.load().table.active() > before).await;
        container
    }

    /// Waits until the table is as a test wants it.
    pub async fn until(&self, what: &str, holds: impl Fn(&RouteStore) -> bool) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        soon(what, async {
            while !holds(&self.shared) {
                look.tick().await;
            }
        })
        .await;
    }

    /// How many requests are in flight at the container.
    pub fn in_flight(&self, id: &str) -> usize {
        let published = self.shared.load();
        let models = published.table.models();
        let mut backends = models.iter().map(|(claim, _)| &claim.backend);
        backends.find(|backend| backend.container == ContainerId::new(id)).map_or(0, |backend| backend.gate.in_flight())
    }

    /// How many requests are in flight at the container, whoever serves the model first.
    pub fn in_flight_of(&self, id: &str) -> usize {
        match self.shared.load().table.entry(&ContainerId::new(id)).map(|entry| &entry.state) {
            Some(State::Ready(ready)) => ready.backend.gate.in_flight(),
            _ => 0,
        }
    }

    pub async fn client(&self) -> RawClient {
        RawClient::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> RawAnswer {
        self.client().await.ask(request).await
    }

    /// Waits for the end of the serving, and says how many connections were ended.
    pub async fn served(&mut self) -> usize {
        soon("the end of the serving", self.serving.take().unwrap()).await.unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop_accepting.cancel();
        self.abort.cancel();
        self.all_over.cancel();
    }
}
