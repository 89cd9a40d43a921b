//! The contract of [`UpstreamClient`] and its channels, as tests that every implementation passes.
//!
//! What can only be seen on a wire has its tests beside the adapter that has one.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::labels::BasePath;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use ports::upstream::{
    BodyError, BoxBody, BoxRequest, Channel, ListModelsError, RequestSlot, SendError, SendFailure, Sent, Target,
    UpstreamClient, UpstreamResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bodies::{self, get, post, read, text};
use super::fake_upstream::Reply;
use super::raw_backend::{Signal, soon};

/// What a backend answers when it is asked for its models.
#[derive(Debug, Clone, Copy)]
pub enum Listing {
    /// A list of `data`, as it stands between the brackets.
    Data(&'static str),
    /// This status.
    Status(u16),
    /// Nothing that is a list.
    NoList,
    /// Nobody listens.
    Refused,
}

/// A request as a backend saw it.
#[derive(Debug, PartialEq, Eq)]
pub struct SeenRequest {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// One client and one backend.
pub struct Scene {
    pub client: Arc<dyn UpstreamClient>,
    pub target: Target,
    pub seen: Box<dyn Fn() -> Vec<SeenRequest> + Send + Sync>,
    /// What must live as long as the scene.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Scene {
    pub fn channel(&self) -> Arc<dyn Channel> {
        self.client.open(&self.target)
    }
}

/// How an implementation gets its backends.
#[async_trait]
pub trait Rig: Send + Sync {
    /// A backend that answers its list so.
    async fn listing(&self, listing: Listing) -> Scene;
    /// A backend that does so with its requests, one after the other.
    async fn playing(&self, replies: Vec<Reply>) -> Scene;
}

/// The target of an address, with the usual base path.
pub fn target(address: SocketAddr) -> Target {
    Target { address, base_path: BasePath::default(), origin: None }
}

/// Sends and expects a response.
pub async fn respond(channel: &Arc<dyn Channel>, request: Request<BoxBody>) -> http::Response<BoxBody> {
    match send(channel, request).await {
        Ok(UpstreamResponse::Response(response)) => response,
        Ok(UpstreamResponse::Tunnel(head, _)) => panic!("a tunnel: {head:?}"),
        Err(error) => panic!("{error:?}"),
    }
}

/// Sends, and waits for what comes of it.
pub async fn send(channel: &Arc<dyn Channel>, request: Request<BoxBody>) -> Result<UpstreamResponse, SendError> {
    soon("an answer or a failure", channel.send(&RequestSlot::new(Box::new(request)))).await
}

/// A request that got no answer.
pub struct Failed {
    pub sent: Sent,
    pub failure: SendFailure,
    /// The request, where that is in its slot again.
    pub request: Option<BoxRequest>,
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.sent, self.failure)
    }
}

/// Sends and expects no answer.
pub async fn fail(channel: &Arc<dyn Channel>, request: Request<BoxBody>) -> Failed {
    let slot = RequestSlot::new(Box::new(request));
    match soon("a failure", channel.send(&slot)).await {
        Err(SendError { sent, failure }) => {
            assert_eq!(sent == Sent::NotSent, slot.is_filled(), "{failure:?}");
            Failed { sent, failure, request: slot.take() }
        }
        Ok(UpstreamResponse::Response(response)) => panic!("answered {}", response.status()),
        Ok(UpstreamResponse::Tunnel(head, _)) => panic!("a tunnel: {head:?}"),
    }
}

