//! Faults of the proxy itself: a panic in one request, too many connections.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use lw_inference_proxy::adapters::http::HttpSettings;
use ports::upstream::{
    BodyError, BoxBody, Channel, ListModelsError, ListedModel, RequestSlot, SendError, Target, UpstreamClient,
    UpstreamResponse,
};

use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, nobody};
use super::support::raw_client::{End, RawClient, get, post};
use super::{MODEL, OK};

/// A way to backends with a defect: it panics.
struct Panics {
    in_the_body: bool,
}

struct Body3(u8);

impl Body for Body3 {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0 += 1;
        assert!(self.0 < 3, "a defect on purpose");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
    }
}

#[async_trait]
impl UpstreamClient for Panics {
    async fn models(&self, _: &Target) -> Result<Vec<ListedModel>, ListModelsError> {
        Err(ListModelsError::Empty)
    }

    fn open(&self, _: &Target) -> Arc<dyn Channel> {
        Arc::new(Panics { in_the_body: self.in_the_body })
    }
}

#[async_trait]
impl Channel for Panics {
    async fn send(&self, slot: &RequestSlot) -> Result<UpstreamResponse, SendError> {
        let request = slot.take().unwrap();
        assert!(!request.uri().path().ends_with("/bad") || self.in_the_body, "a defect on purpose");
        Ok(UpstreamResponse::Response(http::Response::new(
            Box::pin(Body3(if self.in_the_body { 0 } else { 3 })) as BoxBody
        )))
    }

    fn retire(&self) {}
}

#[tokio::test]
async fn rule_26_a_panic_is_a_500_for_its_request_alone() {
    let carries: Arc<dyn UpstreamClient> = Arc::new(Panics { in_the_body: false });
    let tuning = Tuning { carries: Some(carries), ..Tuning::default() };
    let address = nobody();
    let stage = Stage::tuned(&[("m", address)], tuning).await;
    for _ in 0..10 {
        let answer = stage.ask(post("/v1/bad", MODEL)).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "internal_error"), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(!answer.text().contains("on purpose"));
    }
    assert_eq!(stage.in_flight("b0"), 0, "its place in flight was given back");
    assert_eq!(stage.ask(get("/v1/models")).await.status, 200);
}

#[tokio::test]
async fn rule_26_a_panic_in_the_middle_of_an_answer_breaks_that_answer_alone() {
    let carries: Arc<dyn UpstreamClient> = Arc::new(Panics { in_the_body: true });
    let stage = Stage::tuned(&[("m", nobody())], Tuning { carries: Some(carries), ..Tuning::default() }).await;
    let mut other = stage.client().await;
    assert_eq!(other.ask(get("/healthz")).await.status, 200);
    let mut client = stage.client().await;
    client.send(post("/v1/x", MODEL)).await;
    if let Some(answer) = client.answer().await {
        assert_ne!(answer.end, End::Complete, "never a clean end");
    }
    assert!(other.still_open().await);
    stage.until("its place in flight to be given back", |_| stage.in_flight("b0") == 0).await;
}

#[tokio::test]
async fn rule_26_connections_over_the_bound_are_told_503() {
    let backend = RawBackend::answering(OK).await;
    let http = HttpSettings { max_connections: 4, ..HttpSettings::default() };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await;
    let mut inside: Vec<RawClient> = Vec::new();
    for _ in 0..4 {
        let mut client = stage.client().await;
        assert_eq!(client.ask(get("/healthz")).await.status, 200);
        inside.push(client);
    }
    for _ in 0..20 {
        // The request is on its way before the proxy can turn the connection away: it must not be reset unread.
        let mut over = stage.client().await;
        let _ = over.try_send(post("/v1/x", MODEL)).await;
        let answer = over.answer().await.expect("a word, not a reset");
        assert_eq!(
            (answer.status, answer.code().as_str(), answer.end),
            (503, "overloaded", End::Complete),
            "{answer:?}"
        );
        over.ended().await;
    }
    assert_eq!(inside[0].ask(post("/v1/x", MODEL)).await.status, 200, "those inside go on");
    drop(inside.pop());
    super::support::raw_backend::soon("a place", async { while stage.ask(get("/healthz")).await.status != 200 {} })
        .await;
}

#[tokio::test]
async fn rule_26_tunnels_count_as_connections() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.head().await?;
        peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
        peer.ended().await;
        Ok(())
    })
    .await;
    let http = HttpSettings { max_connections: 2, ..HttpSettings::default() };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await;
    let mut tunnels = Vec::new();
    for _ in 0..2 {
        let mut client = stage.client().await;
        client
            .send("GET /v1/realtime?model=m HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            .await;
        assert_eq!(client.head().await.unwrap().status, 101);
        tunnels.push(client);
    }
    let over = stage.client().await.answer().await.expect("a word");
    assert_eq!((over.status, over.code().as_str()), (503, "overloaded"));
    assert!(over.header("date").is_some(), "{over:?}");
}
