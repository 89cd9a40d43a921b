//! Containers that end without a stop, are removed, or come back.

use crate::scene::{SOON, Steady, Stream, ask, until_refused};
use engine_tests::{BOUND, Mock, ProxyProcess, TestNetwork, not_run, require_engine, until};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_removes_at_once_whatever_its_exit_code() {
    let engine = require_engine!();
    let proxy = ProxyProcess::start().await;
    for (way, code) in [("/admin/crash?code=0", 0), ("/admin/crash?code=1", 1), ("/admin/abort", 134)] {
        let model = engine.unique("crashing");
        let mock = Mock::serving("crashing", &[&model]).start(&engine).await;
        proxy.until_listed(&model).await;
        let stream = Stream::begin(&proxy, &model, 600, 50).await;
        let _ = mock.get(way).await;
        let crashed = Instant::now();
        stream.finish_broken().await;
        proxy.until_unlisted(&model).await;
        assert!(crashed.elapsed() < SOON, "{way}: {:?}", crashed.elapsed());
        until_refused(&proxy, &model, 503, "model_unavailable").await;
        let exit = mock.until_exited().await;
        assert!(exit == code || (code == 134 && exit == 139), "{way} exits with {exit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_from_outside_the_engine_is_a_crash() {
    let engine = require_engine!();
    let model = engine.unique("struck");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("struck", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    let pid = mock.inspect().await.state.unwrap().pid.unwrap().to_string();
    let killed = std::process::Command::new("kill").args(["-s", "KILL", &pid]).output();
    if !killed.is_ok_and(|done| done.status.success()) {
        return not_run("this process may not kill a container's process");
    }
    let struck = Instant::now();
    stream.finish_broken().await;
    proxy.until_unlisted(&model).await;
    assert!(struck.elapsed() < SOON);
    assert_eq!(mock.until_exited().await, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_runs_out_of_memory_is_removed() {
    let engine = require_engine!();
    let model = engine.unique("hungry");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("hungry", &[&model]).memory(32 << 20).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    let _ = mock.get("/admin/oom").await;
    stream.finish_broken().await;
    proxy.until_unlisted(&model).await;
    assert_eq!(mock.until_exited().await, 137);
    until_refused(&proxy, &model, 503, "model_unavailable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_policy_brings_it_back_at_its_new_address() {
    let engine = require_engine!();
    let (model, thief_model) = (engine.unique("lasting"), engine.unique("thief"));
    let network = TestNetwork::create(&engine, "lasting").await;
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("lasting", &[&model]).network(&network).restart_always().start(&engine).await;
    proxy.until_listed(&model).await;
    let steady = Steady::begin(&proxy, &model);
    let before = mock.authority().await;
    // Each crash makes the engine wait longer before the next start; the last wait is long enough for another
    // container to take the address.
    for _ in 0..4 {
        let started = mock.started_at().await;
        let _ = mock.get("/admin/crash").await;
        mock.until_started_again(&started).await;
        until("it serves again", BOUND, async || mock.get("/stats").await.ok()).await;
    }
    let started = mock.started_at().await;
    let _ = mock.get("/admin/crash").await;
    until("it waits, without an address", BOUND, async || {
        let restarting = mock.inspect().await.state?.restarting?;
        (restarting && mock.authority().await.starts_with("127.")).then_some(())
    })
    .await;
    let thief = Mock::serving("thief", &[&thief_model]).network(&network).stop_timeout(Duration::from_secs(1));
    let thief = thief.start(&engine).await;
    mock.until_started_again(&started).await;
    assert_eq!(thief.authority().await, before, "its address has gone to another");
    assert_ne!(mock.authority().await, before);
    proxy.until_answered_by(&model, mock.name()).await;
    let seen = steady.end().await;
    assert!(seen.iter().all(|one| one.mock != thief.name()), "a request went to the wrong container: {seen:?}");
    assert!(seen.iter().all(|one| one.status != 404), "it is known all the while: {seen:?}");
    mock.remove().await;
    thief.remove().await;
    network.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_restart_is_503_for_a_while_and_never_404() {
    let engine = require_engine!();
    let model = engine.unique("restarted");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("restarted", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let steady = Steady::begin(&proxy, &model);
    steady.more(5).await;
    mock.restart().await;
    proxy.until_answered_by(&model, mock.name()).await;
    steady.more(5).await;
    let seen = steady.end().await;
    assert!(seen.iter().all(|one| [200, 502, 503].contains(&one.status)), "{seen:?}");
    assert!(seen.iter().any(|one| one.code == "model_unavailable"), "{seen:?}");
    // Only what was at the container when it exited can have failed.
    assert!(seen.iter().filter(|one| one.status == 502).count() <= 1, "{seen:?}");
    assert_eq!(seen.last().map(|one| one.status), Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_rm_force_removes_at_once() {
    let engine = require_engine!();
    let model = engine.unique("removed");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("removed", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 600, 50).await;
    mock.remove().await;
    let removed = Instant::now();
    proxy.until_unlisted(&model).await;
    assert!(removed.elapsed() < SOON);
    stream.finish_broken().await;
    until_refused(&proxy, &model, 404, "model_not_found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_removed_with_its_end_drains_and_goes() {
    let engine = require_engine!();
    let model = engine.unique("fleeting");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("fleeting", &[&model]).env("ON_TERM", "finish").auto_remove();
    let mock = mock.stop_timeout(Duration::from_secs(20)).start(&engine).await;
    proxy.until_listed(&model).await;
    let stream = Stream::begin(&proxy, &model, 30, 50).await;
    let (_, ()) = tokio::join!(mock.stop(None), stream.finish_whole());
    proxy.until_unlisted(&model).await;
    until_refused(&proxy, &model, 503, "model_unavailable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_it_waits_to_be_restarted_ends_it() {
    let engine = require_engine!();
    let model = engine.unique("backing-off");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("backing-off", &[&model]).restart_always().start(&engine).await;
    proxy.until_listed(&model).await;
    for _ in 0..4 {
        let started = mock.started_at().await;
        let _ = mock.get("/admin/crash").await;
        mock.until_started_again(&started).await;
        until("it serves again", BOUND, async || mock.get("/stats").await.ok()).await;
    }
    let _ = mock.get("/admin/crash").await;
    until("it waits", BOUND, async || mock.inspect().await.state?.restarting.filter(|yes| *yes).map(drop)).await;
    mock.stop(None).await;
    assert_eq!(ask(&proxy, &model).await.status, 503);
    assert!(!proxy.models().await.contains(&model));
    mock.start().await;
    proxy.until_answered_by(&model, mock.name()).await;
}
