//! A Docker engine of our own on a unix socket: scripted containers, their events, and every way to misbehave.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lw_inference_proxy::adapters::docker::{DockerSettings, OwnAddress};
use lw_inference_proxy::domain::container::ContainerId;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// How the engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Never.
    Hangs,
    /// With a page of another program.
    Rubbish,
    /// With JSON of another shape.
    OddJson,
    /// With a status of 500.
    Fails,
}

/// One of its containers.
#[derive(Debug, Clone)]
pub struct FakeContainer {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub status: String,
    pub running: bool,
    pub health: Option<String>,
    pub started_at: u64,
    pub ip: String,
    pub network: String,
    pub network_mode: String,
    pub stop_signal: String,
    pub gateway: String,
}

#[derive(Default)]
struct Inner {
    containers: BTreeMap<String, FakeContainer>,
    log: Vec<(u64, String)>,
    listeners: Vec<mpsc::UnboundedSender<Bytes>>,
    mood: Option<Mood>,
    list_mood: Option<Mood>,
    inspect_mood: HashMap<String, Mood>,
    list_answer: Option<String>,
    list_delay: Duration,
    inspect_delay: Duration,
    held: HashMap<String, Arc<Notify>>,
    podman: bool,
    headless_events: bool,
    inspects: HashMap<String, usize>,
    inspects_now: usize,
    inspects_peak: usize,
    lists: usize,
    subscriptions: Vec<Option<String>>,
    connections: usize,
    serial: u64,
    clock: u64,
}

/// The engine. It ends when it is dropped.
pub struct FakeEngine {
    folder: PathBuf,
    inner: Arc<Mutex<Inner>>,
    server: Option<JoinHandle<()>>,
    open: Arc<tokio::sync::watch::Sender<usize>>,
}

static FOLDERS: AtomicU64 = AtomicU64::new(0);

impl FakeEngine {
    /// An engine that runs.
    pub fn start() -> Self {
        let mut engine = Self::absent();
        engine.come_up();
        engine
    }

    /// An engine that is not there yet: not even its socket file.
    pub fn absent() -> Self {
        let unique = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fake-engine-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let open = Arc::new(tokio::sync::watch::Sender::new(0));
        Self { folder, inner: Arc::default(), server: None, open }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Settings for it with short periods, for a proxy on the network 10.1.0.0/16.
    pub fn settings(&self) -> DockerSettings {
        DockerSettings {
            host: Some(format!("unix://{}", self.socket().display())),
            request_timeout: Duration::from_millis(300),
            check_every: Duration::from_millis(200),
            settle: Duration::from_millis(100),
            podman_check_every: Duration::from_millis(50),
            retry_first: Duration::from_millis(10),
            retry_max: Duration::from_millis(100),
            own_addresses: Some(vec![OwnAddress { ip: "10.1.255.254".parse().unwrap(), prefix: 16 }]),
            ..DockerSettings::default()
        }
    }

    /// Begins to listen, on a new socket file.
    pub fn come_up(&mut self) {
        // Put in place when it listens already, so that nobody finds a file without a listener.
        let new = self.folder.join("new.sock");
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new).unwrap();
        std::fs::rename(&new, self.socket()).unwrap();
        let inner = Arc::clone(&self.inner);
        let open = Arc::clone(&self.open);
        self.server = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                inner.lock().unwrap().connections += 1;
                let inner = Arc::clone(&inner);
                let guard = Open::new(&open);
                connections.spawn(async move {
                    let _guard = guard;
                    let service = service_fn(move |request| answer(Arc::clone(&inner), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        }));
    }

    /// Ends: every connection is cut, and nobody listens on the socket file, which stays.
    pub async fn go_down(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
        self.inner.lock().unwrap().listeners.clear();
    }

    /// Cuts the event streams and nothing else.
    pub fn cut_events(&self) {
        self.inner.lock().unwrap().listeners.clear();
    }

    pub fn mood(&self, mood: Mood) {
        self.inner.lock().unwrap().mood = Some(mood);
    }

    pub fn list_mood(&self, mood: Mood) {
        self.inner.lock().unwrap().list_mood = Some(mood);
    }

    pub fn inspect_mood(&self, id: &ContainerId, mood: Mood) {
        self.inner.lock().unwrap().inspect_mood.insert(id.as_str().to_owned(), mood);
    }

    /// What the list is, whatever containers there are.
    pub fn list_answer(&self, answer: Option<&str>) {
        self.inner.lock().unwrap().list_answer = answer.map(str::to_owned);
    }

    pub fn inspects_take(&self, delay: Duration) {
        self.inner.lock().unwrap().inspect_delay = delay;
    }

    pub fn lists_take(&self, delay: Duration) {
        self.inner.lock().unwrap().list_delay = delay;
    }

    /// Inspects of this container read its state at once, and answer when the gate is opened.
    pub fn hold_inspects(&self, id: &ContainerId) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        self.inner.lock().unwrap().held.insert(id.as_str().to_owned(), Arc::clone(&gate));
        gate
    }

