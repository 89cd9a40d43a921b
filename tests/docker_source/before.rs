//! What happened before the source began to watch.

use std::time::Duration;

use domain::container::{Condition, ContainerEvent, ContainerId, LifecycleEvent};
use domain::signal::Signal;

use super::fake_engine::{FakeEngine, Mood};
use super::heard::Heard;
use super::{OPTED_IN, wait_until, watch};

const SECOND: u64 = 1_000_000_000;

/// A healthy container that has run for a day and was sent this signal so many seconds ago.
fn signalled(engine: &FakeEngine, stop_timeout: Option<i64>, signal: &str, seconds_ago: u64) -> ContainerId {
    let id = engine.add("llm", OPTED_IN, Some("healthy"));
    let now = engine.now();
    engine.change(&id, |c| {
        c.started_at = now - 86_400 * SECOND;
        c.stop_timeout = stop_timeout;
    });
    engine.event_at(now - seconds_ago * SECOND, &id, "kill", &[("signal", signal)]);
    id
}

/// What is told right behind the snapshot, which shows the container healthy.
async fn told_behind_the_snapshot(heard: &mut Heard, id: &ContainerId) -> Option<LifecycleEvent> {
    assert_eq!(heard.snapshot().await[id].condition, Condition::Healthy);
    match heard.silent_for(Duration::from_millis(300)).await {
        Ok(()) => None,
        Err(ContainerEvent::Lifecycle { id: of, event: edge, .. }) if of == *id => Some(edge),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stop_that_is_under_way_is_told_behind_the_first_snapshot() {
    let engine = FakeEngine::start();
    let id = signalled(&engine, Some(600), "15", 420);
    let told = told_behind_the_snapshot(&mut watch(&engine), &id).await;
    assert_eq!(told, Some(LifecycleEvent::Signal(Signal::TERM)));
}

#[tokio::test]
async fn a_stop_that_must_be_over_long_ago_was_none() {
    let engine = FakeEngine::start();
    let id = signalled(&engine, Some(10), "15", 420);
    assert_eq!(told_behind_the_snapshot(&mut watch(&engine), &id).await, None);
}

#[tokio::test]
async fn a_signal_to_an_earlier_run_is_not_told() {
    let engine = FakeEngine::start();
    let id = signalled(&engine, Some(600), "15", 60);
    let now = engine.now();
    engine.change(&id, |c| c.started_at = now - 30 * SECOND);
    assert_eq!(told_behind_the_snapshot(&mut watch(&engine), &id).await, None);
}

#[tokio::test]
async fn an_engine_that_cannot_tell_what_was_is_not_waited_for_long() {
    for mood in [Mood::Hangs, Mood::Fails, Mood::UnexpectedResponse] {
        let engine = FakeEngine::start();
        engine.replay_mood(mood);
        let id = signalled(&engine, Some(600), "15", 420);
        assert_eq!(told_behind_the_snapshot(&mut watch(&engine), &id).await, None, "{mood:?}");
        assert_eq!(engine.replays().len(), 1, "it was asked");
    }
}

#[tokio::test]
async fn a_signal_to_a_container_that_was_not_inspected_yet_is_told_behind_what_is_found() {
    let engine = FakeEngine::start();
    let mut heard = watch(&engine);
    heard.snapshot().await;
    let id = engine.add("late", OPTED_IN, Some("healthy"));
    engine.hold_inspects(&id);
    engine.event(&id, "start", &[]);
    wait_until("it is inspected", || engine.inspects_of(&id) > 0).await;
    engine.event(&id, "kill", &[("signal", "15")]);
    wait_until("the event is sent", || engine.listeners() == 1).await;
    engine.release(&id);
    heard.until_observed(&id).await;
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Signal(Signal::TERM));
}
