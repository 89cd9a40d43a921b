//! The application between mocks of its three ports, on a clock that stands still until everything waits.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::balance::Policy;
use domain::container::{Container, ContainerEvent, ContainerId, EngineTime, LifecycleEvent};
use domain::drain::DrainPolicy;
use domain::model_name::ModelName;
use domain::pool::Replicas;
use domain::table::{RoutingTable, TableRules};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use lw_inference_proxy_app::activity::ActivityBook;
use lw_inference_proxy_app::cancel::RequestCancel;
use lw_inference_proxy_app::leased_body::{LeasedBody, Relayed};
use lw_inference_proxy_app::proxy::{Proxy, ProxyError};
use lw_inference_proxy_app::request_tracker::RequestTracker;
use lw_inference_proxy_app::route_store::RouteStore;
use lw_inference_proxy_app::watcher::Watcher;
use ports::container_source::ContainerSource;
use ports::telemetry::{Outcome, RequestFinished, RequestRecord, RequestStart, TableAction, TableChange};
use ports::upstream::{BodyError, ListModelsError, ListedModel};
use testkit::container::ContainerBuilder;
use testkit::mocks::{MockChannel, MockContainerSource, MockRequestRecord, MockTelemetry, MockUpstreamClient};
use testkit::{bodies, channels};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::log;

/// How long requests in flight may take when their backend is told to stop.
pub const DRAIN: Duration = Duration::from_secs(60);
/// How long after the drain a backend that ignored its stop signal is readmitted.
pub const READMIT_AFTER: Duration = Duration::from_secs(30);
/// How often a backend in service is asked for its models.
pub const REFRESH: Duration = Duration::from_secs(300);

/// What a backend does when it is asked for its models.
pub type List = Result<Vec<&'static str>, ListModelsError>;

/// What the mocks were given, in order.
#[derive(Default)]
pub struct Heard {
    pub asked: Vec<(Duration, SocketAddr)>,
    pub inspections: Vec<ContainerId>,
    pub attempts: Vec<String>,
    pub failed: Vec<String>,
    pub finished: Vec<RequestFinished>,
    pub changes: Vec<TableChange>,
}

/// What the mocks do from now on.
#[derive(Default)]
struct Script {
    lists: HashMap<SocketAddr, List>,
    channels: HashMap<SocketAddr, VecDeque<MockChannel>>,
}

pub struct Stage {
    pub routes: Arc<RouteStore>,
    pub heard: Arc<Mutex<Heard>>,
    proxy: Arc<Proxy>,
    script: Arc<Mutex<Script>>,
    events: mpsc::UnboundedSender<ContainerEvent>,
    since: Instant,
}

/// The address of the container with this number.
pub fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 8000))
}

/// A healthy container with this number, which is its name, too.
pub fn container(number: u8) -> ContainerBuilder {
    ContainerBuilder::new(&number.to_string()).at([address(number).ip()])
}

impl Stage {
    /// Starts the application. No source has been heard yet.
    pub fn start() -> Self {
        log::listen();
        let rules = TableRules {
            drain: DrainPolicy { timeout: DRAIN, readmit_after: READMIT_AFTER },
            refresh_every: REFRESH,
            replicas: Replicas::Off,
            balance: Policy::LeastRequests,
        };
        let (routes, queue) = RouteStore::new(RoutingTable::new(rules));
        let (heard, script) = (Arc::<Mutex<Heard>>::default(), Arc::<Mutex<Script>>::default());
        let since = Instant::now();
        let telemetry = Arc::new(telemetry(&heard));
        let (events, source) = source(&heard);
        let sources: Vec<Arc<dyn ContainerSource>> = vec![Arc::new(source)];
        let upstream = Arc::new(upstream(&heard, &script, since));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let watcher =
            Watcher::new(Arc::clone(&routes), queue, sources, upstream, Arc::clone(&telemetry) as _, tasks, stop)
                .with_activity(Arc::<ActivityBook>::default());
        tokio::spawn(watcher.run());
        let proxy = Arc::new(Proxy::new(Arc::clone(&routes), telemetry));
        Self { routes, heard, proxy, script, events, since }
    }

