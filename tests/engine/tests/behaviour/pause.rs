//! A paused container keeps what it has in flight and gets nothing new.

use crate::scene::{Stream, ask, until_refused};
use engine_tests::{Mock, ProxyProcess, require_engine};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn paused_it_is_503_and_its_stream_finishes_after_unpause() {
    let engine = require_engine!();
    let model = engine.unique("paused");
    // A pause has no deadline: not even this one.
    let proxy = ProxyProcess::builder().env("PROXY_DRAIN_TIMEOUT", "1s").start().await;
    let mock = Mock::serving("paused", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 40, 50).await;
    mock.pause().await;
    until_refused(&proxy, &model, 503, "model_unavailable").await;
    assert!(!proxy.models().await.contains(&model));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(ask(&proxy, &model).await.code, "model_unavailable", "for as long as it is paused");
    mock.unpause().await;
    stream.finish_whole().await;
    proxy.until_answered_by(&model, mock.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_while_paused_it_is_gone() {
    let engine = require_engine!();
    let model = engine.unique("frozen");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("frozen", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    mock.pause().await;
    until_refused(&proxy, &model, 503, "model_unavailable").await;
    mock.stop(None).await;
    stream.finish_broken().await;
    mock.until_exited().await;
    until_refused(&proxy, &model, 503, "model_unavailable").await;
    assert!(!proxy.models().await.contains(&model));
}
