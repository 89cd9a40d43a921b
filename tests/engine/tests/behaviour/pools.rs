//! The containers of one service are replicas: they share a model's requests, and each may stop and start under load.

use crate::scene::{Steady, Stream, warnings};
use engine_tests::{Engine, Mock, MockContainer, ProxyProcess, require_engine};
use std::collections::BTreeSet;
use std::time::Duration;

/// A container of the Compose service `vllm` of this project.
fn member(project: &str, name: &str, model: &str) -> Mock {
    Mock::serving(name, &[model])
        .label("com.docker.compose.project", project)
        .label("com.docker.compose.service", "vllm")
        .env("ON_TERM", "finish")
        .health_every(Duration::from_millis(200))
        .stop_timeout(Duration::from_secs(10))
}

async fn service(engine: &Engine, proxy: &ProxyProcess, project: &str, model: &str) -> Vec<MockContainer> {
    let mut members = Vec::new();
    for name in ["one", "two", "three"] {
        members.push(member(project, name, model).start(engine).await);
    }
    for member in &members {
        proxy.until_log("it is in service", |line| in_service(line, member.name())).await;
    }
    members
}

fn in_service(line: &serde_json::Value, name: &str) -> bool {
    line["message"] == "backend registered" && line["container"] == name
}

fn names(members: &[MockContainer]) -> BTreeSet<String> {
    members.iter().map(|member| member.name().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_of_a_service_share_a_model_and_restart_one_by_one_without_a_failed_request() {
    let engine = require_engine!();
    let (model, project) = (engine.unique("shared"), engine.unique("project"));
    let proxy = ProxyProcess::start().await;
    let members = service(&engine, &proxy, &project, &model).await;
    let (steady, other) = (Steady::begin(&proxy, &model), Steady::begin(&proxy, &model));
    steady.more(30).await;
    let seen: BTreeSet<_> = steady.seen().into_iter().map(|one| one.mock).collect();
    assert_eq!(seen, names(&members), "each has had some");
    for member in &members {
        assert!(warnings(&proxy, member.name(), &model).is_empty(), "replicas are no collision");
    }
    for member in &members {
        let stream = Stream::begin(&proxy, &model, 40, 50).await;
        let before = proxy.log().iter().filter(|line| in_service(line, member.name())).count();
        member.stop(None).await;
        stream.finish_whole().await;
        steady.more(5).await;
        member.start().await;
        let back = |line: &serde_json::Value| in_service(line, member.name());
        engine_tests::until("it is back", engine_tests::BOUND, async || {
            (proxy.log().iter().filter(|line| back(line)).count() > before).then_some(())
        })
        .await;
    }
    steady.end_without_a_failure().await;
    other.end_without_a_failure().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_takes_the_model_over_while_streams_run_and_gives_it_back() {
    let engine = require_engine!();
    let (model, project) = (engine.unique("bluegreen"), engine.unique("project"));
    let proxy = ProxyProcess::start().await;
    let blue = service(&engine, &proxy, &project, &model).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(Stream::begin(&proxy, &model, 60, 50).await);
    }
    let steady = Steady::begin(&proxy, &model);
    let green = member(&project, "green", &model).label("com.docker.compose.service", "vllm-next").start(&engine).await;
    proxy.until_answered_by(&model, green.name()).await;
    assert_eq!(warnings(&proxy, green.name(), &model).len(), 1, "one line, though there are three on the other side");
    for stream in streams {
        stream.finish_whole().await;
    }
    let before = steady.seen().len();
    steady.more(10).await;
    assert!(steady.seen().iter().skip(before + 1).all(|one| one.mock == green.name()));
    green.stop(None).await;
    steady.more(20).await;
    let seen = steady.end_without_a_failure().await;
    assert!(names(&blue).contains(&seen.last().unwrap().mock));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_replicas_the_last_to_turn_healthy_serves_also_within_a_service() {
    let engine = require_engine!();
    let (model, project) = (engine.unique("alone"), engine.unique("project"));
    let proxy = ProxyProcess::builder().env("PROXY_REPLICAS", "off").start().await;
    let members = service(&engine, &proxy, &project, &model).await;
    let steady = Steady::begin(&proxy, &model);
    steady.more(10).await;
    let seen = steady.end_without_a_failure().await;
    let serving: BTreeSet<_> = seen.into_iter().map(|one| one.mock).collect();
    assert_eq!(serving.len(), 1, "{serving:?}");
    assert_eq!(members.len(), 3);
}
