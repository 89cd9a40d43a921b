//! Docker's container source keeps the port's contract on the engine that is here, and reads what real containers do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../contracts/container_source.rs"]
mod contract;
#[path = "../../support/heard.rs"]
mod heard;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contract::Stage;
use domain::container::{Condition, Container, ContainerEvent, ContainerId, LifecycleEvent, Reach};
use domain::signal::Signal;
use engine_tests::{Engine, Mock, MockContainer, TestNetwork, require_engine};
use futures_util::StreamExt;
use heard::Heard;
use lw_inference_proxy::adapters::docker::{Address, DockerSettings, DockerSource};
use ports::container_source::{ContainerEvents, ContainerSource};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

container_source_contract!(docker_with_the_engine_here, crate::OnTheEngine);

fn not_run(_: &str, _: &str) {
    // Reaching for the engine has said so already, or failed.
}

fn settings() -> DockerSettings {
    DockerSettings::from_lookup(|name| std::env::var(name).ok()).expect("the address of the engine")
}

/// The engine is shared: shows only the containers whose names this test process made.
struct Ours(DockerSource);

impl ContainerSource for Ours {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn watch(&self) -> ContainerEvents {
        let mark = format!("-{}-", std::process::id());
        let ours = {
            let mark = mark.clone();
            move |container: &Container| container.name.contains(&mark)
        };
        Box::pin(self.0.watch().filter_map(move |event| {
            std::future::ready(match event {
                ContainerEvent::Snapshot(all) => {
                    let containers: Vec<_> = all.containers.into_iter().filter(|c| ours(c)).collect();
                    Some(ContainerEvent::Snapshot(containers.into()))
                }
                ContainerEvent::InspectionFailed(one) => {
                    one.name.contains(&mark).then_some(ContainerEvent::InspectionFailed(one))
                }
                ContainerEvent::Inspected(container) => {
                    ours(&container).then_some(ContainerEvent::Inspected(container))
                }
                other => Some(other),
            })
        }))
    }

    fn refresh(&self, id: &ContainerId) {
        self.0.refresh(id);
    }
}

/// Stands between the source and the engine, so that a test can cut them apart.
struct Relay {
    socket: PathBuf,
    open: Arc<watch::Sender<usize>>,
    running: Option<JoinHandle<()>>,
}

impl Relay {
    fn new(engine: &Engine) -> Self {
        let socket = std::env::temp_dir().join(format!("{}.sock", engine.unique("relay")));
        Self { socket, open: Arc::new(watch::Sender::new(0)), running: None }
    }

