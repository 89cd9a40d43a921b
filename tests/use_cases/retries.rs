//! Which backends get a request, and in which order.

use domain::container::{ContainerId, LifecycleEvent};
use domain::signal::Signal;
use lw_inference_proxy_app::proxy::ProxyError;
use ports::telemetry::TableAction;
use testkit::{bodies, channels};

use super::stage::Stage;

fn ok() -> testkit::mocks::MockChannel {
    channels::responding(|| bodies::text("ok"))
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_goes_to_the_next_claimant() {
    let stage = Stage::before([ok(), channels::refusing()]).await;
    let mut response = stage.ask().response().await.unwrap();
    assert_eq!(response.read().await, Some(Ok("ok".to_owned())));
    assert_eq!(stage.attempts(), ["2", "1"], "the last one to become healthy is first");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_tried_at_three_backends_at_most_and_at_each_once() {
    let refusing = (0..3).map(|_| channels::refusing());
    let stage = Stage::before([ok()].into_iter().chain(refusing)).await;
    let error = stage.ask().response().await.err();
    assert!(matches!(error, Some(ProxyError::Unreachable)), "{error:?}");
    assert_eq!(stage.attempts(), ["4", "3", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_backend_may_have_begun_goes_nowhere_else() {
    let stage = Stage::before([ok(), channels::breaking()]).await;
    let error = stage.ask().response().await.err();
    assert!(matches!(error, Some(ProxyError::Unreachable)), "{error:?}");
    assert_eq!(stage.attempts(), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_backend_is_neither_ejected_nor_followed_by_another() {
    let stage = Stage::before([ok(), channels::full()]).await;
    let error = stage.ask().response().await.err();
    stage.settle().await;
    assert!(matches!(error, Some(ProxyError::Busy)), "{error:?}");
    assert_eq!(stage.attempts(), ["2"]);
    assert!(stage.changes(TableAction::Draining).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_connection_goes_elsewhere_when_its_backend_leaves() {
    let stage = Stage::before([ok(), channels::connecting()]).await;
    let client = stage.ask();
    stage.settle().await;
    assert!(client.is_waiting());
    stage.happens(2, LifecycleEvent::Signal(Signal::TERM)).await;
    assert_eq!(client.response().await.unwrap().status, 200);
    assert_eq!(stage.attempts(), ["2", "1"]);
    assert!(stage.heard.lock().unwrap().inspections.is_empty(), "nothing failed there");
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_ejects_the_backend_and_has_it_inspected() {
    let stage = Stage::before([channels::refusing()]).await;
    let error = stage.ask().response().await.err();
    assert!(matches!(error, Some(ProxyError::Unreachable)), "{error:?}");
    stage.settle().await;
    let left = stage.changes(TableAction::Draining);
    assert_eq!(left.len(), 1);
    assert!(left[0].1.contains("the connection was refused"), "{left:?}");
    assert_eq!(stage.heard.lock().unwrap().inspections, [ContainerId::new("1")]);
}

#[tokio::test(start_paused = true)]
async fn an_ejected_backend_is_readmitted_as_soon_as_it_lists_its_models() {
    let stage = Stage::before([channels::refusing()]).await;
    stage.channel(super::stage::address(1), ok());
    assert!(stage.ask().response().await.is_err());
    stage.settle().await;
    assert_eq!(stage.changes(TableAction::Registered).len(), 2, "a registration of its own");
    assert_eq!(stage.ask().response().await.unwrap().status, 200);
}
