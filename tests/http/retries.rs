//! When a request is sent again, and when not; whose connections are used; loops.

use std::time::Duration;

use domain::container::{ContainerId, LifecycleEvent, LostAddresses};
use domain::signal::Signal;
use lw_inference_proxy::adapters::upstream::UpstreamSettings;

use super::support::fake_container_source::container;
use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{Blackhole, RawBackend, nobody};
use super::support::raw_client::{get, post};
use super::{MODEL, OK};

#[tokio::test]
async fn rule_19_a_refused_connection_sends_the_request_to_the_next_backend() {
    let alive = RawBackend::answering(OK).await;
    // The last one to become healthy is asked first.
    let stage = Stage::tuned(&[("m", alive.address()), ("m", nobody())], Tuning::default()).await;
    let answer = stage.ask(post("/v1/x", MODEL)).await;
    assert_eq!((answer.status, alive.requests().len()), (200, 1));
    assert_eq!(alive.requests()[0].body, MODEL.as_bytes(), "the body is whole");
}

/// Why a backend leaves service.
fn leavings() -> [LifecycleEvent; 4] {
    [
        LifecycleEvent::Ended { exit_code: Some(137) },
        LifecycleEvent::Signal(Signal::TERM),
        LifecycleEvent::Unhealthy,
        LifecycleEvent::Paused,
    ]
}

#[tokio::test]
async fn rule_19_a_request_that_waits_for_a_connection_goes_elsewhere_when_its_backend_leaves() {
    for edge in leavings() {
        let (alive, hole) = (RawBackend::answering(OK).await, Blackhole::dig().await);
        let stage = Stage::tuned(&[("m", alive.address()), ("m", hole.address())], Tuning::default()).await;
        let mut client = stage.client().await;
        client.send(post("/v1/x", MODEL)).await;
        stage.until("the attempt to connect", |_| stage.in_flight("b1") == 1).await;
        let since = std::time::Instant::now();
        stage.source.edge(&ContainerId::new("b1"), edge.clone());
        assert_eq!(client.answer().await.unwrap().status, 200, "{edge:?}");
        assert!(since.elapsed() < Duration::from_secs(1), "{edge:?}: {:?}", since.elapsed());
        assert_eq!(alive.requests()[0].body, MODEL.as_bytes(), "the body is whole");
    }
}

#[tokio::test]
async fn rule_19_a_request_that_waits_for_a_connection_to_the_only_backend_is_told_to_come_again_when_that_leaves() {
    let left = LifecycleEvent::LeftNetwork(LostAddresses::All);
    for edge in leavings().into_iter().chain([left]) {
        let hole = Blackhole::dig().await;
        let stage = Stage::tuned(&[("m", hole.address())], Tuning::default()).await;
        let mut client = stage.client().await;
        client.send(post("/v1/x", MODEL)).await;
        stage.until("the attempt to connect", |_| stage.in_flight("b0") == 1).await;
        let since = std::time::Instant::now();
        stage.source.edge(&ContainerId::new("b0"), edge.clone());
        let answer = client.answer().await.unwrap();
        let expected =
            if edge == LifecycleEvent::Signal(Signal::TERM) { "model_draining" } else { "model_unavailable" };
        assert_eq!((answer.status, answer.code().as_str()), (503, expected), "{edge:?}: {answer:?}");
        assert!(answer.header("retry-after").is_some());
        // Whatever answers at that address later is not the backend.
        assert!(since.elapsed() < Duration::from_secs(1), "{edge:?}: {:?}", since.elapsed());
    }
}

#[tokio::test]
async fn rule_19_a_request_is_delivered_at_most_once() {
    let breaks = RawBackend::start(|mut peer| async move {
        peer.request().await?;
        peer.reset()
    })
    .await;
    let other = RawBackend::answering(OK).await;
    let stage = Stage::tuned(&[("m", other.address()), ("m", breaks.address())], Tuning::default()).await;
    for request in [post("/v1/x", MODEL), get("/v1/x?model=m")] {
        let answer = stage.ask(&request).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "backend_unreachable"), "{request}");
    }
    assert_eq!((breaks.requests().len(), other.requests().len()), (2, 0), "once each, and nowhere else");
}

#[tokio::test]
async fn rule_19_a_connection_that_closed_while_idle_costs_no_request() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.request().await?;
        peer.send(OK).await
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    for _ in 0..50 {
        assert_eq!(client.ask(post("/v1/x", MODEL)).await.status, 200);
    }
    assert_eq!((backend.requests().len(), backend.connections()), (50, 50));
    println!("rule 19: 50 of 50 requests went well over connections that the backend closes after each answer");
}

#[tokio::test]
async fn rule_20_no_connection_outlives_its_registration() {
    let first = RawBackend::answering(OK).await;
    let address = first.address();
    let stage = Stage::before(address).await;
    assert_eq!(stage.ask(post("/v1/x", MODEL)).await.status, 200);
    stage.source.edge(&ContainerId::new("b0"), LifecycleEvent::Ended { exit_code: Some(0) });
    stage.until("the end of it", |shared| shared.load().table.active() == 0).await;
    first.until("its connections to close", |backend| backend.open() == 0).await;
    stage.source.remove(&ContainerId::new("b0"));
    first.stop().await;
    let second = RawBackend::start_on(address, |mut peer| async move {
        loop {
            peer.request().await?;
            peer.send(OK).await?;
        }
    })
    .await;
    stage.add("b1", "m", address).await;
    assert_eq!(stage.ask(post("/v1/x", MODEL)).await.status, 200);
    assert_eq!((second.connections(), second.requests().len()), (1, 1));
    assert!(UpstreamSettings::default().idle_timeout <= Duration::from_secs(3));
}

#[tokio::test]
async fn rule_20_idle_connections_close_before_the_backend_closes_them() {
    let backend = RawBackend::answering(OK).await;
    let upstream = UpstreamSettings { idle_timeout: Duration::from_millis(200), ..UpstreamSettings::default() };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { upstream, ..Tuning::default() }).await;
    assert_eq!(stage.ask(post("/v1/x", MODEL)).await.status, 200);
    backend.until("the idle connection to close", |backend| backend.open() == 0).await;
}

#[tokio::test]
async fn rule_24_a_loop_is_noticed() {
    let alive = RawBackend::answering(OK).await;
    let stage = Stage::before(alive.address()).await;
    // A label on the proxy itself: the last one to become healthy serves, and that is the proxy.
    stage.add("itself", "m", stage.address).await;
    let started = std::time::Instant::now();
    let answer = stage.ask(post("/v1/x", MODEL)).await;
    assert_eq!((answer.status, answer.code().as_str()), (508, "loop_detected"), "{answer:?}");
    println!("rule 24: a loop ended with 508 after {:?}", started.elapsed());
    assert!(alive.requests().is_empty());
    assert_eq!(stage.ask(get("/healthz")).await.status, 200);
    stage.source.remove(&container("itself").id);
    stage.until("the proxy to be out of its own table", |shared| shared.load().table.active() == 1).await;
    assert_eq!(stage.ask(post("/v1/x", MODEL)).await.status, 200);
}
