//! The engine out of sight: away at the start, gone for a while, or reached through something that cuts connections.

use crate::scene::{Relay, SOON, Steady, engine_socket};
use engine_tests::{BOUND, Mock, ProxyProcess, not_run, require_engine, until};
use std::sync::Arc;
use std::time::{Duration, Instant};

macro_rules! require_socket {
    () => {
        match engine_socket() {
            Some(socket) => socket,
            None => return not_run("the engine is not reached through a unix socket"),
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_is_not_ready_before_it_has_seen_the_engine() {
    let engine = require_engine!();
    let socket = require_socket!();
    let model = engine.unique("awaited");
    let mock = Mock::serving("awaited", &[&model]).start_healthy(&engine).await;
    let mut relay = Relay::closed(&engine.unique("awaited"), &socket);
    let proxy = ProxyProcess::builder().env("DOCKER_HOST", relay.url()).spawn().await;
    let status = async |path: &str| proxy.get(path).await.ok().map(|answer| answer.status);
    until("it lives", BOUND, async || (status("/healthz").await == Some(200)).then_some(())).await;
    proxy.until_log_holds("there is no socket").await;
    assert_eq!(status("/readyz").await, Some(503));
    let early = proxy.chat(&model).await.unwrap();
    assert_eq!((early.status, early.json()["error"]["code"].as_str()), (503, Some("model_unavailable")));
    relay.open();
    until("it is ready", BOUND, async || (status("/readyz").await == Some(200)).then_some(())).await;
    proxy.until_answered_by(&model, mock.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_engine_is_away_what_is_known_is_served_and_what_changed_is_seen_after() {
    let engine = require_engine!();
    let socket = require_socket!();
    let (stays, goes, comes) = (engine.unique("stays"), engine.unique("goes"), engine.unique("comes"));
    let mut relay = Relay::closed(&engine.unique("away"), &socket);
    relay.open();
    let proxy = ProxyProcess::builder().env("DOCKER_HOST", relay.url()).start().await;
    let staying = Mock::serving("stays", &[&stays]).start(&engine).await;
    let going = Mock::serving("goes", &[&goes]).start(&engine).await;
    proxy.until_listed(&stays).await;
    proxy.until_listed(&goes).await;
    relay.close().await;
    proxy.until_log_holds("containers are out of sight").await;
    let steady = Steady::begin(&proxy, &stays);
    going.remove().await;
    let coming = Mock::serving("comes", &[&comes]).start_healthy(&engine).await;
    steady.more(10).await;
    assert_eq!(proxy.get("/readyz").await.unwrap().status, 200, "it still serves");
    relay.open();
    proxy.until_answered_by(&comes, coming.name()).await;
    proxy.until_unlisted(&goes).await;
    let seen = steady.end_without_a_failure().await;
    assert!(seen.iter().all(|one| one.mock == staying.name()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_is_cut_every_second_loses_nothing() {
    let engine = require_engine!();
    let socket = require_socket!();
    let stays = engine.unique("cut-stays");
    let mut relay = Relay::closed(&engine.unique("cut"), &socket);
    relay.open();
    let relay = Arc::new(relay);
    let proxy = ProxyProcess::builder().env("DOCKER_HOST", relay.url()).start().await;
    let cutter = tokio::spawn({
        let relay = Arc::clone(&relay);
        async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                relay.cut().await;
            }
        }
    });
    let _staying = Mock::serving("cut-stays", &[&stays]).start(&engine).await;
    proxy.until_listed(&stays).await;
    let steady = Steady::begin(&proxy, &stays);
    for _ in 0..3 {
        let model = engine.unique("cut-passes");
        let passing = Mock::serving("cut-passes", &[&model]).start_healthy(&engine).await;
        let healthy = Instant::now();
        proxy.until_listed(&model).await;
        assert!(healthy.elapsed() < SOON, "it came only after {:?}", healthy.elapsed());
        passing.remove().await;
        let removed = Instant::now();
        proxy.until_unlisted(&model).await;
        assert!(removed.elapsed() < SOON, "it went only after {:?}", removed.elapsed());
    }
    steady.end_without_a_failure().await;
    cutter.abort();
}