    /// Starts it with containers 1, 2, … that list the model `m` and have these channels. The last one serves first.
    pub async fn before(channels: impl IntoIterator<Item = MockChannel>) -> Self {
        let stage = Self::start();
        stage.sees(Vec::new());
        for (channel, number) in channels.into_iter().zip(1..) {
            stage.lists(address(number), Ok(vec!["m"]));
            stage.channel(address(number), channel);
            stage.event(ContainerEvent::Inspected(container(number).build()));
            stage.settle().await;
        }
        stage
    }

    /// What a backend does from now on when it is asked for its models.
    pub fn lists(&self, address: SocketAddr, list: List) {
        self.script.lock().unwrap().lists.insert(address, list);
    }

    /// The channel of the next registration at this address.
    pub fn channel(&self, address: SocketAddr, channel: MockChannel) {
        self.script.lock().unwrap().channels.entry(address).or_default().push_back(channel);
    }

    /// The source reports all containers.
    pub fn sees(&self, containers: Vec<Container>) {
        self.event(ContainerEvent::Snapshot(containers.into()));
    }

    /// The source reports this.
    pub fn event(&self, event: ContainerEvent) {
        self.events.send(event).unwrap();
    }

    /// Something happens to a container.
    pub async fn happens(&self, number: u8, event: LifecycleEvent) {
        let id = ContainerId::new(number.to_string());
        self.event(ContainerEvent::Lifecycle { id, at: EngineTime(2), event });
        self.settle().await;
    }

    /// Lets everything happen that can happen now.
    pub async fn settle(&self) {
        self.pass(Duration::from_millis(1)).await;
    }

    /// Lets this much time pass: at once, as the clock is paused.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// How much time has passed.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Sends a request for the model `m`, as a client on a connection of its own.
    pub fn ask(&self) -> Client {
        let (proxy, cancel) = (Arc::clone(&self.proxy), Arc::new(RequestCancel::new()));
        let task = tokio::spawn(ask(proxy, Arc::clone(&cancel)));
        Client { cancel, task }
    }

    /// When the backend at this address was asked for its models.
    pub fn asked(&self, address: SocketAddr) -> Vec<Duration> {
        let heard = self.heard.lock().unwrap();
        heard.asked.iter().filter(|(_, at)| *at == address).map(|(when, _)| *when).collect()
    }

    /// The containers at which requests were tried, in order.
    pub fn attempts(&self) -> Vec<String> {
        self.heard.lock().unwrap().attempts.clone()
    }

    /// How requests ended, in order.
    pub fn outcomes(&self) -> Vec<(Outcome, Option<u16>)> {
        let heard = self.heard.lock().unwrap();
        heard.finished.iter().map(|one| (one.outcome, one.status.map(|status| status.as_u16()))).collect()
    }

    /// The changes of the table of this kind: whose, and why.
    pub fn changes(&self, action: TableAction) -> Vec<(String, String)> {
        let heard = self.heard.lock().unwrap();
        let of_it = heard.changes.iter().filter(|change| change.action == action);
        of_it.map(|change| (change.container.clone(), change.reason.clone())).collect()
    }
}

/// A request on its way.
pub struct Client {
    pub cancel: Arc<RequestCancel>,
    task: JoinHandle<Result<http::Response<LeasedBody>, ProxyError>>,
}

impl Client {
    /// The head of the response, or why there is none.
    pub async fn response(self) -> Result<Received, ProxyError> {
        let response = self.task.await.unwrap()?;
        Ok(Received { status: response.status(), body: response.into_body(), cancel: self.cancel })
    }

    /// Whether there is neither a response nor an error yet.
    pub fn is_waiting(&self) -> bool {
        !self.task.is_finished()
    }

    /// Leaves before there was a response.
    pub fn leave(self) {
        self.task.abort();
    }
}

/// A response whose body is still to be read. Dropped, the client has left.
pub struct Received {
    pub status: StatusCode,
    body: LeasedBody,
    cancel: Arc<RequestCancel>,
}

impl Received {
    /// The next bytes of the body; `None` at its end.
    pub async fn read(&mut self) -> Option<Result<String, BodyError>> {
        let frame = driven(&self.cancel, self.body.frame()).await?;
        Some(frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()))
    }
}