    pub fn release(&self, id: &ContainerId) {
        if let Some(gate) = self.inner.lock().unwrap().held.remove(id.as_str()) {
            gate.notify_waiters();
            gate.notify_one();
        }
    }

    pub fn be_podman(&self) {
        self.inner.lock().unwrap().podman = true;
    }

    /// Events get no head before the first of them, as with Podman 5.2.
    pub fn headless_events(&self) {
        self.inner.lock().unwrap().headless_events = true;
    }

    pub fn inspects_of(&self, id: &ContainerId) -> usize {
        self.inner.lock().unwrap().inspects.get(id.as_str()).copied().unwrap_or(0)
    }

    pub fn inspects(&self) -> usize {
        self.inner.lock().unwrap().inspects.values().sum()
    }

    pub fn inspects_peak(&self) -> usize {
        self.inner.lock().unwrap().inspects_peak
    }

    pub fn lists(&self) -> usize {
        self.inner.lock().unwrap().lists
    }

    pub fn listeners(&self) -> usize {
        let mut inner = self.inner.lock().unwrap();
        inner.listeners.retain(|listener| !listener.is_closed());
        inner.listeners.len()
    }

    pub fn connections(&self) -> usize {
        self.inner.lock().unwrap().connections
    }

    /// The `since` of each subscription.
    pub fn subscriptions(&self) -> Vec<Option<String>> {
        self.inner.lock().unwrap().subscriptions.clone()
    }

    /// Waits until no client is connected.
    pub async fn deserted(&self) {
        self.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }

    /// A time on its clock, later than every one before.
    pub fn now(&self) -> u64 {
        self.inner.lock().unwrap().tick()
    }

