//! What signals do: a stop signal drains at once, a kill removes at once, any other does nothing.

use crate::scene::{SOON, Steady, Stream, ask, until_refused, warnings};
use engine_tests::{BOUND, Mock, ProxyProcess, require_engine, until};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any stream here.
const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn docker_stop_drains_at_once_and_the_running_stream_finishes() {
    let engine = require_engine!();
    let model = engine.unique("draining");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("draining", &[&model]).env("ON_TERM", "finish").stop_timeout(PATIENT);
    let mock = Arc::new(mock.start(&engine).await);
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 60, 50).await;
    let stopped = tokio::spawn({
        let mock = Arc::clone(&mock);
        async move { mock.stop(None).await }
    });
    until("the signal has come", BOUND, async || mock.logs().await.contains("signal 15").then_some(())).await;
    let took = until_refused(&proxy, &model, 503, "model_draining").await;
    println!("new requests were refused after {took:?}");
    assert!(!proxy.models().await.contains(&model), "not offered any more");
    assert!(!stopped.is_finished(), "the stop waits for the stream");
    stream.finish_whole().await;
    stopped.await.unwrap();
    proxy.until_log("it is removed", |l| l["message"] == "backend removed, nothing is in flight").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_stop_of_a_server_that_exits_at_once_breaks_the_stream_visibly() {
    let engine = require_engine!();
    let model = engine.unique("leaving");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("leaving", &[&model]).env("ON_TERM", "exit").start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    mock.stop(None).await;
    stream.finish_broken().await;
    let refusal = ask(&proxy, &model).await;
    assert_eq!((refusal.status, refusal.code.as_str()), (503, "model_unavailable"), "it may come back");
    assert!(!proxy.models().await.contains(&model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ignores_a_lone_stop_signal_is_taken_back_with_a_warning() {
    let engine = require_engine!();
    let model = engine.unique("stubborn");
    // Its stop timeout, which is longer than the drain, comes before that.
    let settings = ProxyProcess::builder().env("PROXY_READMIT_AFTER", "1s").env("PROXY_DRAIN_TIMEOUT", "8s");
    let proxy = settings.start().await;
    let mock = Mock::serving("stubborn", &[&model]).env("ON_TERM", "ignore").start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 100, 50).await;
    mock.kill("TERM").await;
    let signalled = Instant::now();
    until_refused(&proxy, &model, 503, "model_draining").await;
    proxy.until_answered_by(&model, mock.name()).await;
    assert!(signalled.elapsed() >= Duration::from_millis(10_900), "readmitted after {:?}", signalled.elapsed());
    assert_eq!(warnings(&proxy, mock.name(), "readmitted").len(), 1);
    stream.finish_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_and_quit_drain_as_term_does() {
    let engine = require_engine!();
    let proxy = ProxyProcess::start().await;
    for signal in ["INT", "QUIT"] {
        let model = engine.unique("interrupted");
        let mock = Mock::serving("interrupted", &[&model]).env("ON_TERM", "ignore").start(&engine).await;
        proxy.until_listed(&model).await;
        let stream = Stream::begin(&proxy, &model, 20, 50).await;
        mock.kill(signal).await;
        until_refused(&proxy, &model, 503, "model_draining").await;
        stream.finish_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ignores_docker_stop_drains_until_it_is_killed() {
    let engine = require_engine!();
    let model = engine.unique("killed-late");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("killed-late", &[&model]).env("ON_TERM", "ignore");
    let mock = Arc::new(mock.stop_timeout(Duration::from_secs(3)).start(&engine).await);
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    let stopped = tokio::spawn({
        let mock = Arc::clone(&mock);
        async move { mock.stop(None).await }
    });
    until_refused(&proxy, &model, 503, "model_draining").await;
    assert!(!stopped.is_finished());
    stream.finish_broken().await;
    stopped.await.unwrap();
    until_refused(&proxy, &model, 503, "model_unavailable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_deadline_cuts_what_is_left_visibly_and_counts_it() {
    let engine = require_engine!();
    let model = engine.unique("overdue");
    let proxy = ProxyProcess::builder().env("PROXY_DRAIN_TIMEOUT", "1s").start().await;
    let mock = Mock::serving("overdue", &[&model]).env("ON_TERM", "ignore").start(&engine).await;
    proxy.until_listed(&model).await;
    let first = Stream::begin(&proxy, &model, 600, 50).await;
    let second = Stream::begin(&proxy, &model, 600, 50).await;
    mock.kill("TERM").await;
    let signalled = Instant::now();
    first.finish_broken().await;
    second.finish_broken().await;
    let took = signalled.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(1) + SOON, "cut after {took:?}");
    let line = proxy.until_log_holds("the drain deadline has come").await;
    assert_eq!((&line["container"], &line["requests"]), (&mock.name().into(), &2.into()));
    mock.until_stats("the requests were cancelled there", |stats| stats.in_flight == 0 && stats.aborted == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_kill_removes_at_once() {
    let engine = require_engine!();
    let model = engine.unique("killed");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("killed", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    mock.kill("KILL").await;
    let killed = Instant::now();
    proxy.until_unlisted(&model).await;
    assert!(killed.elapsed() < SOON);
    stream.finish_broken().await;
    until_refused(&proxy, &model, 503, "model_unavailable").await;
    proxy.until_log_holds("it was killed").await;
    until_refused(&proxy, &model, 404, "model_not_found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_are_no_stop_change_nothing() {
    let engine = require_engine!();
    let model = engine.unique("nudged");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("nudged", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let steady = Steady::begin(&proxy, &model);
    let stream = Stream::begin(&proxy, &model, 30, 50).await;
    for signal in ["HUP", "USR1", "USR2", "WINCH"] {
        mock.kill(signal).await;
    }
    stream.finish_whole().await;
    steady.more(10).await;
    steady.end_without_a_failure().await;
    assert!(
        !proxy.log().iter().any(|line| line["message"] == "backend out of service" && line["container"] == mock.name())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_signal_of_its_own_drains_as_well() {
    let engine = require_engine!();
    for signal in ["SIGQUIT", "SIGUSR1"] {
        let model = engine.unique("quitting");
        let proxy = ProxyProcess::start().await;
        let mock = Mock::serving("quitting", &[&model]).env("ON_TERM", "finish").stop_signal(signal);
        let mock = Arc::new(mock.stop_timeout(PATIENT).start(&engine).await);
        proxy.until_listed(&model).await;
        let stream = Stream::begin(&proxy, &model, 40, 50).await;
        let stopped = tokio::spawn({
            let mock = Arc::clone(&mock);
            async move { mock.stop(None).await }
        });
        until_refused(&proxy, &model, 503, "model_draining").await;
        assert!(!stopped.is_finished(), "{signal}");
        stream.finish_whole().await;
        stopped.await.unwrap();
    }
}
