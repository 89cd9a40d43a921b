//! From container to route: which containers are served, from when on, and which are left out and why.

use crate::scene::{SOON, ask, lines, warnings};
use engine_tests::bollard::query_parameters::{BuildImageOptionsBuilder, RemoveImageOptionsBuilder};
use engine_tests::{BOUND, Engine, LABEL, MOCK_IMAGE, Mock, ProxyProcess, require_engine, run_id, until};
use futures_util::StreamExt;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_served_soon_after_it_turned_healthy_and_not_before() {
    let engine = require_engine!();
    let model = engine.unique("fresh");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("fresh", &[&model]).env("READY_AFTER_MS", 1500).start(&engine).await;
    until("it runs", BOUND, async || mock.get("/v1/models").await.ok()).await;
    assert_eq!(ask(&proxy, &model).await.status, 404, "it has never been ready");
    assert!(!proxy.models().await.contains(&model));
    mock.until_healthy().await;
    let healthy = Instant::now();
    proxy.until_listed(&model).await;
    assert!(healthy.elapsed() < SOON, "it took {:?}", healthy.elapsed());
    assert_eq!(proxy.chat(&model).await.unwrap().mock.as_deref(), Some(mock.name()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_runs_already_is_there_when_the_proxy_is_ready() {
    let engine = require_engine!();
    let model = engine.unique("org/earlier");
    let mock = Mock::serving("earlier", &[&model]).start_healthy(&engine).await;
    let proxy = ProxyProcess::start().await;
    assert!(proxy.models().await.contains(&model), "ready means that what runs is known");
    assert_eq!(proxy.chat(&model).await.unwrap().mock.as_deref(), Some(mock.name()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_starting_at_the_start_of_the_proxy_is_served_when_healthy() {
    let engine = require_engine!();
    let model = engine.unique("starting");
    let mock = Mock::serving("starting", &[&model]).env("READY_AFTER_MS", 2500).start(&engine).await;
    let proxy = ProxyProcess::start().await;
    assert!(!proxy.models().await.contains(&model));
    proxy.until_answered_by(&model, mock.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_healthcheck_it_is_left_out_with_one_warning_that_says_how_to_add_one() {
    let engine = require_engine!();
    let model = engine.unique("unchecked");
    let image = image_without_healthcheck(&engine).await;
    let proxy = ProxyProcess::start().await;
    let none = Mock::serving("unchecked-none", &[&model]).no_healthcheck().start(&engine).await;
    let absent = Mock::of_image(&image, "unchecked-absent").env("MODELS", &model).start(&engine).await;
    for mock in [&none, &absent] {
        proxy.until_log("a warning", |line| line["container"] == mock.name() && line["level"] == "WARN").await;
        mock.connect_and_leave_a_network(&engine).await;
    }
    let _fence = fence(&engine, &proxy).await;
    for mock in [&none, &absent] {
        let told = warnings(&proxy, mock.name(), "");
        assert_eq!(told.len(), 1, "{told:?}");
        let text = told[0].to_string();
        assert!(text.contains("HEALTHCHECK") && text.contains("healthcheck: {test:"), "{text}");
    }
    assert_eq!(ask(&proxy, &model).await.status, 404);
    drop(absent);
    let force = RemoveImageOptionsBuilder::new().force(true).build();
    let _ = engine.docker().remove_image(&image, Some(force), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_label_keeps_one_container_out_with_one_warning_and_no_other() {
    let engine = require_engine!();
    let model = engine.unique("labelled");
    let bad = [
        ("inference.port", "0", "a port number"),
        ("inference.port", "80a", "a port number"),
        ("inference.api.base_path", "/../v1", "a path such as"),
        ("inference.api.base_path", "http://elsewhere/v1", "a path such as"),
    ];
    let proxy = ProxyProcess::start().await;
    let good = Mock::serving("labelled-well", &[&model]).start(&engine).await;
    let mut mocks = Vec::new();
    for (label, value, right) in bad {
        let mock = Mock::serving("labelled-badly", &[&format!("{model}-bad")]).label(label, value).start(&engine).await;
        mocks.push((mock, label, value, right));
    }
    proxy.until_answered_by(&model, good.name()).await;
    for (mock, ..) in &mocks {
        mock.until_healthy().await;
        proxy.until_log("a warning", |line| line["container"] == mock.name() && line["level"] == "WARN").await;
        mock.connect_and_leave_a_network(&engine).await;
    }
    let _fence = fence(&engine, &proxy).await;
    for (mock, label, value, right) in &mocks {
        let told = warnings(&proxy, mock.name(), "");
        assert_eq!(told.len(), 1, "{told:?}");
        let text = told[0]["reason"].as_str().unwrap();
        assert!([*label, *value, *right].iter().all(|part| text.contains(part)), "{text}");
    }
    assert_eq!(ask(&proxy, &format!("{model}-bad")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_exact_value_true_opts_in() {
    let engine = require_engine!();
    let model = engine.unique("optin");
    let proxy = ProxyProcess::start().await;
    let shy = Mock::serving("shy", &[&format!("{model}-shy")]).label("inference.enable", "True").start(&engine).await;
    let mute = Mock::serving("mute", &[&format!("{model}-mute")]).without_label("inference.enable");
    let mute = mute.start_healthy(&engine).await;
    shy.until_healthy().await;
    let mock = Mock::serving("eager", &[&model]).start(&engine).await;
    proxy.until_answered_by(&model, mock.name()).await;
    let models = proxy.models().await;
    assert!(!models.iter().any(|id| id.ends_with("-shy") || id.ends_with("-mute")), "{models:?}");
    assert_eq!(lines(&proxy, "backend registered", shy.name()) + lines(&proxy, "backend registered", mute.name()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_labels_for_port_and_base_path_say_where_the_server_is() {
    let engine = require_engine!();
    let (ported, based, rooted) = (engine.unique("ported"), engine.unique("based"), engine.unique("rooted"));
    let proxy = ProxyProcess::start().await;
    let a = Mock::serving("ported", &[&ported]).env("PORT", 9123).label("inference.port", "9123").start(&engine).await;
    let b = Mock::serving("based", &[&based]).env("BASE_PATH", "/api/v3");
    let b = b.label("inference.api.base_path", "/api/v3").start(&engine).await;
    let c = Mock::serving("rooted", &[&rooted]).env("BASE_PATH", "/");
    let c = c.label("inference.api.base_path", "/").start(&engine).await;
    for (model, mock, target) in [(ported, a, "/v1/echo/x?y"), (based, b, "/api/v3/echo/x?y"), (rooted, c, "/echo/x?y")]
    {
        proxy.until_answered_by(&model, mock.name()).await;
        let echo = proxy.post("/v1/echo/x?y", &serde_json::json!({ "model": model })).await.unwrap();
        assert_eq!(echo.json()["target"], target);
    }
}

/// A copy of the mock's image that says nothing of health.
async fn image_without_healthcheck(engine: &Engine) -> String {
    let tag = format!("{}:test", engine.unique("lw-mock-unchecked"));
    let dockerfile = format!("FROM scratch\nCOPY --from={MOCK_IMAGE} /mock /mock\nENTRYPOINT [\"/mock\"]\n");
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).unwrap();
    let body = engine_tests::bollard::body_full(tar.into_inner().unwrap().into());
    let labels = [(LABEL, run_id())].into_iter().collect();
    let options = BuildImageOptionsBuilder::new().t(&tag).labels(&labels).rm(true).build();
    let mut steps = std::pin::pin!(engine.docker().build_image(options, None, Some(body)));
    while let Some(step) = steps.next().await {
        assert!(step.as_ref().is_ok_and(|step| step.error_detail.is_none()), "{step:?}");
    }
    tag
}

/// A further container, from its start until it is served: whatever happened before has been looked at by then.
async fn fence(engine: &Engine, proxy: &ProxyProcess) -> engine_tests::MockContainer {
    let model = engine.unique("fence");
    let mock = Mock::serving("fence", &[&model]).start(engine).await;
    proxy.until_answered_by(&model, mock.name()).await;
    mock
}

/// Gives the proxy a reason to look at a container again.
trait Nudge {
    async fn connect_and_leave_a_network(&self, engine: &Engine);
}

impl Nudge for engine_tests::MockContainer {
    async fn connect_and_leave_a_network(&self, engine: &Engine) {
        let network = engine_tests::TestNetwork::create(engine, "nudge").await;
        self.connect(network.name()).await;
        self.disconnect(network.name()).await;
        network.remove().await;
    }
}
