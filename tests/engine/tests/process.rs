//! The proxy as a process: it starts, gets ready, and ends when told to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use engine_tests::{BOUND, Mock, ProxyProcess, require_engine};

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_gets_ready_routes_and_ends_cleanly_on_sigterm() {
    let engine = require_engine!();
    let model = engine.unique("process");
    let mock = Mock::serving("process", &[&model]).start_healthy(&engine).await;
    let mut proxy = ProxyProcess::start().await;
    assert_eq!(proxy.get("/readyz").await.expect("an answer").status, 200);
    proxy.until_listed(&model).await;
    proxy.until_answered_by(&model, mock.name()).await;
    mock.until_stats("the chat has ended", |stats| stats.in_flight == 0 && stats.finished > 0).await;
    proxy.terminate();
    assert_eq!(proxy.until_exit(BOUND).await.code(), Some(0));
}
