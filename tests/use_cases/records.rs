//! Each request has one record, however it ends. The mock of a record refuses a second end.

use ports::telemetry::Outcome;
use ports::upstream::BodyError;
use testkit::{bodies, channels};

use super::stage::Stage;

#[tokio::test(start_paused = true)]
async fn a_request_that_was_answered_has_one_record() {
    let stage = Stage::before([channels::responding(|| bodies::text("ok"))]).await;
    let mut client = stage.ask().response().await.unwrap();
    while client.read().await.is_some() {}
    drop(client);
    assert_eq!(stage.outcomes(), [(Outcome::Complete, Some(200))]);
    assert_eq!(stage.heard.lock().unwrap().finished[0].response_bytes, 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_took_has_one_record() {
    let stage = Stage::before([channels::refusing(), channels::refusing()]).await;
    assert!(stage.ask().response().await.is_err());
    assert_eq!(stage.outcomes(), [(Outcome::Local, Some(503))]);
    assert_eq!(stage.heard.lock().unwrap().failed.len(), 2, "and each attempt that failed is in it");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_before_the_response_has_one_record() {
    let stage = Stage::before([channels::silent()]).await;
    let client = stage.ask();
    stage.settle().await;
    client.leave();
    stage.settle().await;
    assert_eq!(stage.outcomes(), [(Outcome::ClientLeft, None)]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_in_the_middle_of_the_response_has_one_record() {
    let (_body, response) = bodies::written();
    let stage = Stage::before([channels::responding_once(response)]).await;
    drop(stage.ask().response().await.unwrap());
    assert_eq!(stage.outcomes(), [(Outcome::ClientLeft, Some(200))]);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_the_backend_broke_has_one_record() {
    let (body, response) = bodies::written();
    let stage = Stage::before([channels::responding_once(response)]).await;
    let mut client = stage.ask().response().await.unwrap();
    body.send(Err(BodyError::Broken("reset".to_owned()))).unwrap();
    assert!(client.read().await.unwrap().is_err());
    drop(client);
    assert_eq!(stage.outcomes(), [(Outcome::BackendBroke, Some(200))]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_aborted_at_the_end_of_the_process_has_one_record() {
    let (_body, response) = bodies::written();
    let stage = Stage::before([channels::responding_once(response)]).await;
    let client = stage.ask();
    let cancel = std::sync::Arc::clone(&client.cancel);
    let received = client.response().await.unwrap();
    cancel.abort();
    drop(received);
    assert_eq!(stage.outcomes(), [(Outcome::ForceClosed, Some(200))]);
}
