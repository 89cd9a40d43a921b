//! How backends are asked for their models.

use std::time::Duration;

use domain::table::Resolution;
use ports::telemetry::TableAction;
use ports::upstream::ListModelsError;
use testkit::{bodies, channels};

use super::log;
use super::stage::{REFRESH, Stage, address, container};

#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_is_asked_again_with_a_wait_that_doubles_up_to_fifteen_seconds() {
    let stage = Stage::start();
    stage.lists(address(1), Err(ListModelsError::Status(503)));
    stage.sees(vec![container(1).build()]);
    stage.pass(Duration::from_secs(70)).await;
    let asked = stage.asked(address(1));
    let waits: Vec<_> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis() / 10 * 10).collect();
    assert_eq!(waits[..9], [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000], "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_failure_is_reported_once_until_it_changes() {
    let stage = Stage::start();
    stage.lists(address(1), Err(ListModelsError::Status(503)));
    stage.sees(vec![container(1).build()]);
    stage.pass(Duration::from_secs(20)).await;
    assert_eq!(log::with("reason", "503").len(), 1);
    stage.lists(address(1), Err(ListModelsError::Status(500)));
    stage.pass(Duration::from_secs(40)).await;
    assert_eq!((log::with("reason", "503").len(), log::with("reason", "500").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_asked_when_the_first_takes_no_connection() {
    let stage = Stage::start();
    stage.lists(address(2), Ok(vec!["m"]));
    stage.channel(address(2), channels::responding(|| bodies::text("ok")));
    stage.sees(vec![container(1).at([address(1).ip(), address(2).ip()]).build()]);
    stage.settle().await;
    assert_eq!((stage.asked(address(1)).len(), stage.asked(address(2)).len()), (1, 1));
    assert_eq!(stage.ask().response().await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn no_other_address_is_asked_when_the_first_takes_the_connection_and_fails() {
    let stage = Stage::start();
    stage.lists(address(1), Err(ListModelsError::Status(500)));
    stage.lists(address(2), Ok(vec!["m"]));
    stage.sees(vec![container(1).at([address(1).ip(), address(2).ip()]).build()]);
    stage.settle().await;
    assert!(stage.asked(address(2)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_models_are_refreshed_on_the_timer() {
    let stage = Stage::before([channels::refusing()]).await;
    stage.lists(address(1), Ok(vec!["m", "n"]));
    stage.pass(REFRESH - Duration::from_secs(1)).await;
    assert_eq!(stage.asked(address(1)).len(), 1);
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(stage.asked(address(1)).len(), 2);
    assert_eq!(stage.changes(TableAction::ModelsChanged).len(), 1);
    assert!(matches!(stage.routes.load().table.resolve("n"), Resolution::Claimed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_keeps_the_models_and_the_recovery_is_reported() {
    let stage = Stage::before([channels::refusing()]).await;
    stage.lists(address(1), Err(ListModelsError::Status(500)));
    stage.pass(REFRESH * 2 + Duration::from_secs(1)).await;
    assert!(matches!(stage.routes.load().table.resolve("m"), Resolution::Claimed(_)));
    assert_eq!(log::with("reason", "500").len(), 1, "two failures for one reason");
    stage.lists(address(1), Ok(vec!["m"]));
    stage.pass(REFRESH).await;
    assert_eq!(log::with("after_s", "600").len(), 1, "it had failed for two intervals");
}

#[tokio::test(start_paused = true)]
async fn a_backend_at_work_is_refreshed_only_once_it_is_idle() {
    let (body, response) = bodies::written();
    let stage = Stage::before([channels::responding_once(response)]).await;
    let mut client = stage.ask().response().await.unwrap();
    stage.pass(REFRESH + Duration::from_secs(60)).await;
    assert_eq!(stage.asked(address(1)).len(), 1);
    drop(body);
    assert_eq!(client.read().await, None);
    stage.settle().await;
    assert_eq!(stage.asked(address(1)).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_two_refreshes_in_a_row_is_ejected() {
    let stage = Stage::before([channels::refusing()]).await;
    stage.lists(address(1), Err(ListModelsError::ConnectionRefused));
    stage.pass(REFRESH + Duration::from_secs(1)).await;
    assert!(stage.changes(TableAction::Draining).is_empty(), "one may be chance");
    stage.pass(REFRESH).await;
    assert_eq!(stage.changes(TableAction::Draining).len(), 1);
}
