//! What happens while a look or a snapshot is under way.

use domain::container::{Condition, LifecycleEvent, Reach};

use super::fake_engine::FakeEngine;
use super::heard::Belief;
use super::{OPTED_IN, held_look, wait_until, watch, with_one};

#[tokio::test]
async fn what_happens_during_a_look_voids_it() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    // The look reads "healthy", and answers only after the container ended.
    held_look(&engine, &id, "health_status: healthy").await;
    engine.die(&id, 1);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Ended { exit_code: Some(1) });
    engine.release(&id);
    heard.until_condition(&id, Condition::NotRunning).await;
    assert_eq!(heard.story(&id), ["Ended { exit_code: Some(1) }", "NotRunning"]);
}

#[tokio::test]
async fn a_kill_during_a_look_is_told_before_it() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let looks = held_look(&engine, &id, "health_status: healthy").await;
    engine.event(&id, "kill", &[("signal", "15")]);
    heard.until_edge(&id).await;
    engine.release(&id);
    heard.until_observed(&id).await;
    assert_eq!(heard.story(&id), ["Signal(Signal(15))", "Healthy"]);
    assert!(engine.inspects_of(&id) >= looks + 2, "the look was made again after the signal");
}

#[tokio::test]
async fn a_removal_during_a_look_is_the_last_word() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    held_look(&engine, &id, "start").await;
    engine.remove(&id);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Removed);
    engine.release(&id);
    let marker = engine.run("marker", OPTED_IN, None);
    heard.until_observed(&marker).await;
    assert_eq!(heard.story(&id), ["Removed"]);
}

#[tokio::test]
async fn an_end_and_a_start_within_a_moment_end_in_the_new_run() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.die(&id, 1);
    engine.start_again(&id);
    heard.until_edge(&id).await;
    let container = heard.until_condition(&id, Condition::Healthy).await;
    assert!(matches!(container.reach, Reach::At(ips) if ips.first().to_string().starts_with("10.1.200.")));
}

#[tokio::test]
async fn an_event_of_an_older_run_is_passed_over() {
    let engine = FakeEngine::start();
    let before = engine.now();
    let (mut heard, id) = with_one(&engine).await;
    engine.event_at(before, &id, "kill", &[("signal", "15")]);
    engine.event_at(before, &id, "die", &[("exitCode", "0")]);
    heard.until_observed(&id).await;
    assert_eq!(heard.story(&id), ["Healthy"]);
}

#[tokio::test]
async fn a_container_that_goes_while_the_snapshot_is_taken_is_not_in_the_end() {
    let engine = FakeEngine::start();
    let stays = engine.add("stays", OPTED_IN, None);
    let goes = engine.add("goes", OPTED_IN, None);
    engine.hold_inspects(&goes);
    let mut heard = watch(&engine);
    wait_until("the look begins", || engine.inspects_of(&goes) > 0).await;
    engine.remove(&goes);
    let comes = engine.run("comes", OPTED_IN, None);
    engine.release(&goes);
    let mut belief = Belief::default();
    while belief.0.keys().collect::<Vec<_>>() != [&stays, &comes] {
        belief.take(&heard.next().await);
    }
}
