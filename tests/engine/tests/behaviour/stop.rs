//! Stopping the proxy itself, while containers serve.

use crate::scene::Stream;
use engine_tests::{BOUND, Mock, ProxyProcess, require_engine, until};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_is_not_ready_takes_no_connections_finishes_streams_and_exits_0() {
    let engine = require_engine!();
    let model = engine.unique("outliving");
    let _mock = Mock::serving("outliving", &[&model]).start_healthy(&engine).await;
    let mut proxy = ProxyProcess::builder().env("PROXY_STOP_DELAY", "1s").start().await;
    proxy.until_listed(&model).await;
    let mut open = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert!(readiness(&mut open).await.starts_with("HTTP/1.1 200"));
    let stream = Stream::begin(&proxy, &model, 80, 50).await;
    proxy.terminate();
    until("it heard the signal", BOUND, async || {
        proxy.log().iter().any(|line| line["signal"] == "SIGTERM").then_some(())
    })
    .await;
    let said = readiness(&mut open).await;
    assert!(said.starts_with("HTTP/1.1 503"), "{said}");
    let port = proxy.port();
    until("no connection is taken", BOUND, async || TcpStream::connect(("127.0.0.1", port)).await.err()).await;
    stream.finish_whole().await;
    assert_eq!(proxy.until_exit(BOUND).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_the_stop_cuts_what_is_left() {
    let engine = require_engine!();
    let model = engine.unique("overrun");
    let mock = Mock::serving("overrun", &[&model]).start_healthy(&engine).await;
    let mut proxy = ProxyProcess::builder().env("PROXY_DRAIN_TIMEOUT", "1s").start().await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    proxy.interrupt();
    let told = Instant::now();
    stream.finish_broken().await;
    assert!(told.elapsed() >= Duration::from_millis(900), "cut after {:?}", told.elapsed());
    assert_eq!(proxy.until_exit(BOUND).await.code(), Some(0));
    mock.until_stats("the request was cancelled there", |stats| stats.in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let engine = require_engine!();
    let model = engine.unique("hurried");
    let _mock = Mock::serving("hurried", &[&model]).start_healthy(&engine).await;
    let mut proxy = ProxyProcess::start().await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    proxy.terminate();
    until("it heard the signal", BOUND, async || {
        proxy.log().iter().any(|line| line["signal"] == "SIGTERM").then_some(())
    })
    .await;
    let told = Instant::now();
    proxy.terminate();
    proxy.until_exit(BOUND).await;
    // The stream has 30 seconds to go.
    assert!(told.elapsed() < Duration::from_secs(15), "it took {:?}", told.elapsed());
    stream.finish_broken().await;
}

/// `GET /readyz` on a connection that stays open.
async fn readiness(open: &mut TcpStream) -> String {
    open.write_all(b"GET /readyz HTTP/1.1\r\nhost: proxy\r\n\r\n").await.unwrap();
    let mut said = vec![0; 4096];
    let read = open.read(&mut said).await.unwrap();
    String::from_utf8_lossy(&said[..read]).into_owned()
}
