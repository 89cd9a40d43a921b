//! An engine that answers slowly, or not at all, while its events come: what events tell is told at once.

use std::time::{Duration, Instant};

use domain::container::{Condition, LifecycleEvent};
use domain::signal::Signal;
use lw_inference_proxy::adapters::docker::DockerSettings;
use ports::container_source::ContainerSource;

use super::fake_engine::{FakeEngine, Mood};
use super::heard::Heard;
use super::{OPTED_IN, wait_until, watch, with_one};

/// Longer than anything that the source waits for here.
const SLOW: Duration = Duration::from_secs(3600);

/// Has a stop come in the stream and sees it told, long before anything that is asked of the engine is answered.
async fn a_stop_is_told(engine: &FakeEngine, heard: &mut Heard, id: &domain::container::ContainerId) {
    engine.event(id, "kill", &[("signal", "15")]);
    assert_eq!(heard.until_edge(id).await, LifecycleEvent::Signal(Signal::TERM));
}

#[tokio::test]
async fn a_list_that_takes_long_holds_no_event_up_and_loses_no_engine() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.lists_take(SLOW);
    let lists = engine.lists();
    wait_until("a check", || engine.lists() > lists).await;
    // Longer than one request may take.
    heard.silent_for(2 * engine.settings().request_timeout).await.expect("a slow check is not a loss");
    a_stop_is_told(&engine, &mut heard, &id).await;
    assert_eq!(engine.subscriptions().len(), 1, "the stream was kept");
}

#[tokio::test]
async fn a_list_that_fails_holds_no_event_up_and_loses_no_engine() {
    for mood in [Mood::Fails, Mood::UnexpectedResponse, Mood::OddJson] {
        let engine = FakeEngine::start();
        let (mut heard, id) = with_one(&engine).await;
        engine.list_mood(mood);
        let lists = engine.lists();
        wait_until("two checks", || engine.lists() > lists + 1).await;
        heard.silent_for(Duration::from_millis(300)).await.expect("a failed check is not a loss");
        a_stop_is_told(&engine, &mut heard, &id).await;
        assert_eq!(engine.subscriptions().len(), 1, "{mood:?}: the stream was kept");
    }
}

#[tokio::test]
async fn after_a_cut_stream_events_are_told_while_the_list_is_waited_for() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.lists_take(SLOW);
    engine.cut_events();
    heard.until_lost().await;
    wait_until("it subscribes again", || engine.subscriptions().len() == 2).await;
    a_stop_is_told(&engine, &mut heard, &id).await;
}

#[tokio::test]
async fn after_a_cut_stream_events_are_told_while_an_inspection_hangs() {
    let engine = FakeEngine::start();
    let other = engine.add("other", OPTED_IN, Some("healthy"));
    let (mut heard, id) = with_one(&engine).await;
    engine.inspect_mood(&other, Mood::Hangs);
    engine.cut_events();
    heard.until_lost().await;
    wait_until("it subscribes again", || engine.subscriptions().len() == 2).await;
    a_stop_is_told(&engine, &mut heard, &id).await;
}

#[tokio::test]
async fn what_happens_while_the_snapshot_is_taken_again_is_in_it() {
    let engine = FakeEngine::start();
    let other = engine.add("other", OPTED_IN, Some("healthy"));
    let (mut heard, id) = with_one(&engine).await;
    let _held = engine.hold_inspects(&other);
    let looks = engine.inspects_of(&id);
    engine.cut_events();
    heard.until_lost().await;
    wait_until("it is looked at", || engine.inspects_of(&id) > looks).await;
    // The inspection of this one is answered, the snapshot waits for the other: now it ends.
    engine.die(&id, 3);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Ended { exit_code: Some(3) });
    engine.release(&other);
    assert_eq!(heard.until_snapshot().await[&id].condition, Condition::NotRunning);
}

#[tokio::test]
async fn an_engine_that_answers_nothing_any_more_is_lost_and_its_events_are_still_told() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.mood(Mood::Hangs);
    let reason = heard.until_lost().await;
    assert!(reason.contains("did not answer within"), "{reason}");
    a_stop_is_told(&engine, &mut heard, &id).await;
    heard.silent_for(Duration::from_millis(700)).await.expect("told once");
    engine.mood(Mood::Well);
    assert!(heard.until_snapshot().await.contains_key(&id));
}

#[tokio::test]
async fn a_first_list_that_takes_longer_than_other_requests_is_waited_for() {
    let engine = FakeEngine::start();
    let id = engine.add("llm", OPTED_IN, None);
    let settings = engine.settings();
    engine.lists_take(2 * settings.request_timeout);
    let mut heard = watch(&engine);
    let reason = heard.until_lost().await;
    assert!(reason.contains("did not answer within"), "{reason}");
    assert!(heard.snapshot().await.contains_key(&id));
}

#[tokio::test]
async fn one_inspection_that_hangs_delays_the_snapshot_no_longer_than_its_patience() {
    let engine = FakeEngine::start();
    let good = engine.add("good", OPTED_IN, None);
    let bad = engine.add("bad", OPTED_IN, None);
    engine.inspect_mood(&bad, Mood::Hangs);
    let settings = DockerSettings { request_timeout: SLOW, ..engine.settings() };
    let began = Instant::now();
    let mut heard = Heard::new(super::source(settings).watch());
    assert_eq!(heard.snapshot().await.keys().collect::<Vec<_>>(), [&good]);
    println!("the snapshot after {:?}", began.elapsed());
}