pub async fn models_come_in_order_each_once_and_as_written(rig: &dyn Rig) {
    let list = r#"{"id":"b", "x":1.50},{"id":"a\/z"},{"name":"no id"},{"id":"b","x":2}"#;
    let scene = rig.listing(Listing::Data(list)).await;
    let models = scene.client.models(&scene.target).await.unwrap();
    let models: Vec<_> = models.iter().map(|model| (model.id.as_str(), &*model.object)).collect();
    assert_eq!(models, [("b", r#"{"id":"b", "x":1.50}"#), ("a/z", r#"{"id":"a\/z"}"#)]);
}

pub async fn an_empty_list_is_an_error(rig: &dyn Rig) {
    let scene = rig.listing(Listing::Data("")).await;
    assert_eq!(scene.client.models(&scene.target).await, Err(ListModelsError::Empty));
}

pub async fn a_status_other_than_success_is_named(rig: &dyn Rig) {
    let scene = rig.listing(Listing::Status(503)).await;
    assert_eq!(scene.client.models(&scene.target).await, Err(ListModelsError::Status(503)));
}

pub async fn what_is_no_list_is_said_to_be_none(rig: &dyn Rig) {
    let scene = rig.listing(Listing::NoList).await;
    let answer = scene.client.models(&scene.target).await;
    assert!(matches!(answer, Err(ListModelsError::NotAList(_))), "{answer:?}");
}

pub async fn a_backend_that_refuses_connections_is_unreachable(rig: &dyn Rig) {
    let scene = rig.listing(Listing::Refused).await;
    let error = scene.client.models(&scene.target).await.unwrap_err();
    assert_eq!(error, ListModelsError::ConnectionRefused);
    assert!(error.is_unreachable());
}

pub async fn opening_a_channel_says_nothing_to_the_backend(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::Answer(StatusCode::OK, vec![], vec!["first"])]).await;
    let (unused, channel) = (scene.channel(), scene.channel());
    assert_eq!(text(respond(&channel, get("/")).await).await, "first");
    drop(unused);
    assert_eq!((scene.seen)().len(), 1);
}

pub async fn a_request_arrives_as_it_was_given(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::Answer(StatusCode::OK, vec![], vec!["ok"])]).await;
    let request = Request::post("/v1/x%2Fy//../z?q=%27'{}&&")
        .header("host", "backend:1")
        .header("x-b", "2")
        .header("x-a", "1")
        .header("content-length", 5)
        .header("authorization", "Bearer 1")
        .body(bodies::full("hello"))
        .unwrap();
    respond(&scene.channel(), request).await;
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = SeenRequest {
        method: "POST".into(),
        target: "/v1/x%2Fy//../z?q=%27'{}&&".into(),
        headers: vec![
            header("host", "backend:1"),
            header("x-b", "2"),
            header("x-a", "1"),
            header("content-length", "5"),
            header("authorization", "Bearer 1"),
        ],
        body: "hello".into(),
    };
    assert_eq!((scene.seen)(), [expected]);
}

pub async fn an_answer_comes_as_it_was_sent(rig: &dyn Rig) {
    let headers = vec![("x-one", "1"), ("set-cookie", "b=2"), ("set-cookie", "a=1")];
    let scene = rig.playing(vec![Reply::Answer(StatusCode::IM_A_TEAPOT, headers, vec!["a", "bc"])]).await;
    let answer = respond(&scene.channel(), get("/")).await;
    assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(answer.headers()["x-one"], "1");
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["b=2", "a=1"]);
    assert_eq!(text(answer).await, "abc");
}

pub async fn an_answer_that_breaks_off_fails_visibly(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::BreaksOff(vec!["some"])]).await;
    let body = read(respond(&scene.channel(), get("/")).await.into_body()).await;
    assert_eq!(body.text(), "some");
    assert!(matches!(body.error, Some(BodyError::Broken(_))), "{:?}", body.error);
}

pub async fn a_refused_request_is_not_sent_and_its_body_comes_back(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::Refused]).await;
    let error = fail(&scene.channel(), post("/", "body")).await;
    assert_eq!(error.sent, Sent::NotSent);
    assert!(matches!(error.failure, SendFailure::ConnectionRefused), "{error:?}");
    assert_eq!(read(error.request.unwrap().into_body()).await.text(), "body");
}

pub async fn a_request_is_in_its_slot_while_there_is_no_connection(rig: &dyn Rig) {
    let connects = Signal::new();
    let scene = rig.playing(vec![Reply::Connects(connects.clone(), Box::new(Reply::Refused))]).await;
    let (channel, slot) = (scene.channel(), RequestSlot::new(Box::new(post("/", "body"))));
    {
        let mut sending = pin!(channel.send(&slot));
        let polled = futures_util::poll!(sending.as_mut());
        assert!(polled.is_pending() && slot.is_filled());
    }
    // The future is gone, and the request can go elsewhere.
    let request = slot.take().unwrap();
    assert_eq!(read(request.into_body()).await.text(), "body");
    assert!((scene.seen)().is_empty());
}