    fn connect(&mut self) {
        let new = self.socket.with_extension("new");
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new).unwrap();
        std::fs::rename(&new, &self.socket).unwrap();
        let address = settings().address().unwrap();
        let open = Arc::clone(&self.open);
        self.running = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (address, open) = (address.clone(), Arc::clone(&open));
                open.send_modify(|count| *count += 1);
                connections.spawn(async move {
                    carry(client, &address).await;
                    open.send_modify(|count| *count -= 1);
                });
            }
        }));
    }

    async fn cut(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
        self.open.send_replace(0);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Carries bytes until either side closes: an engine keeps the event stream of a client that is half gone.
async fn carry(mut client: UnixStream, address: &Address) {
    async fn between(a: &mut UnixStream, mut b: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
        let (mut from_a, mut to_a) = a.split();
        let (mut from_b, mut to_b) = tokio::io::split(&mut b);
        tokio::select! {
            _ = tokio::io::copy(&mut from_a, &mut to_b) => {}
            _ = tokio::io::copy(&mut from_b, &mut to_a) => {}
        }
    }
    match address {
        Address::Unix(path) => between(&mut client, UnixStream::connect(path).await.unwrap()).await,
        Address::Tcp(host) => between(&mut client, TcpStream::connect(host).await.unwrap()).await,
        Address::Tls(host) => panic!("the relay to {host} speaks no TLS"),
    }
}

/// The engine that is here, behind a relay.
struct OnTheEngine {
    engine: Engine,
    relay: Relay,
    containers: HashMap<ContainerId, MockContainer>,
}

impl OnTheEngine {
    fn of(&self, id: &ContainerId) -> &MockContainer {
        &self.containers[id]
    }
}

impl Stage for OnTheEngine {
    async fn set_up() -> Result<Self, String> {
        let engine = Engine::reach().await.ok_or("no engine")?;
        let mut relay = Relay::new(&engine);
        relay.connect();
        Ok(Self { engine, relay, containers: HashMap::new() })
    }

    async fn set_up_absent() -> Self {
        let engine = Engine::reach().await.expect("it was there a moment ago");
        let relay = Relay::new(&engine);
        Self { engine, relay, containers: HashMap::new() }
    }

    fn source(&self) -> Arc<dyn ContainerSource> {
        let host = format!("unix://{}", self.relay.socket.display());
        Arc::new(Ours(DockerSource::new(DockerSettings { host: Some(host), ..settings() }).unwrap()))
    }

    async fn run(&mut self, name: &str, labels: &[(&str, &str)]) -> ContainerId {
        let mut mock = Mock::serving(name, &["m"]).without_label("inference.enable");
        for (name, value) in labels {
            mock = mock.label(name, value);
        }
        let container = mock.start_healthy(&self.engine).await;
        let id = ContainerId::new(container.id());
        self.containers.insert(id.clone(), container);
        id
    }

    async fn signal(&mut self, id: &ContainerId, signal: Signal) {
        self.of(id).kill(&signal.0.to_string()).await;
    }

    async fn end(&mut self, id: &ContainerId) {
        self.of(id).kill("KILL").await;
        self.of(id).until_exited().await;
    }

    async fn start_again(&mut self, id: &ContainerId) {
        self.of(id).start().await;
    }

    async fn pause_and_resume(&mut self, id: &ContainerId) {
        self.of(id).pause().await;
        self.of(id).unpause().await;
    }

    async fn remove(&mut self, id: &ContainerId) {
        self.of(id).remove().await;
    }

    async fn lose(&mut self) {
        self.relay.cut().await;
    }

    async fn find(&mut self) {
        self.relay.connect();
    }

    async fn nothing_runs(&mut self) {
        self.relay.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }
}

/// A listener on the engine itself, after its snapshot.
async fn watched() -> Heard {
    let mut heard = Heard::new(Ours(DockerSource::new(settings()).unwrap()).watch());
    heard.snapshot().await;
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_seen_from_its_start_to_its_stop() {
    let engine = require_engine!();
    let mut heard = watched().await;
    let mock = Mock::serving("life", &["m"]).stop_signal("SIGQUIT").stop_timeout(Duration::from_secs(20));
    let mock = mock.start(&engine).await;
    let id = ContainerId::new(mock.id());
    let up = heard.until_condition(&id, Condition::Healthy).await;
    assert_eq!(up.stop_signal, Signal::QUIT);
    assert_eq!(up.stop_timeout, Some(Duration::from_secs(20)));
    let Reach::At(ips) = up.reach else { panic!("{:?}", up.reach) };
    let ip = ips.first();
    assert_eq!(format!("{ip}:8000"), mock.authority().await);
    assert!(up.health_check_took.is_some());

    mock.stop(None).await;
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Signal(Signal::QUIT), "the signal comes first");
    heard.until_condition(&id, Condition::NotRunning).await;
    let renamed = mock.rename("other").await;
    assert_eq!(
        heard.until(|e| matches!(e, ContainerEvent::Lifecycle { event: LifecycleEvent::Renamed(_), .. })).await,
        {
            let ContainerEvent::Lifecycle { at, .. } = heard.all.last().unwrap() else { unreachable!() };
            ContainerEvent::Lifecycle {
                id: id.clone(),
                at: *at,
                event: LifecycleEvent::Renamed(renamed.as_str().into()),
            }
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_health_is_told_and_its_recovery_too() {
    let engine = require_engine!();
    let mut heard = watched().await;
    let mock = Mock::serving("flapping", &["m"]).start_healthy(&engine).await;
    let id = ContainerId::new(mock.id());
    heard.until_condition(&id, Condition::Healthy).await;
    mock.get("/admin/health?fail").await.unwrap();
    let unhealthy = |e: &ContainerEvent| matches!(e, ContainerEvent::Lifecycle { id: of, event: LifecycleEvent::Unhealthy, .. } if *of == id);
    heard.until(unhealthy).await;
    heard.until_condition(&id, Condition::Unhealthy).await;
    mock.get("/admin/health?ok").await.unwrap();
    heard.until_condition(&id, Condition::Healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_out_of_memory_is_told_to_be() {
    let engine = require_engine!();
    let mut heard = watched().await;
    let mock = Mock::serving("hungry", &["m"]).memory(32 << 20).start_healthy(&engine).await;
    let id = ContainerId::new(mock.id());
    let _ = mock.get("/admin/oom").await;
    let of = |wanted: LifecycleEvent| {
        let id = id.clone();
        move |e: &ContainerEvent| matches!(e, ContainerEvent::Lifecycle { id: of, event: edge, .. } if *of == id && *edge == wanted)
    };
    heard.until(of(LifecycleEvent::OutOfMemory)).await;
    heard.until(of(LifecycleEvent::Ended { exit_code: Some(137) })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_decide_where_a_container_is_reached() {
    let engine = require_engine!();
    let network = TestNetwork::create(&engine, "reach").await;
    let mut heard = watched().await;
    let here = Mock::serving("here", &["m"]).network(&network).start_healthy(&engine).await;
    let id = ContainerId::new(here.id());
    let up = heard.until_condition(&id, Condition::Healthy).await;
    let Reach::At(ips) = up.reach else { panic!("{:?}", up.reach) };
    let ip = ips.first();
    assert_eq!(format!("{ip}:8000"), here.authority().await);

    here.disconnect(network.name()).await;
    heard.until(|e| matches!(e, ContainerEvent::Lifecycle { id: of, event: LifecycleEvent::LeftNetwork(_), .. } if *of == id)).await;
    heard
        .until(|e| matches!(e, ContainerEvent::Inspected(c) if c.id == id && matches!(c.reach, Reach::Nowhere(_))))
        .await;
    here.connect(network.name()).await;
    heard.until(|e| matches!(e, ContainerEvent::Inspected(c) if c.id == id && matches!(c.reach, Reach::At(_)))).await;

    let guest = Mock::serving("guest", &["m"])
        .env("PORT", 8001)
        .network_mode(&format!("container:{}", here.id()))
        .start_healthy(&engine)
        .await;
    let guest_id = ContainerId::new(guest.id());
    let seen = heard.until_condition(&guest_id, Condition::Healthy).await;
    let Reach::At(guest_ip) = seen.reach else { panic!("{:?}", seen.reach) };
    assert!(here.authority().await.starts_with(&guest_ip.first().to_string()));

    let alone = Mock::serving("alone", &["m"]).network_mode("none").start_healthy(&engine).await;
    let seen = heard.until_condition(&ContainerId::new(alone.id()), Condition::Healthy).await;
    let Reach::Nowhere(why) = seen.reach else { panic!("{:?}", seen.reach) };
    assert_eq!(why.theirs, ["none"]);
    for container in [&guest, &alone, &here] {
        container.remove().await;
    }
    network.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_a_health_check_says_so() {
    let engine = require_engine!();
    let mut heard = watched().await;
    let mock = Mock::serving("bare", &["m"]).no_healthcheck().start(&engine).await;
    heard.until_condition(&ContainerId::new(mock.id()), Condition::NoHealthcheck).await;
}
