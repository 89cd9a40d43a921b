//! How a backend leaves service, and what becomes of its requests.

use std::time::Duration;

use domain::container::{ContainerEvent, ContainerId, LifecycleEvent};
use domain::signal::Signal;
use ports::telemetry::{Outcome, TableAction};
use ports::upstream::{BodyError, ListModelsError};
use testkit::{bodies, channels};

use super::log;
use super::stage::{Client, DRAIN, READMIT_AFTER, Stage, address, container};

const STOP: LifecycleEvent = LifecycleEvent::Signal(Signal::TERM);

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_told_to_stop_gets_no_new_request_and_finishes_those_in_flight() {
    let (body, response) = bodies::written();
    let stage = Stage::before([channels::responding_once(response)]).await;
    let mut client = stage.ask().response().await.unwrap();
    stage.happens(1, STOP).await;
    assert!(stage.ask().response().await.is_err());
    assert!(stage.changes(TableAction::Removed).is_empty());
    body.send(Ok("late")).unwrap();
    drop(body);
    assert_eq!(client.read().await, Some(Ok("late".to_owned())));
    assert_eq!(client.read().await, None);
    stage.settle().await;
    assert_eq!(stage.changes(TableAction::Removed).len(), 1);
    assert_eq!(stage.attempts(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_backend_that_is_told_to_stop_is_removed_at_once() {
    let stage = Stage::before([channels::refusing()]).await;
    stage.happens(1, STOP).await;
    assert_eq!(stage.changes(TableAction::Removed).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_drain_timeout_force_closes_what_is_in_flight_and_counts_it() {
    let stage = Stage::before([channels::silent()]).await;
    let clients = [stage.ask(), stage.ask()];
    stage.settle().await;
    stage.happens(1, STOP).await;
    stage.pass(DRAIN - Duration::from_secs(1)).await;
    assert!(clients.iter().all(Client::is_waiting));
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(stage.outcomes(), [(Outcome::ForceClosed, Some(503)); 2]);
    assert_eq!(log::with("requests", "2").len(), 1);
    assert_eq!(stage.changes(TableAction::Removed).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_the_backend_breaks_while_it_drains_are_counted_as_broken() {
    let (body, response) = bodies::written();
    let stage = Stage::before([channels::responding_once(response)]).await;
    let mut client = stage.ask().response().await.unwrap();
    stage.happens(1, STOP).await;
    body.send(Err(BodyError::Broken("reset".to_owned()))).unwrap();
    assert!(client.read().await.unwrap().is_err());
    stage.settle().await;
    assert_eq!(log::with("broken", "1").len(), 1);
    assert_eq!(stage.outcomes(), [(Outcome::BackendBroke, Some(200))]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_well_while_its_backend_drains_is_not_counted_as_broken() {
    let (body, response) = bodies::written();
    let stage = Stage::before([channels::responding_once(response)]).await;
    let mut client = stage.ask().response().await.unwrap();
    stage.happens(1, STOP).await;
    drop(body);
    assert_eq!(client.read().await, None);
    stage.settle().await;
    assert_eq!(stage.changes(TableAction::Removed).len(), 1);
    assert!(log::with("broken", "").is_empty());
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_a_dead_backend_fail_after_two_seconds() {
    let stage = Stage::before([channels::silent()]).await;
    let client = stage.ask();
    stage.settle().await;
    stage.happens(1, LifecycleEvent::Ended { exit_code: Some(137) }).await;
    stage.pass(Duration::from_millis(1_900)).await;
    assert!(client.is_waiting());
    stage.pass(Duration::from_millis(200)).await;
    assert!(!client.is_waiting());
    assert_eq!(stage.outcomes(), [(Outcome::BackendBroke, Some(503))]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_ignores_its_stop_signal_is_inspected_and_readmitted_only_after_its_drain() {
    let stage = Stage::before([channels::refusing()]).await;
    stage.happens(1, STOP).await;
    stage.pass(DRAIN + READMIT_AFTER - Duration::from_secs(1)).await;
    stage.event(ContainerEvent::Inspected(container(1).build()));
    stage.settle().await;
    assert_eq!(stage.changes(TableAction::Registered).len(), 1, "it may be in the middle of a proper stop");
    stage.heard.lock().unwrap().inspections.clear();
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(stage.heard.lock().unwrap().inspections, [ContainerId::new("1")]);
    stage.event(ContainerEvent::Inspected(container(1).build()));
    stage.settle().await;
    assert_eq!(stage.changes(TableAction::Registered).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_went_with_a_pause_keeps_its_requests_and_returns_with_its_models() {
    let (body, response) = bodies::written();
    let stage = Stage::before([channels::responding_once(response)]).await;
    stage.channel(address(1), channels::responding(|| bodies::text("new")));
    let mut client = stage.ask().response().await.unwrap();
    stage.happens(1, LifecycleEvent::Paused).await;
    stage.pass(DRAIN * 2).await;
    stage.lists(address(1), Err(ListModelsError::Status(503)));
    stage.event(ContainerEvent::Inspected(container(1).build()));
    stage.settle().await;
    assert_eq!(stage.ask().response().await.unwrap().status, 200, "without a list of models");
    drop(body);
    assert_eq!(client.read().await, None, "what was in flight went on");
}
