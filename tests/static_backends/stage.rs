//! The proxy in this process before scripted servers at addresses that the operator names. Nothing is a fake but the server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use app::Table;
use app::activity::ActivityBook;
use app::proxy::Proxy;
use app::route_store::RouteStore;
use app::watcher::Watcher;
use domain::backend_url::BackendUrl;
use domain::drain::DrainPolicy;
use domain::table::TableRules;
use http::HeaderValue;
use lw_inference_proxy::adapters::http::{Bound, HttpSettings, Server};
use lw_inference_proxy::adapters::static_backends::{StaticSettings, StaticSource};
use lw_inference_proxy::adapters::upstream::{BackendTls, HttpUpstream, UpstreamSettings};
use ports::telemetry::NoTelemetry;
use ports::upstream::UpstreamClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::raw_backend::{Peer, RawBackend, Signal, soon};
use crate::support::raw_client::{RawClient, post};

/// The time between two probes here.
pub const PROBE_EVERY: Duration = Duration::from_millis(40);
/// How long a probe may take here.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(120);
/// The longest drain here: what is cut at its end is seen soon.
pub const DRAIN: Duration = Duration::from_millis(600);
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub struct Stage {
    pub address: SocketAddr,
    pub shared: Arc<RouteStore>,
    stop: CancellationToken,
}

impl Stage {
    /// The URLs are given for the proxy's own address.
    pub fn start(urls: impl FnOnce(SocketAddr) -> Vec<String>) -> Self {
        Self::with_tls(None, urls)
    }

    /// The same, where `https://` backends are trusted as these settings say.
    pub fn with_tls(tls: Option<BackendTls>, urls: impl FnOnce(SocketAddr) -> Vec<String>) -> Self {
        let bound = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.address().unwrap();
        let urls = urls(address).iter().map(|url| BackendUrl::parse(url).unwrap()).collect();
        let name = HeaderValue::from_static("the proxy of this test");
        let ways = UpstreamSettings { user_agent: name.clone(), ..UpstreamSettings::default() };
        let drain = DrainPolicy { timeout: DRAIN, readmit_after: Duration::from_secs(300) };
        let (shared, queue) = RouteStore::new(Table::new(TableRules {
            drain,
            refresh_every: 2 * PROBE_EVERY,
            replicas: Default::default(),
            balance: Default::default(),
        }));
        let upstream = HttpUpstream::new(ways).unwrap();
        let upstream: Arc<dyn UpstreamClient> = Arc::new(match tls {
            Some(tls) => upstream.with_tls(tls),
            None => upstream,
        });
        let probes = StaticSettings {
            healthy_every: PROBE_EVERY,
            unhealthy_every: PROBE_EVERY,
            probe_timeout: PROBE_TIMEOUT,
            failures_until_unhealthy: 2,
        };
        let activity = Arc::<ActivityBook>::default();
        let source = StaticSource::new(urls, Arc::clone(&upstream), probes);
        let source = Arc::new(source.with_activity(Arc::clone(&activity) as _));
        let (telemetry, stop) = (Arc::new(NoTelemetry), CancellationToken::new());
        let tasks = TaskTracker::new();
        let watch = Watcher::new(
            Arc::clone(&shared),
            queue,
            vec![source],
            upstream,
            Arc::clone(&telemetry) as _,
            tasks.clone(),
            stop.clone(),
        )
        .with_activity(Arc::clone(&activity));
        tasks.spawn(watch.run());
        let http = HttpSettings { own_user_agent: Some(name), ..HttpSettings::default() };
        let server = Server::new(Proxy::new(Arc::clone(&shared), telemetry), http, stop.clone());
        tokio::spawn(bound.serve(server, stop.clone()));
        Self { address, shared, stop }
    }

    /// The same, once `m` is served.
    pub async fn serving(backend: &RawBackend) -> Self {
        let stage = Self::start(|_| vec![format!("http://{}/v1", backend.address())]);
        stage.until("a backend", |shared| shared.load().table.active() == 1).await;
        stage
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&RouteStore) -> bool) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        soon(what, async {
            while !holds(&self.shared) {
                look.tick().await;
            }
        })
        .await;
    }

    /// Asks for an answer, and reads its first event.
    pub async fn stream(&self) -> RawClient {
        let mut client = self.begin().await;
        assert_eq!(client.head().await.unwrap().status, 200);
        client.next_chunk().await.unwrap().unwrap();
        client
    }

    /// Asks for an answer.
    pub async fn begin(&self) -> RawClient {
        let mut client = RawClient::connect(self.address).await;
        client.send(post("/v1/chat/completions", r#"{"model":"m"}"#)).await;
        client
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Lets time pass in which nothing is expected to happen.
pub async fn pass(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

/// How a server answers when it is asked for its models.
#[derive(Debug, Clone)]
pub enum List {
    /// With these bytes.
    Bytes(String),
    /// Not at all.
    Never,
    /// Not at all, and whoever streams is ended for it.
    EndsGenerations,
}

impl List {
    pub fn of(status: &str, body: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
    }

    pub fn good() -> Self {
        Self::of("200 OK", r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#)
    }
}

/// A server of the model `m`: how it lists can change, and it streams until it is told to end.
#[derive(Clone)]
pub struct Script {
    list: Arc<Mutex<List>>,
    asked: Arc<AtomicUsize>,
    /// Ends every stream in order.
    pub end: Signal,
    /// Whether streams may begin.
    pub may_begin: watch::Sender<bool>,
    interrupted: Signal,
    /// The time between two events.
    pace: Duration,
}

impl Script {
    pub fn streaming_every(pace: Duration) -> Self {
        Self {
            list: Arc::new(Mutex::new(List::good())),
            asked: Arc::default(),
            end: Signal::default(),
            may_begin: watch::Sender::new(true),
            interrupted: Signal::default(),
            pace,
        }
    }

    pub fn lists(&self, list: List) {
        *self.list.lock().unwrap() = list;
    }

    /// How often it was asked for its models.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub async fn start(&self) -> RawBackend {
        let script = self.clone();
        RawBackend::start(move |peer| script.clone().play(peer)).await
    }

    async fn play(self, mut peer: Peer) -> std::io::Result<()> {
        loop {
            let head = peer.head_unrecorded().await?;
            if head.starts_with("GET ") {
                self.asked.fetch_add(1, Ordering::SeqCst);
                let list = self.list.lock().unwrap().clone();
                match list {
                    List::Bytes(bytes) => peer.send(bytes).await?,
                    List::Never => std::future::pending().await,
                    List::EndsGenerations => {
                        self.interrupted.give();
                        std::future::pending().await
                    }
                }
                continue;
            }
            peer.rest(head).await?;
            let _ = self.may_begin.subscribe().wait_for(|may| *may).await;
            peer.send(crate::EVENTS).await?;
            loop {
                peer.send_chunk("data: {}\n\n").await?;
                tokio::select! {
                    () = self.end.until_given() => break,
                    () = self.interrupted.until_given() => break,
                    () = pass(self.pace) => {}
                }
            }
            peer.send_chunk("data: [DONE]\n\n").await?;
            peer.send("0\r\n\r\n").await?;
        }
    }
}