pub async fn a_break_before_the_answer_may_have_been_sent(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::Breaks]).await;
    let error = fail(&scene.channel(), post("/", "body")).await;
    assert_eq!(error.sent, Sent::MaybeSent);
    assert!(matches!(error.failure, SendFailure::Broken(_)), "{error:?}");
    assert_eq!((scene.seen)().len(), 1, "it was sent again");
}

pub async fn an_answer_that_is_no_http_is_invalid(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::UnexpectedResponse]).await;
    let error = fail(&scene.channel(), post("/", "body")).await;
    assert_eq!(error.sent, Sent::MaybeSent);
    assert!(matches!(error.failure, SendFailure::InvalidResponse(_)), "{error:?}");
}

pub async fn a_request_body_that_fails_is_not_the_backends_fault(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::Answer(StatusCode::OK, vec![], vec!["ok"])]).await;
    let refused = BodyError::Rejected { code: "body_too_large", message: "too large".into() };
    let body = bodies::frames([Ok(http_body::Frame::data(Bytes::from_static(b"some"))), Err(refused.clone())]);
    let request = Request::post("/").header("host", "backend").body(body).unwrap();
    let error = fail(&scene.channel(), request).await;
    assert_eq!(error.sent, Sent::MaybeSent);
    let SendFailure::RequestBody(cause) = error.failure else { panic!("{error:?}") };
    assert_eq!(cause, refused);
}

pub async fn an_early_answer_arrives_while_the_body_is_sent(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::Early(StatusCode::PAYLOAD_TOO_LARGE, bodies::full("no"))]).await;
    let (sender, body) = bodies::channel();
    sender.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
    let request = Request::post("/").header("host", "backend").body(body).unwrap();
    let answer = respond(&scene.channel(), request).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(answer).await, "no");
    drop(sender);
}

pub async fn a_switch_of_protocols_gives_a_tunnel(rig: &dyn Rig) {
    let scene = rig.playing(vec![Reply::Switches("early")]).await;
    let request = Request::get("/v1/realtime")
        .header("host", "backend")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(bodies::empty())
        .unwrap();
    let Ok(UpstreamResponse::Tunnel(head, mut tunnel)) = send(&scene.channel(), request).await else {
        panic!("no tunnel")
    };
    assert_eq!(head.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(head.headers()["upgrade"], "websocket");
    tunnel.write_all(b"echo").await.unwrap();
    let mut bytes = [0; 9];
    soon("the echo", tunnel.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"earlyecho");
}

pub async fn a_retired_channel_still_carries(rig: &dyn Rig) {
    let reply = |text| Reply::Answer(StatusCode::OK, vec![], vec![text]);
    let scene = rig.playing(vec![reply("one"), reply("two"), reply("three")]).await;
    let channel = scene.channel();
    assert_eq!(text(respond(&channel, get("/")).await).await, "one");
    let mut running = respond(&channel, get("/")).await.into_body();
    channel.retire();
    assert_eq!(text(respond(&channel, get("/")).await).await, "three");
    let frame = soon("a frame", running.frame()).await.unwrap().unwrap();
    assert_eq!(frame.data_ref().unwrap(), "two");
}

/// The suite: one test per clause, against the backends of `$rig`.
#[macro_export]
macro_rules! upstream_client_contract {
    ($rig:expr) => {
        $crate::upstream_client_contract!(@ $rig;
            models_come_in_order_each_once_and_as_written,
            an_empty_list_is_an_error,
            a_status_other_than_success_is_named,
            what_is_no_list_is_said_to_be_none,
            a_backend_that_refuses_connections_is_unreachable,
            opening_a_channel_says_nothing_to_the_backend,
            a_request_arrives_as_it_was_given,
            an_answer_comes_as_it_was_sent,
            an_answer_that_breaks_off_fails_visibly,
            a_refused_request_is_not_sent_and_its_body_comes_back,
            a_request_is_in_its_slot_while_there_is_no_connection,
            a_break_before_the_answer_may_have_been_sent,
            an_answer_that_is_no_http_is_invalid,
            a_request_body_that_fails_is_not_the_backends_fault,
            an_early_answer_arrives_while_the_body_is_sent,
            a_switch_of_protocols_gives_a_tunnel,
            a_retired_channel_still_carries,
        );
    };
    (@ $rig:expr; $($clause:ident,)+) => {
        $(
            #[tokio::test]
            async fn $clause() {
                $crate::support::upstream_contract::$clause(&$rig).await;
            }
        )+
    };
}
