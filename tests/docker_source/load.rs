//! Many containers, many events, a slow reader: looks stay bounded, and the end is the truth.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use domain::container::{Condition, ContainerEvent, LifecycleEvent};
use domain::signal::Signal;
use lw_inference_proxy::adapters::docker::DockerSettings;
use ports::container_source::ContainerSource;

use super::fake_engine::FakeEngine;
use super::heard::{Belief, Heard};
use super::{OPTED_IN, source, with_one};

/// How many looks the source has under way at the most.
const LOOKS_AT_ONCE: usize = 8;
/// What never comes is waited for until then; how soon it comes is printed.
const NEVER: Duration = Duration::from_secs(30);

#[tokio::test]
async fn looks_are_bounded_and_merged() {
    let engine = FakeEngine::start();
    let ids: Vec<_> = (0..40).map(|n| engine.add(&format!("c{n}"), OPTED_IN, None)).collect();
    engine.inspects_take(Duration::from_millis(5));
    let watched = source(DockerSettings { check_every: Duration::from_secs(3600), ..engine.settings() });
    let mut heard = Heard::new(watched.watch());
    assert_eq!(heard.snapshot().await.len(), 40);
    assert!(engine.inspects_peak() <= LOOKS_AT_ONCE, "{}", engine.inspects_peak());
    let before = engine.inspects_of(&ids[0]);
    for _ in 0..1000 {
        watched.refresh(&ids[0]);
    }
    heard.until_observed(&ids[0]).await;
    watched.refresh(&ids[1]);
    heard.until_observed(&ids[1]).await;
    assert!(engine.inspects_of(&ids[0]) - before <= 20, "{}", engine.inspects_of(&ids[0]) - before);
}

#[tokio::test]
async fn more_events_than_fit_end_in_the_truth_all_the_same() {
    let engine = FakeEngine::start();
    let ids: Vec<_> = (0..20).map(|n| engine.add(&format!("c{n}"), OPTED_IN, Some("healthy"))).collect();
    let settings = DockerSettings { events_waiting: 4, check_every: Duration::from_secs(3600), ..engine.settings() };
    let mut heard = Heard::new(source(settings).watch());
    heard.snapshot().await;
    for id in &ids {
        for _ in 0..20 {
            engine.health(id, "unhealthy");
            engine.health(id, "healthy");
        }
        engine.die(id, 1);
    }
    let mut ended = BTreeSet::new();
    while ended.len() < ids.len() {
        if let ContainerEvent::Inspected(c) = heard.next().await
            && c.condition == Condition::NotRunning
        {
            ended.insert(c.id);
        }
    }
    assert_eq!(engine.subscriptions().len(), 1, "the stream was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_containers_and_twenty_thousand_events_end_in_the_truth() {
    const CONTAINERS: usize = 1_000;
    const EVENTS: usize = 20_000;
    let engine = FakeEngine::start();
    let ids: Vec<_> = (0..CONTAINERS).map(|n| engine.add(&format!("c{n}"), OPTED_IN, Some("healthy"))).collect();
    let settings = DockerSettings {
        check_every: Duration::from_secs(3600),
        request_timeout: Duration::from_secs(10),
        ..engine.settings()
    };
    let mut heard = Heard::new(source(settings).watch());
    let mut belief = Belief::default();
    belief.take(&heard.next().await);
    assert_eq!(belief.0.len(), CONTAINERS);
    let looks_before = engine.inspects();

    // A storm in 500 gusts, spread over five seconds, which leaves a third of the containers unhealthy and some gone.
    let storm = async {
        let mut gust = tokio::time::interval(Duration::from_millis(10));
        for n in 0..EVENTS {
            if n % 40 == 0 {
                gust.tick().await;
            }
            let id = &ids[n * 7 % (CONTAINERS - 50)];
            engine.health(id, if (n + n / 3) % 3 == 0 { "unhealthy" } else { "healthy" });
        }
        for id in &ids[CONTAINERS - 50..] {
            engine.remove(id);
        }
        Instant::now()
    };
    let truth = |engine: &FakeEngine, belief: &Belief| {
        belief.0.len() == CONTAINERS - 50
            && ids[..CONTAINERS - 50].iter().all(|id| {
                let unhealthy = engine.health_of(id) == "unhealthy";
                belief.0.get(id) == Some(&Some(if unhealthy { Condition::Unhealthy } else { Condition::Healthy }))
            })
    };
    let mut storm = std::pin::pin!(storm);
    let mut over = None;
    let settled = loop {
        tokio::select! {
            at = &mut storm, if over.is_none() => over = Some(at),
            event = heard.next() => belief.take(&event),
        }
        if let Some(at) = over
            && truth(&engine, &belief)
        {
            break at.elapsed();
        }
        assert!(over.is_none_or(|at| at.elapsed() < NEVER), "not the truth {NEVER:?} after the storm");
    };
    let looks = engine.inspects() - looks_before;
    println!("the truth {settled:?} after the storm, {looks} looks for {EVENTS} events");
    assert!(looks < EVENTS, "looks are merged: {looks}");
    assert!(engine.inspects_peak() <= LOOKS_AT_ONCE, "{}", engine.inspects_peak());
}

#[tokio::test]
async fn a_reader_that_falls_behind_loses_nothing() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    for n in 0..5_000 {
        engine.event(&id, "kill", &[("signal", if n == 4_999 { "15" } else { "1" })]);
    }
    let mut signals = 0;
    while heard.until_edge(&id).await != LifecycleEvent::Signal(Signal::TERM) {
        signals += 1;
    }
    assert_eq!(signals, 4_999);
}
