//! The proxy's image, built and run for real: it serves as root and as nobody, is healthy, finds names, and stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use engine_tests::bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use engine_tests::{
    Answer, BOUND, Engine, Mock, MockContainer, PROXY_IMAGE, TestNetwork, build_proxy_image, client, not_run,
    require_engine, until,
};
use serde_json::{Value, json};

/// A user without a name and without rights.
const NOBODY: &str = "65532:65532";
/// Where the engine's socket is inside.
const SOCKET: &str = "/var/run/docker.sock";
/// A stop without requests is over long before Docker kills, which is after 10 s.
const STOP: Duration = Duration::from_secs(5);

/// The socket of the engine, as the engine's own host sees it; `None`: it is reached in another way.
fn socket() -> Option<String> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| format!("unix://{SOCKET}"));
    host.strip_prefix("unix://").map(str::to_owned)
}

/// A proxy of the image that may do nothing but what it is given.
fn body(env: &[&str], host: HostConfig) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(PROXY_IMAGE.to_owned()),
        env: Some(env.iter().map(|variable| (*variable).to_owned()).collect()),
        host_config: Some(HostConfig {
            cap_drop: Some(vec!["ALL".to_owned()]),
            readonly_rootfs: Some(true),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            ..host
        }),
        ..ContainerCreateBody::default()
    }
}

async fn models(base: &str) -> Vec<String> {
    let Ok(answer) = client().get(format!("{base}/v1/models")).send().await else { return Vec::new() };
    let said: Value = serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
    let data = said["data"].as_array().cloned().unwrap_or_default();
    data.iter().filter_map(|model| model["id"].as_str().map(str::to_owned)).collect()
}

async fn until_models(base: &str, proxy: &MockContainer, model: &str, listed: bool) {
    let found = engine_tests::wait_for(BOUND, async || {
        (models(base).await.iter().any(|id| id == model) == listed).then_some(())
    });
    if found.await.is_none() {
        panic!("{model} is not {}listed; the proxy said:\n{}", if listed { "" } else { "un" }, proxy.logs().await);
    }
}

async fn chat(base: &str, model: &str) -> Answer {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    Answer::of(client().post(format!("{base}/v1/chat/completions")).json(&body).send().await.unwrap()).await.unwrap()
}

/// Where the port that was published on loopback is.
async fn published(proxy: &MockContainer) -> String {
    until("the port is published", BOUND, async || {
        let ports = proxy.inspect().await.network_settings?.ports?;
        let port = ports.get("8080/tcp")?.as_ref()?.first()?.host_port.clone()?;
        Some(format!("http://127.0.0.1:{port}"))
    })
    .await
}

async fn stops_at_once(proxy: &MockContainer) {
    let began = Instant::now();
    proxy.stop(None).await;
    assert_eq!(proxy.until_exited().await, 0, "{}", proxy.logs().await);
    assert!(began.elapsed() < STOP, "it took {:?}:\n{}", began.elapsed(), proxy.logs().await);
}

/// With the socket mounted: a container comes, is routed and stops, and then the proxy does.
async fn serves(engine: &Engine, user: Option<&str>) {
    let Some(socket) = socket() else { return not_run("the engine has no socket that could be mounted") };
    let group = std::fs::metadata(&socket).unwrap().gid().to_string();
    let mut body = body(
        &[],
        HostConfig {
            binds: Some(vec![format!("{socket}:{SOCKET}:ro")]),
            group_add: user.map(|_| vec![group]),
            port_bindings: Some(
                [(
                    "8080/tcp".to_owned(),
                    Some(vec![PortBinding { host_ip: Some("127.0.0.1".into()), host_port: None }]),
                )]
                .into(),
            ),
            ..HostConfig::default()
        },
    );
    body.user = user.map(str::to_owned);
    let proxy = MockContainer::of(engine, "image", 8080, body).await;
    let base = published(&proxy).await;
    let model = engine.unique("imaged");
    let mock = Mock::serving("imaged", &[&model]).start_healthy(engine).await;
    until_models(&base, &proxy, &model, true).await;
    assert_eq!(chat(&base, &model).await.mock.as_deref(), Some(mock.name()));
    proxy.until_healthy().await;

    mock.stop(None).await;
    until_models(&base, &proxy, &model, false).await;
    assert_eq!(chat(&base, &model).await.status, 503, "known, but not ready");
    stops_at_once(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_as_root() {
    let engine = require_engine!();
    build_proxy_image();
    serves(&engine, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_without_root_given_the_group_of_the_socket() {
    let engine = require_engine!();
    build_proxy_image();
    serves(&engine, Some(NOBODY)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_compose_services_resolve_inside_those_of_backends_and_of_the_collector() {
    let engine = require_engine!();
    build_proxy_image();
    let network = TestNetwork::create(&engine, "names").await;
    let model = engine.unique("named");
    let mock = Mock::serving("named", &[&model]).without_label("inference.enable").network(&network);
    let mock = mock.start_healthy(&engine).await;
    let backends = format!("PROXY_BACKENDS=http://{}:8000/v1", mock.name());
    // The mock is the collector as well: what it makes of metrics does not matter, only that they come.
    let collector = format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{}:8000", mock.name());
    let host = HostConfig { network_mode: Some(network.name().to_owned()), ..HostConfig::default() };
    let mut body = body(&[&backends, "PROXY_DOCKER=off", &collector, "OTEL_METRIC_EXPORT_INTERVAL=200"], host);
    body.user = Some(NOBODY.to_owned());
    let proxy = MockContainer::of(&engine, "image", 8080, body).await;
    let base = format!("http://{}", proxy.authority().await);
    until_models(&base, &proxy, &model, true).await;
    assert_eq!(chat(&base, &model).await.mock.as_deref(), Some(mock.name()));
    until("metrics come to the collector's name", BOUND, async || {
        mock.logs().await.contains("POST /v1/metrics").then_some(())
    })
    .await;
    stops_at_once(&proxy).await;
    mock.remove().await;
    proxy.remove().await;
    network.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_it_is() {
    let engine = require_engine!();
    build_proxy_image();
    let image = engine.docker().inspect_image(PROXY_IMAGE).await.unwrap();
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    assert_eq!(image.architecture.as_deref(), Some(arch));
    assert_eq!(image.root_fs.and_then(|fs| fs.layers).map(|layers| layers.len()), Some(1), "one layer, from nothing");
    let config = image.config.unwrap();
    let labels = config.labels.unwrap();
    for name in ["title", "description", "licenses", "version", "revision", "source"] {
        assert!(labels.contains_key(&format!("org.opencontainers.image.{name}")), "{name} in {labels:?}");
    }
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(config.healthcheck.and_then(|check| check.test).unwrap()[1..], ["/lw-inference-proxy", "healthcheck"]);
}
