//! A container whose health fails is drained and removed, and registers anew.

use crate::scene::{Stream, lines, until_refused};
use engine_tests::bollard::models::HealthStatusEnum;
use engine_tests::{Mock, ProxyProcess, require_engine};

#[tokio::test(flavor = "multi_thread")]
async fn unhealthy_gets_no_new_requests_keeps_its_stream_and_registers_anew() {
    let engine = require_engine!();
    let model = engine.unique("flapping");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("flapping", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 100, 50).await;
    mock.get("/admin/health?fail").await.unwrap();
    until_refused(&proxy, &model, 503, "model_unavailable").await;
    assert_eq!(mock.health().await, Some(HealthStatusEnum::UNHEALTHY));
    assert!(!proxy.models().await.contains(&model));
    assert_eq!(mock.stats().await.in_flight, 1, "the stream goes on");
    stream.finish_whole().await;
    proxy.until_log("it is removed", |line| line["message"] == "backend removed, nothing is in flight").await;
    mock.get("/admin/health?ok").await.unwrap();
    proxy.until_answered_by(&model, mock.name()).await;
    assert_eq!(lines(&proxy, "backend registered", mock.name()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_that_hangs_is_a_failed_one() {
    let engine = require_engine!();
    let model = engine.unique("hanging");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("hanging", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    mock.get("/admin/health?hang").await.unwrap();
    until_refused(&proxy, &model, 503, "model_unavailable").await;
    mock.get("/admin/health?ok").await.unwrap();
    proxy.until_answered_by(&model, mock.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_a_health_check_that_fails_for_a_moment() {
    let engine = require_engine!();
    let model = engine.unique("blip");
    let proxy = ProxyProcess::builder().env("PROXY_DRAIN_TIMEOUT", "4s").start().await;
    let mock = Mock::serving("blip", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 300, 50).await;
    mock.get("/admin/health?fail").await.unwrap();
    until_refused(&proxy, &model, 503, "model_unavailable").await;
    mock.get("/admin/health?ok").await.unwrap();
    proxy.until_answered_by(&model, mock.name()).await;
    stream.finish_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_an_unhealthy_container_is_cut_at_the_drain_deadline() {
    let engine = require_engine!();
    let model = engine.unique("sick");
    let proxy = ProxyProcess::builder().env("PROXY_DRAIN_TIMEOUT", "1s").start().await;
    let mock = Mock::serving("sick", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    mock.get("/admin/health?fail").await.unwrap();
    stream.finish_broken().await;
    let line = proxy.until_log_holds("the drain deadline has come").await;
    assert_eq!(line["requests"], 1);
}
