//! The engine is stopped, killed and started again under a proxy that serves. Each test has an engine of its own.

use crate::scene::{Steady, Stream, until_refused};
use crate::second_engine::SecondEngine;
use engine_tests::Engine;
use engine_tests::{BOUND, Mock, MockContainer, ProxyProcess, require_engine, until};
use std::time::Duration;

macro_rules! require_second_engine {
    ($live_restore:expr) => {
        match SecondEngine::start($live_restore).await {
            Some(second) => second,
            None => return,
        }
    };
}

fn mock(name: &str, model: &str) -> Mock {
    // A stop timeout: only so is a container made through the second engine's own API.
    Mock::serving(name, &[model]).stop_timeout(Duration::from_secs(2))
}

async fn proxy_of(second: &SecondEngine) -> ProxyProcess {
    ProxyProcess::builder().env("DOCKER_HOST", second.url()).env("PROXY_MODELS_REFRESH", "1s").start().await
}

async fn serving(proxy: &ProxyProcess, engine: &Engine, mock: Mock, model: &str) -> MockContainer {
    let container = mock.start(engine).await;
    proxy.until_answered_by(model, container.name()).await;
    container
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_graceful_stops_what_ran_and_what_starts_again_is_served_at_its_new_address() {
    require_engine!();
    let (mut second, engine) = require_second_engine!(false);
    let proxy = proxy_of(&second).await;
    let (a, b, c) = (engine.unique("first"), engine.unique("second"), engine.unique("unlasting"));
    let first = serving(&proxy, &engine, mock("first", &a).restart_always(), &a).await;
    let other = serving(&proxy, &engine, mock("second", &b).restart_always(), &b).await;
    let unlasting = serving(&proxy, &engine, mock("unlasting", &c), &c).await;
    let (steady_a, steady_b) = (Steady::begin(&proxy, &a), Steady::begin(&proxy, &b));
    second.ends().await;
    proxy.until_unlisted(&c).await;
    let again = second.again().await;
    proxy.until_answered_by(&a, first.name()).await;
    proxy.until_answered_by(&b, other.name()).await;
    for (steady, mock) in [(steady_a, &first), (steady_b, &other)] {
        let seen = steady.end().await;
        assert!(seen.iter().all(|one| one.mock.is_empty() || one.mock == mock.name()), "astray: {seen:?}");
        assert!(seen.iter().all(|one| [200, 502, 503].contains(&one.status)), "{seen:?}");
    }
    assert!(!proxy.models().await.contains(&c), "it was not started again");
    assert_eq!(proxy.get("/readyz").await.unwrap().status, 200);
    drop((again, unlasting));
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_swaps_addresses_and_requests_follow_the_containers() {
    require_engine!();
    let (mut second, engine) = require_second_engine!(false);
    let proxy = proxy_of(&second).await;
    let (a, b) = (engine.unique("swap-a"), engine.unique("swap-b"));
    let first = serving(&proxy, &engine, mock("swap-a", &a), &a).await;
    let other = serving(&proxy, &engine, mock("swap-b", &b), &b).await;
    let before = (first.authority().await, other.authority().await);
    let (steady_a, steady_b) = (Steady::begin(&proxy, &a), Steady::begin(&proxy, &b));
    second.ends().await;
    let _engine = second.again().await;
    // Started in the other order, each takes the other's address.
    other.start().await;
    first.start().await;
    assert_eq!((other.authority().await, first.authority().await), before, "the addresses are swapped");
    proxy.until_answered_by(&a, first.name()).await;
    proxy.until_answered_by(&b, other.name()).await;
    for (steady, mock) in [(steady_a, &first), (steady_b, &other)] {
        let seen = steady.end().await;
        assert!(seen.iter().all(|one| one.mock.is_empty() || one.mock == mock.name()), "astray: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_after_a_kill_keeps_serving_until_the_new_engine_stops_what_ran() {
    require_engine!();
    let (mut second, engine) = require_second_engine!(false);
    let proxy = proxy_of(&second).await;
    let model = engine.unique("survivor");
    let survivor = serving(&proxy, &engine, mock("survivor", &model).restart_always(), &model).await;
    let steady = Steady::begin(&proxy, &model);
    let stream = Stream::begin(&proxy, &model, 40, 50).await;
    second.is_killed().await;
    stream.finish_whole().await;
    steady.more(10).await;
    assert!(steady.seen().iter().all(|one| one.status == 200), "routes are kept: {:?}", steady.seen());
    let _engine = second.again().await;
    proxy.until_answered_by(&model, survivor.name()).await;
    let seen = steady.end().await;
    assert!(seen.iter().all(|one| [200, 502, 503].contains(&one.status)), "{seen:?}");
    survivor.stop(None).await;
    proxy.until_unlisted(&model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_with_live_restore_fails_no_request_and_what_died_meanwhile_is_gone() {
    require_engine!();
    let (mut second, engine) = require_second_engine!(true);
    let proxy = proxy_of(&second).await;
    let (stays, dies) = (engine.unique("stays"), engine.unique("dies"));
    let staying = serving(&proxy, &engine, mock("stays", &stays), &stays).await;
    let dying = serving(&proxy, &engine, mock("dies", &dies), &dies).await;
    let address = dying.authority().await;
    for gracefully in [true, false] {
        let steady = Steady::begin(&proxy, &stays);
        let stream = Stream::begin(&proxy, &stays, 60, 50).await;
        match gracefully {
            true => second.ends().await,
            false => second.is_killed().await,
        }
        proxy.until_log_holds("containers are out of sight").await;
        steady.more(5).await;
        if !gracefully {
            let crash = engine_tests::client().get(format!("http://{address}/admin/crash")).send().await;
            assert!(crash.is_err(), "it died");
        }
        let _engine = second.again().await;
        let listings = || proxy.log().iter().filter(|line| line["message"] == "containers listed").count();
        let seen = 2 + usize::from(!gracefully);
        until("the proxy has seen the engine again", BOUND, async || (listings() >= seen).then_some(())).await;
        stream.finish_whole().await;
        steady.more(5).await;
        let seen = steady.end_without_a_failure().await;
        assert!(seen.iter().all(|one| one.mock == staying.name()));
        assert_eq!(proxy.models().await.contains(&dies), gracefully, "gone only if it died");
    }
    until_refused(&proxy, &dies, 503, "model_unavailable").await;
    // What is new after the restart is seen as ever.
    let late = engine.unique("late");
    let _late = serving(&proxy, &engine, mock("late", &late), &late).await;
}
