//! The stream of events itself: what it carries, how it is resumed, and what it leaves behind.

use std::time::Duration;

use domain::container::{Condition, LifecycleEvent};
use domain::signal::Signal;

use super::fake_engine::FakeEngine;
use super::heard::PATIENCE;
use super::{OPTED_IN, held_look, wait_until, watch, with_one};

#[tokio::test]
async fn an_idle_stream_stays_open_and_says_nothing() {
    let engine = FakeEngine::start();
    let (mut heard, _) = with_one(&engine).await;
    let lists = engine.lists();
    heard.silent_for(Duration::from_millis(900)).await.unwrap();
    assert!(engine.lists() > lists, "it is checked meanwhile");
    assert_eq!(engine.subscriptions().len(), 1);
}

#[tokio::test]
async fn unknown_and_broken_lines_end_nothing() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    for line in [
        r#"{"Type":"galaxy","Action":"spin","Actor":{"ID":"x"},"timeNano":1}"#,
        r#"{"Type":"container","Action":"levitate","Actor":{"ID":"x"}}"#,
        r#"{"Type":{"new":"shape"}}"#,
        "<html>",
        "",
        "{\"Type\":\"container\"",
        "\u{1e}{}",
    ] {
        engine.line(line);
    }
    engine.line(&"x".repeat(3_000_000));
    engine.event(&id, "pause", &[]);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Paused);
    assert_eq!(engine.subscriptions().len(), 1);
}

#[tokio::test]
async fn a_change_that_no_event_told_is_found() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.change(&id, |c| c.health = Some("unhealthy".to_owned()));
    heard.until_condition(&id, Condition::Unhealthy).await;
    let quiet = engine.add("quiet", OPTED_IN, None);
    heard.until_observed(&quiet).await;
    engine.take_away(&id);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Removed);
}

#[tokio::test]
async fn a_new_run_that_neither_event_nor_list_showed_is_found_in_turn() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let at = engine.now();
    engine.change(&id, |c| c.started_at = at);
    assert_eq!(heard.until_observed(&id).await.started_at.0, at);
}

#[tokio::test]
async fn the_stream_begins_before_the_list_and_resumes_before_the_last_event() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let nanos = |since: &Option<String>| -> u64 {
        let (seconds, nanos) = since.as_deref().unwrap().split_once('.').unwrap();
        seconds.parse::<u64>().unwrap() * 1_000_000_000 + nanos.parse::<u64>().unwrap()
    };
    let first = nanos(&engine.subscriptions()[0]);
    let now = engine.now();
    assert!(first < now && now - first < 10_000_000_000, "a few seconds back: {first} at {now}");
    let last = engine.event(&id, "kill", &[("signal", "1")]);
    heard.until_edge(&id).await;
    engine.cut_events();
    heard.until_snapshot().await;
    let resumed = nanos(&engine.subscriptions()[1]);
    assert!(resumed <= last && last - resumed < 10_000_000_000);
}

#[tokio::test]
async fn what_happened_between_subscription_and_list_is_in_the_snapshot_or_after_it() {
    let engine = FakeEngine::start();
    engine.lists_take(Duration::from_millis(100));
    let mut heard = watch(&engine);
    wait_until("it subscribes", || engine.listeners() == 1).await;
    wait_until("it lists", || engine.lists() == 1).await;
    let id = engine.run("between", OPTED_IN, None);
    engine.event(&id, "kill", &[("signal", "15")]);
    heard.snapshot().await;
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Signal(Signal::TERM));
}

#[tokio::test]
async fn an_event_stream_without_a_head_holds_nothing_up_for_long() {
    let engine = FakeEngine::start();
    engine.headless_events();
    let id = engine.add("llm", OPTED_IN, None);
    let mut heard = watch(&engine);
    assert!(heard.snapshot().await.contains_key(&id));
}

#[tokio::test]
async fn dropping_the_stream_closes_every_connection_even_of_a_hung_engine() {
    let engine = FakeEngine::start();
    let (heard, id) = with_one(&engine).await;
    held_look(&engine, &id, "start").await;
    drop(heard);
    tokio::time::timeout(PATIENCE, engine.deserted()).await.expect("all connections are closed");
}