/// Plays the part of the http side, which answers errors by itself.
async fn ask(proxy: Arc<Proxy>, cancel: Arc<RequestCancel>) -> Result<http::Response<LeasedBody>, ProxyError> {
    let headers = HeaderMap::new();
    let start = RequestStart {
        method: &Method::POST,
        path: "/v1/x",
        headers: &headers,
        request_id: "id",
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
    };
    let mut tracker = RequestTracker::begin(proxy.telemetry(), &start);
    let request = Request::post("/v1/x").body(bodies::text("{}")).unwrap();
    let model = ModelName::parse("m").unwrap();
    let forwarded = proxy.forward(&model, None, Box::new(request), &cancel, &mut tracker);
    match driven(&cancel, forwarded).await {
        Ok(forwarded) => match forwarded.track(tracker) {
            Relayed::Response(response) => Ok(response),
            Relayed::Tunnel(..) => unreachable!("no channel here switches protocols"),
        },
        Err(error) => {
            tracker.answered_locally(StatusCode::SERVICE_UNAVAILABLE);
            Err(error)
        }
    }
}

/// Drives a future as the task of a connection does, which a cancel wakes.
async fn driven<T>(cancel: &RequestCancel, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        cancel.register(cx.waker());
        future.as_mut().poll(cx)
    })
    .await
}

fn source(heard: &Arc<Mutex<Heard>>) -> (mpsc::UnboundedSender<ContainerEvent>, MockContainerSource) {
    let (events, mut reports) = mpsc::unbounded_channel();
    let (mut source, heard) = (MockContainerSource::new(), Arc::clone(heard));
    source.expect_name().return_const("mock".to_owned());
    source
        .expect_watch()
        .times(1)
        .return_once(move || Box::pin(futures_util::stream::poll_fn(move |cx| reports.poll_recv(cx))));
    source.expect_refresh().returning(move |id| heard.lock().unwrap().inspections.push(id.clone()));
    (events, source)
}

fn upstream(heard: &Arc<Mutex<Heard>>, script: &Arc<Mutex<Script>>, since: Instant) -> MockUpstreamClient {
    let mut upstream = MockUpstreamClient::new();
    let (heard, lists, channels) = (Arc::clone(heard), Arc::clone(script), Arc::clone(script));
    upstream.expect_models().returning(move |target| {
        heard.lock().unwrap().asked.push((since.elapsed(), target.address));
        let lists = lists.lock().unwrap();
        let list = lists.lists.get(&target.address).cloned().unwrap_or(Err(ListModelsError::ConnectionRefused));
        list.map(|ids| ids.into_iter().map(|id| ListedModel { id: id.to_owned(), object: Arc::from("{}") }).collect())
    });
    upstream.expect_open().returning(move |target| {
        let mut script = channels.lock().unwrap();
        let next = script.channels.get_mut(&target.address).and_then(VecDeque::pop_front);
        Arc::new(next.unwrap_or_else(channels::refusing))
    });
    upstream
}

fn telemetry(heard: &Arc<Mutex<Heard>>) -> MockTelemetry {
    let mut telemetry = MockTelemetry::new();
    let (requests, changes) = (Arc::clone(heard), Arc::clone(heard));
    telemetry.expect_request().returning(move |_| Some(record(&requests)));
    telemetry.expect_table_changed().returning(move |change| changes.lock().unwrap().changes.push(change.clone()));
    telemetry.expect_backends_active().return_const(());
    telemetry
}

fn record(heard: &Arc<Mutex<Heard>>) -> Box<dyn RequestRecord> {
    let mut record = MockRequestRecord::new();
    let (attempts, failed, finished) = (Arc::clone(heard), Arc::clone(heard), Arc::clone(heard));
    record
        .expect_attempt()
        .returning(move |attempt, _| attempts.lock().unwrap().attempts.push(attempt.container.to_owned()));
    record.expect_attempt_failed().returning(move |why| failed.lock().unwrap().failed.push(why.to_owned()));
    record.expect_first_byte().times(..=1).return_const(());
    record.expect_trace_ids().returning(|| None);
    record.expect_finish().times(1).returning(move |end| finished.lock().unwrap().finished.push(end.clone()));
    Box::new(record)
}