    /// Adds a container that runs, silently.
    pub fn add(&self, name: &str, labels: &[(&str, &str)], health: Option<&str>) -> ContainerId {
        let mut inner = self.inner.lock().unwrap();
        inner.serial += 1;
        let serial = inner.serial;
        let started_at = inner.tick();
        let container = FakeContainer {
            id: format!("{serial:064x}"),
            name: name.to_owned(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            status: "running".to_owned(),
            running: true,
            health: health.map(str::to_owned),
            started_at,
            ip: format!("10.1.{}.{}", serial / 250, serial % 250 + 1),
            network: "net".to_owned(),
            network_mode: "net".to_owned(),
            stop_signal: String::new(),
            gateway: "10.1.0.1".to_owned(),
        };
        let id = ContainerId::new(container.id.as_str());
        inner.containers.insert(container.id.clone(), container);
        id
    }

    /// Changes a container, silently.
    pub fn change(&self, id: &ContainerId, change: impl FnOnce(&mut FakeContainer)) {
        change(self.inner.lock().unwrap().containers.get_mut(id.as_str()).expect("the container exists"));
    }

    /// Takes a container away, silently.
    pub fn take_away(&self, id: &ContainerId) -> FakeContainer {
        self.inner.lock().unwrap().containers.remove(id.as_str()).expect("the container exists")
    }

    /// Sends an event about a container, at the engine's present time.
    pub fn event(&self, id: &ContainerId, action: &str, attributes: &[(&str, &str)]) -> u64 {
        let at = self.now();
        self.event_at(at, id, action, attributes);
        at
    }

    /// Sends an event with a time of its own.
    pub fn event_at(&self, at: u64, id: &ContainerId, action: &str, attributes: &[(&str, &str)]) {
        let mut inner = self.inner.lock().unwrap();
        let container = inner.containers.get(id.as_str());
        let mut all: BTreeMap<String, String> = container.map(|c| c.labels.clone()).unwrap_or_default();
        all.insert("name".to_owned(), container.map(|c| c.name.clone()).unwrap_or_default());
        all.extend(attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        inner.send(
            at,
            json!({"Type": "container", "Action": action, "Actor": {"ID": id.as_str(), "Attributes": all}, "scope": "local"}),
        );
    }

    pub fn network_event(&self, id: &ContainerId, action: &str) {
        let mut inner = self.inner.lock().unwrap();
        let at = inner.tick();
        let attributes = json!({"container": id.as_str(), "name": "net", "type": "bridge"});
        inner.send(at, json!({"Type": "network", "Action": action, "Actor": {"ID": "n1", "Attributes": attributes}}));
    }

    /// Sends any line.
    pub fn line(&self, line: &str) {
        self.inner.lock().unwrap().send_line(0, line);
    }

    /// `docker run`: created, started, and healthy at once where it has a health check.
    pub fn run(&self, name: &str, labels: &[(&str, &str)], health: Option<&str>) -> ContainerId {
        let id = self.add(name, labels, health);
        self.event(&id, "start", &[]);
        if let Some(health) = health.filter(|health| *health != "starting") {
            self.event(&id, &format!("health_status: {health}"), &[]);
        }
        id
    }

    /// `docker run --network host` of a server that listens on this port of the machine.
    pub fn run_here(&self, name: &str, port: u16) -> ContainerId {
        let port = port.to_string();
        let id = self.add(name, &[("inference.enable", "true"), ("inference.port", &*port)], Some("healthy"));
        self.change(&id, |container| {
            container.network_mode = "host".to_owned();
            container.gateway = own_address().unwrap_or_else(|| container.gateway.clone());
        });
        self.event(&id, "start", &[]);
        self.event(&id, "health_status: healthy", &[]);
        id
    }

    /// The process ends and says so: the state first, then the event.
    pub fn die(&self, id: &ContainerId, exit_code: i64) {
        self.change(id, |c| {
            c.status = "exited".to_owned();
            c.running = false;
            c.health = c.health.as_ref().map(|_| "unhealthy".to_owned());
            c.ip = String::new();
        });
        self.event(id, "die", &[("exitCode", &exit_code.to_string())]);
    }

    /// A stopped container starts again, on another address.
    pub fn start_again(&self, id: &ContainerId) {
        let at = self.now();
        self.change(id, |c| {
            c.status = "running".to_owned();
            c.running = true;
            c.health = c.health.as_ref().map(|_| "healthy".to_owned());
            c.ip = format!("10.1.200.{}", at % 250 + 1);
            c.started_at = at;
        });
        self.event(id, "start", &[]);
    }

    /// `docker rm`.
    pub fn remove(&self, id: &ContainerId) {
        let labels = self.take_away(id).labels;
        let labels: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        self.event(id, "destroy", &labels);
    }

    pub fn health_of(&self, id: &ContainerId) -> String {
        self.inner.lock().unwrap().containers[id.as_str()].health.clone().unwrap_or_default()
    }

    pub fn health(&self, id: &ContainerId, health: &str) {
        self.change(id, |c| c.health = Some(health.to_owned()));
        self.event(id, &format!("health_status: {health}"), &[]);
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One of this machine's addresses: as the gateway of a container's network it tells the proxy that it is on the host.
fn own_address() -> Option<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let own = interfaces.iter().map(if_addrs::Interface::ip).find(|ip| ip.is_ipv4() && !ip.is_loopback());
    own.map(|ip| ip.to_string())
}

/// Counts a connection for as long as it lives.
struct Open(Arc<tokio::sync::watch::Sender<usize>>);

impl Open {
    fn new(open: &Arc<tokio::sync::watch::Sender<usize>>) -> Self {
        open.send_modify(|count| *count += 1);
        Self(Arc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        #[allow(clippy::disallowed_methods, reason = "an engine has a wall clock")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        self.clock = now.max(self.clock + 1);
        self.clock
    }

    fn send(&mut self, at: u64, mut event: Value) {
        event["time"] = json!(at / 1_000_000_000);
        event["timeNano"] = json!(at);
        self.send_line(at, &event.to_string());
    }

    fn send_line(&mut self, at: u64, line: &str) {
        let line = format!("{line}\n");
        self.log.push((at, line.clone()));
        self.listeners.retain(|listener| listener.send(Bytes::from(line.clone())).is_ok());
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn plain(status: StatusCode, text: String) -> Answer {
    Response::builder()
        .status(status)
        .header("server", "Docker/fake (linux)")
        .body(Full::new(Bytes::from(text)).boxed())
        .unwrap()
}

async fn in_mood(mood: Option<Mood>) -> Option<Answer> {
    match mood.unwrap_or(Mood::Well) {
        Mood::Well => None,
        Mood::Hangs => std::future::pending().await,
        Mood::Rubbish => Some(plain(StatusCode::OK, "<html>welcome</html>".to_owned())),
        Mood::OddJson => Some(plain(StatusCode::OK, "{\"message\":{}}".to_owned())),
        Mood::Fails => Some(plain(StatusCode::INTERNAL_SERVER_ERROR, "{\"message\":\"it hurts\"}".to_owned())),
    }
}

async fn answer(inner: Arc<Mutex<Inner>>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let mood = inner.lock().unwrap().mood;
    if let Some(answer) = in_mood(mood).await {
        return Ok(answer);
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    Ok(match path.as_str() {
        "/_ping" => {
            let podman = inner.lock().unwrap().podman;
            let mut answer = plain(StatusCode::OK, "OK".to_owned());
            if podman {
                answer.headers_mut().insert("libpod-api-version", "5.8.6".parse().unwrap());
            }
            answer
        }
        "/version" => plain(StatusCode::OK, json!({"Version": "99.9", "ApiVersion": "1.99"}).to_string()),
        "/events" => events(&inner, &query).await,
        "/containers/json" => list(&inner, &query).await,
        _ => match path.strip_prefix("/containers/").and_then(|rest| rest.strip_suffix("/json")) {
            Some(id) => inspect(&inner, id).await,
            None => plain(StatusCode::NOT_FOUND, json!({"message": "page not found"}).to_string()),
        },
    })
}

async fn events(inner: &Mutex<Inner>, query: &str) -> Answer {
    let since = query.split('&').find_map(|pair| pair.strip_prefix("since=")).map(str::to_owned);
    let (sender, receiver) = mpsc::unbounded_channel();
    let headless = {
        let mut inner = inner.lock().unwrap();
        if let Some(since) = &since {
            let (seconds, nanos) = since.split_once('.').expect("since has nanoseconds");
            let from = seconds.parse::<u64>().unwrap() * 1_000_000_000 + nanos.parse::<u64>().unwrap();
            let remembered = inner.log.len().saturating_sub(256);
            for (_, line) in inner.log[remembered..].iter().filter(|(at, _)| *at >= from) {
                sender.send(Bytes::from(line.clone())).unwrap();
            }
        }
        inner.subscriptions.push(since);
        inner.listeners.push(sender);
        inner.headless_events
    };
    let mut lines = Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|line| (line, receiver))
    }))
    .peekable();
    if headless {
        std::pin::Pin::new(&mut lines).peek().await;
    }
    let body = StreamBody::new(lines.map(|line| Ok::<_, Infallible>(Frame::data(line))));
    Response::new(BodyExt::boxed(SyncBody(Mutex::new(Box::pin(body)))))
}

/// Makes a body that is only `Send` shareable, as `BoxBody` wants it.
struct SyncBody<B>(Mutex<std::pin::Pin<Box<B>>>);

impl<B: hyper::body::Body> hyper::body::Body for SyncBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.0.lock().unwrap().as_mut().poll_frame(cx)
    }
}

async fn list(inner: &Mutex<Inner>, query: &str) -> Answer {
    let (mood, delay) = {
        let mut inner = inner.lock().unwrap();
        inner.lists += 1;
        (inner.list_mood, inner.list_delay)
    };
    if let Some(answer) = in_mood(mood).await {
        return answer;
    }
    assert!(query.contains("all=1"), "{query}");
    assert!(query.contains("inference.enable%3Dtrue"), "{query}");
    let answer = {
        let inner = inner.lock().unwrap();
        inner.list_answer.clone().unwrap_or_else(|| {
            let opted_in =
                inner.containers.values().filter(|c| c.labels.get("inference.enable").is_some_and(|v| v == "true"));
            Value::from(opted_in.map(summary).collect::<Vec<_>>()).to_string()
        })
    };
    tokio::time::sleep(delay).await;
    plain(StatusCode::OK, answer)
}

async fn inspect(inner: &Mutex<Inner>, id: &str) -> Answer {
    let (mood, delay, gate, answer) = {
        let mut inner = inner.lock().unwrap();
        *inner.inspects.entry(id.to_owned()).or_default() += 1;
        inner.inspects_now += 1;
        inner.inspects_peak = inner.inspects_peak.max(inner.inspects_now);
        let answer = match inner.containers.get(id) {
            Some(container) => plain(StatusCode::OK, inspected(container).to_string()),
            None => plain(StatusCode::NOT_FOUND, json!({"message": format!("No such container: {id}")}).to_string()),
        };
        (inner.inspect_mood.get(id).copied(), inner.inspect_delay, inner.held.get(id).cloned(), answer)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if let Some(gate) = gate {
        gate.notified().await;
    }
    inner.lock().unwrap().inspects_now -= 1;
    in_mood(mood).await.unwrap_or(answer)
}

fn summary(c: &FakeContainer) -> Value {
    let health = c.health.as_ref().filter(|_| c.running).map(|h| match h.as_str() {
        "starting" => " (health: starting)".to_owned(),
        other => format!(" ({other})"),
    });
    let status = match c.running {
        true => format!("Up {} seconds{}", c.started_at % 60, health.unwrap_or_default()),
        false => "Exited (0) 3 seconds ago".to_owned(),
    };
    json!({"Id": c.id, "Names": [format!("/{}", c.name)], "State": c.status, "Status": status, "Labels": c.labels,
        "NetworkSettings": {"Networks": {c.network.clone(): {"IPAddress": c.ip, "IPPrefixLen": 16}}}})
}

fn inspected(c: &FakeContainer) -> Value {
    let seconds = c.started_at / 1_000_000_000;
    let started = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    let mut state = json!({"Status": c.status, "Running": c.running, "Paused": c.status == "paused",
        "Restarting": c.status == "restarting", "StartedAt": rfc3339(&started, c.started_at % 1_000_000_000)});
    if let Some(health) = &c.health {
        state["Health"] = json!({"Status": health, "FailingStreak": 0, "Log": [{"Output": "fine\n"}]});
    }
    json!({"Id": c.id, "Name": format!("/{}", c.name), "State": state,
        "Config": {"Labels": c.labels, "StopSignal": c.stop_signal, "Env": ["SECRET=canary"]},
        "HostConfig": {"NetworkMode": c.network_mode, "RestartPolicy": {"Name": "a-policy-of-the-future"}},
        "NetworkSettings": {"Networks": {c.network.clone(): {"IPAddress": c.ip, "IPPrefixLen": 16, "Gateway": c.gateway}}}})
}

/// `Sun, 22 Nov 2026 13:20:15 GMT` and nanoseconds, as `2026-11-22T13:20:15.000000007Z`.
fn rfc3339(http_date: &str, nanos: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<_> = http_date.split(' ').collect();
    let month = MONTHS.iter().position(|month| *month == words[2]).unwrap() + 1;
    format!("{}-{month:02}-{}T{}.{nanos:09}Z", words[3], words[1], words[4])
}
