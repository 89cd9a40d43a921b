//! Requests that come while the proxy starts.

use std::time::Duration;

use lw_inference_proxy_app::proxy::ProxyError;
use testkit::{bodies, channels};

use super::stage::{Stage, address, container};

#[tokio::test(start_paused = true)]
async fn a_request_waits_five_seconds_for_the_proxy_to_settle_and_is_then_unavailable() {
    let stage = Stage::start();
    let client = stage.ask();
    stage.pass(Duration::from_millis(4_990)).await;
    assert!(client.is_waiting());
    let error = client.response().await.err();
    assert!(matches!(error, Some(ProxyError::Unavailable)), "{error:?}");
    assert_eq!(stage.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_on_as_soon_as_the_proxy_has_settled() {
    let stage = Stage::start();
    let client = stage.ask();
    stage.pass(Duration::from_secs(2)).await;
    stage.lists(address(1), Ok(vec!["m"]));
    stage.channel(address(1), channels::responding(|| bodies::text("ok")));
    stage.sees(vec![container(1).build()]);
    assert_eq!(client.response().await.unwrap().status, 200);
    assert_eq!(stage.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_nobody_serves_is_unknown_once_the_proxy_has_settled() {
    let stage = Stage::start();
    let client = stage.ask();
    stage.settle().await;
    stage.sees(Vec::new());
    let error = client.response().await.err();
    assert!(matches!(error, Some(ProxyError::Unknown { .. })), "{error:?}");
    assert!(stage.routes.is_ready());
}

#[tokio::test(start_paused = true)]
async fn the_proxy_settles_only_once_each_healthy_container_was_asked() {
    let stage = Stage::start();
    stage.settle().await;
    assert!(!stage.routes.has_settled(), "no source was heard");
    stage.sees(vec![container(1).build()]);
    stage.settle().await;
    assert_eq!(stage.asked(address(1)).len(), 1);
    assert!(stage.routes.has_settled(), "a failure is a result, too");
}
