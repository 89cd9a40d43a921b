//! What the other tests stand on: mock backends on a real engine do what they are asked to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use engine_tests::bollard::models::HealthStatusEnum;
use engine_tests::{Mock, TestNetwork, require_engine};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_mock_turns_healthy_serves_and_is_labelled_for_the_proxy() {
    let engine = require_engine!();
    let model = engine.unique("org/mock");
    let mock = Mock::serving("plain", &[&model]).start_healthy(&engine).await;
    let list = mock.get("/v1/models").await.expect("an answer");
    assert_eq!(list.json()["data"][0]["id"], json!(model));
    assert_eq!(list.mock.as_deref(), Some(mock.name()));
    let labels = mock.inspect().await.config.unwrap().labels.unwrap();
    assert_eq!(labels["inference.enable"], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mock_that_fails_its_check_turns_unhealthy_and_back() {
    let engine = require_engine!();
    let mock = Mock::serving("flapping", &["m"]).start_healthy(&engine).await;
    mock.get("/admin/health?fail").await.expect("an answer");
    mock.until_health(HealthStatusEnum::UNHEALTHY).await;
    mock.get("/admin/health?ok").await.expect("an answer");
    mock.until_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_a_finishing_mock_finish() {
    let engine = require_engine!();
    let mock = Mock::serving("finishing", &["m"])
        .env("ON_TERM", "finish")
        .env("EXIT_CODE", 7)
        .stop_signal("SIGQUIT")
        .stop_timeout(Duration::from_secs(20))
        .start_healthy(&engine)
        .await;
    let url = format!("http://{}/v1/completions?tokens=50&token_ms=20", mock.authority().await);
    let asked = tokio::spawn(engine_tests::client().post(url).json(&json!({"model": "m", "prompt": ""})).send());
    mock.until_stats("it is busy", |stats| stats.in_flight == 1).await;
    mock.stop(None).await;
    let answer = asked.await.unwrap().expect("an answer").text().await.expect("a whole one");
    assert!(answer.contains("tok49"), "{answer}");
    assert_eq!(mock.until_exited().await, 7);
    assert!(mock.logs().await.contains("signal 3"), "{}", mock.logs().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mock_crashes_runs_out_of_memory_and_comes_back_under_a_policy() {
    let engine = require_engine!();
    let crashing = Mock::serving("crashing", &["m"]).start_healthy(&engine).await;
    let _ = crashing.get("/admin/crash?code=3").await;
    assert_eq!(crashing.until_exited().await, 3);

    let hungry = Mock::serving("hungry", &["m"]).memory(32 << 20).start_healthy(&engine).await;
    let _ = hungry.get("/admin/oom").await;
    assert_eq!(hungry.until_exited().await, 137);
    assert_eq!(hungry.inspect().await.state.unwrap().oom_killed, Some(true));

    let lasting = Mock::serving("lasting", &["m"]).restart_always().start_healthy(&engine).await;
    let started = lasting.started_at().await;
    let _ = lasting.get("/admin/crash").await;
    lasting.until_started_again(&started).await;
    lasting.until_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mock_is_paused_and_moved_between_networks() {
    let engine = require_engine!();
    let network = TestNetwork::create(&engine, "moving").await;
    let mock = Mock::serving("moving", &["m"]).network(&network).start_healthy(&engine).await;
    mock.pause().await;
    assert_eq!(mock.inspect().await.state.unwrap().paused, Some(true));
    mock.unpause().await;
    mock.disconnect(network.name()).await;
    assert_eq!(mock.authority().await, "127.0.0.1:8000", "no address is left");
    mock.connect(network.name()).await;
    assert_eq!(mock.get("/health").await.expect("an answer").status, 200);
    mock.remove().await;
    network.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mock_without_a_check_has_no_health() {
    let engine = require_engine!();
    let mock = Mock::serving("unchecked", &["m"]).no_healthcheck().start(&engine).await;
    let health = mock.health().await;
    assert!(matches!(health, None | Some(HealthStatusEnum::NONE)), "{health:?}");
}
