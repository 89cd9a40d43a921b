//! Where a container is reached: on which network, at which address.

use crate::scene::{Steady, ask, until_refused, warnings};
use engine_tests::bollard::models::NetworkCreateRequest;
use engine_tests::{Engine, LABEL, Mock, ProxyProcess, TestNetwork, require_engine, run_id};
use std::collections::{BTreeSet, HashMap};

#[tokio::test(flavor = "multi_thread")]
async fn of_several_networks_the_one_that_the_proxy_is_on_is_taken() {
    let engine = require_engine!();
    let model = engine.unique("several");
    let far = far_network(&engine, "a-far").await;
    let near = TestNetwork::create(&engine, "z-near").await;
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("several", &[&model]).network_mode(&far).env("READY_AFTER_MS", 1000).start(&engine).await;
    mock.connect(near.name()).await;
    proxy.until_answered_by(&model, mock.name()).await;
    mock.remove().await;
    near.remove().await;
    engine.docker().remove_network(&far).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_no_shared_network_one_warning_names_the_networks_of_both() {
    let engine = require_engine!();
    let model = engine.unique("far");
    let far = far_network(&engine, "far").await;
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("far", &[&model]).network_mode(&far).start_healthy(&engine).await;
    let alone = Mock::serving("alone", &[&model]).network_mode("none").start_healthy(&engine).await;
    for (mock, network) in [(&mock, far.as_str()), (&alone, "none")] {
        proxy.until_log("a warning", |line| line["container"] == mock.name() && line["level"] == "WARN").await;
        let told = warnings(&proxy, mock.name(), "");
        let texts: Vec<_> = told.iter().map(|line| line["reason"].as_str().unwrap()).collect();
        for text in &texts {
            assert!(text.contains(network), "the container's network {network} in: {text}");
            assert!(["/16", "/24"].iter().any(|prefix| text.contains(prefix)), "the proxy's: {text}");
        }
        // Networks of other tests come and go, and with them those that the proxy is on: that is told anew.
        let different: BTreeSet<_> = texts.iter().collect();
        assert_eq!(different.len(), texts.len(), "each is told once: {texts:#?}");
    }
    assert_eq!(ask(&proxy, &model).await.status, 404);
    // Joining a network that is shared is enough.
    let near = TestNetwork::create(&engine, "near").await;
    mock.connect(near.name()).await;
    proxy.until_answered_by(&model, mock.name()).await;
    mock.remove().await;
    near.remove().await;
    engine.docker().remove_network(&far).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_on_the_hosts_network_is_reached_through_the_host() {
    let engine = require_engine!();
    let model = engine.unique("hosted");
    let port = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap().local_addr().unwrap().port();
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("hosted", &[&model])
        .network_mode("host")
        .env("PORT", port)
        .label("inference.port", &port.to_string())
        .start(&engine)
        .await;
    proxy.until_answered_by(&model, mock.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_in_the_network_of_another_is_reached_at_the_others_address() {
    let engine = require_engine!();
    let (owned, guest_model) = (engine.unique("owner"), engine.unique("guest"));
    let proxy = ProxyProcess::start().await;
    let owner = Mock::serving("owner", &[&owned]).start_healthy(&engine).await;
    let guest = Mock::serving("guest", &[&guest_model])
        .network_mode(&format!("container:{}", owner.id()))
        .env("PORT", 9000)
        .label("inference.port", "9000")
        .start(&engine)
        .await;
    proxy.until_answered_by(&guest_model, guest.name()).await;
    proxy.until_answered_by(&owned, owner.name()).await;
    // With its owner the guest loses its network for good, though the engine still calls it healthy.
    owner.restart().await;
    proxy.until_answered_by(&owned, owner.name()).await;
    assert_eq!(ask(&proxy, &guest_model).await.status, 503);
    guest.restart().await;
    proxy.until_answered_by(&guest_model, guest.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn off_its_network_it_gets_no_requests_and_it_is_back_at_its_new_address() {
    let engine = require_engine!();
    let (model, other_model) = (engine.unique("moving"), engine.unique("other"));
    let network = TestNetwork::create(&engine, "moving").await;
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("moving", &[&model]).network(&network).start(&engine).await;
    proxy.until_answered_by(&model, mock.name()).await;
    let before = mock.authority().await;
    let steady = Steady::begin(&proxy, &model);

    mock.disconnect(network.name()).await;
    until_refused(&proxy, &model, 503, "model_unavailable").await;
    assert!(!proxy.models().await.contains(&model));
    let other = Mock::serving("other", &[&other_model]).network(&network).start_healthy(&engine).await;
    assert_eq!(other.authority().await, before, "its address has gone to another");
    mock.connect(network.name()).await;
    proxy.until_answered_by(&model, mock.name()).await;
    assert_ne!(mock.authority().await, before);

    let seen = steady.end().await;
    // One that is on its way when the network goes is kept, and its client may give up first.
    let gave_up = seen.iter().filter(|one| one.status == 0).count();
    assert!(gave_up <= 1, "{seen:?}");
    assert!(seen.iter().all(|one| [0, 200, 502, 503].contains(&one.status)), "{seen:?}");
    assert!(seen.iter().all(|one| one.mock != other.name()), "a request went to the wrong container: {seen:?}");
    mock.remove().await;
    other.remove().await;
    network.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_not_in_use_may_be_joined_and_left_while_the_list_is_slow() {
    let engine = require_engine!();
    let model = engine.unique("settled");
    let in_use = TestNetwork::create(&engine, "m-in-use").await;
    // By its name it comes first.
    let other = TestNetwork::create(&engine, "a-other").await;
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("settled", &[&model]).network(&in_use).env("MODELS_DELAY_MS", 2000).start(&engine).await;
    proxy.until_answered_by(&model, mock.name()).await;
    let steady = Steady::begin(&proxy, &model);
    steady.more(5).await;
    mock.connect(other.name()).await;
    steady.more(20).await;
    mock.disconnect(other.name()).await;
    steady.more(20).await;
    let seen = steady.end_without_a_failure().await;
    assert!(seen.iter().all(|one| one.mock == mock.name()));
    mock.remove().await;
    other.remove().await;
    in_use.remove().await;
}

/// A network on which this host has no address.
async fn far_network(engine: &Engine, name: &str) -> String {
    let name = engine.unique(name);
    let option = ("com.docker.network.bridge.inhibit_ipv4".to_owned(), "true".to_owned());
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".into()),
        options: Some(HashMap::from([option])),
        labels: Some(HashMap::from([(LABEL.to_owned(), run_id().to_owned())])),
        ..NetworkCreateRequest::default()
    };
    engine.docker().create_network(request).await.unwrap();
    name
}
