//! Names and addresses change hands; requests do not follow them.

use crate::scene::{Steady, ask, until_refused};
use engine_tests::{Mock, ProxyProcess, TestNetwork, require_engine};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_changes_nothing_for_requests() {
    let engine = require_engine!();
    let model = engine.unique("renamed");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("renamed", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let steady = Steady::begin(&proxy, &model);
    let name = mock.rename("renamed-anew").await;
    steady.more(10).await;
    steady.end_without_a_failure().await;
    mock.stop(None).await;
    proxy.until_unlisted(&model).await;
    assert!(!name.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_under_its_name_and_address_with_another_model_it_gets_no_request_of_the_old_one() {
    let engine = require_engine!();
    let (old_model, new_model) = (engine.unique("old"), engine.unique("new"));
    let network = TestNetwork::create(&engine, "recreated").await;
    let proxy = ProxyProcess::start().await;
    let quick = Duration::from_secs(5);
    let old = Mock::serving("recreated", &[&old_model]).network(&network).stop_timeout(quick);
    let old = old.start(&engine).await;
    proxy.until_listed(&old_model).await;
    let steady = Steady::begin(&proxy, &old_model);
    steady.more(5).await;
    let before = old.authority().await;
    old.remove().await;
    let new = Mock::serving("recreated", &[&new_model]).exact_name(old.name()).env("NAME", "the-new-one");
    let new = new.network(&network).stop_timeout(quick).start(&engine).await;
    assert_eq!(new.authority().await, before, "the address is the old one");
    proxy.until_answered_by(&new_model, "the-new-one").await;
    assert_eq!(ask(&proxy, &old_model).await.status, 404, "the successor has it not");
    let steady_new = Steady::begin(&proxy, &new_model);
    steady_new.more(5).await;
    until_refused(&proxy, &old_model, 404, "model_not_found").await;

    let seen = steady.end().await;
    let astray: Vec<_> = seen.iter().filter(|one| one.mock == "the-new-one").collect();
    assert!(astray.is_empty(), "requests for the old model reached the new container: {astray:?}");
    let seen = steady_new.end_without_a_failure().await;
    assert!(seen.iter().all(|one| one.mock == "the-new-one"));
    new.remove().await;
    network.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_with_its_model_it_is_503_and_then_served_never_404() {
    let engine = require_engine!();
    let model = engine.unique("updated");
    let proxy = ProxyProcess::start().await;
    let old = Mock::serving("updated", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    let steady = Steady::begin(&proxy, &model);
    steady.more(3).await;
    old.stop(None).await;
    old.remove().await;
    let new = Mock::serving("updated", &[&model]).exact_name(old.name()).env("NAME", "the-new-one");
    let _new = new.start(&engine).await;
    proxy.until_answered_by(&model, "the-new-one").await;
    let seen = steady.end().await;
    assert!(seen.iter().all(|one| [200, 502, 503].contains(&one.status)), "{seen:?}");
}
