//! Docker's container source against an engine of our own that misbehaves in every way known of real ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/fake_engine.rs"]
mod fake_engine;
#[path = "support/heard.rs"]
mod heard;

use std::time::{Duration, Instant};

use fake_engine::{FakeEngine, Mood};
use heard::{Belief, Heard, PATIENCE};
use lw_inference_proxy::adapters::docker::{DockerSettings, DockerSource};
use lw_inference_proxy::domain::container::{Condition, ContainerEvent, ContainerId, Edge, Reach};
use lw_inference_proxy::domain::signal::Signal;
use lw_inference_proxy::ports::container_source::ContainerSource;

const OPTED_IN: &[(&str, &str)] = &[("inference.enable", "true")];

fn source(settings: DockerSettings) -> DockerSource {
    DockerSource::new(settings).unwrap()
}

fn watch(engine: &FakeEngine) -> Heard {
    Heard::new(source(engine.settings()).watch())
}

/// A listener on an engine with one healthy container, after the snapshot.
async fn with_one(engine: &FakeEngine) -> (Heard, ContainerId) {
    let id = engine.add("llm", OPTED_IN, Some("healthy"));
    let mut heard = watch(engine);
    assert_eq!(heard.snapshot().await[&id].condition, Condition::Healthy);
    (heard, id)
}

/// Waits until the test passes, and panics if it takes too long.
async fn wait_until(what: &str, mut test: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !test() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

// What engines tell, and in which order.

#[tokio::test]
async fn a_stop_on_docker_20_is_told_from_the_kill_on() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.event(&id, "kill", &[("signal", "15")]);
    assert_eq!(heard.until_edge(&id).await, Edge::Signal(Signal::TERM));
    engine.die(&id, 0);
    engine.network_event(&id, "disconnect");
    engine.event(&id, "stop", &[]);
    heard.until_edge(&id).await;
    heard.until_edge(&id).await;
    heard.until_edge(&id).await;
    heard.until_condition(&id, Condition::NotRunning).await;
    let edges: Vec<_> = heard.story(&id).into_iter().filter(|word| word != "NotRunning").collect();
    let expected = ["Signal(Signal(15))", "Ended { exit_code: Some(0) }", "LeftNetwork", "Ended { exit_code: None }"];
    assert_eq!(edges, expected);
}

#[tokio::test]
async fn a_stop_on_docker_28_is_told_from_the_kill_on() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.event(&id, "kill", &[("signal", "3")]);
    engine.network_event(&id, "disconnect");
    engine.change(&id, |c| {
        c.status = "exited".to_owned();
        c.running = false;
    });
    engine.event(&id, "stop", &[]);
    engine.event(&id, "die", &[("exitCode", "137"), ("execDuration", "4")]);
    heard.until_condition(&id, Condition::NotRunning).await;
    let edges: Vec<_> = heard.story(&id).into_iter().filter(|word| word != "NotRunning").collect();
    let expected = ["Signal(Signal(3))", "LeftNetwork", "Ended { exit_code: None }", "Ended { exit_code: Some(137) }"];
    assert_eq!(edges, expected);
}

#[tokio::test]
async fn a_stop_on_podman_is_seen_in_the_list_before_it_is_over() {
    let engine = FakeEngine::start();
    engine.be_podman();
    let id = engine.add("llm", OPTED_IN, Some("healthy"));
    let settings = DockerSettings { check_every: Duration::from_secs(3600), ..engine.settings() };
    let mut heard = Heard::new(source(settings).watch());
    heard.snapshot().await;
    engine.change(&id, |c| c.status = "stopping".to_owned());
    heard.until_condition(&id, Condition::Stopping).await;
    engine.die(&id, 0);
    assert_eq!(heard.until_edge(&id).await, Edge::Ended { exit_code: Some(0) });
    engine.take_away(&id);
    engine.event(&id, "remove", OPTED_IN);
    assert_eq!(heard.until_edge(&id).await, Edge::Removed);
}

#[tokio::test]
async fn a_kill_without_a_signal_is_looked_into() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.change(&id, |c| c.status = "stopping".to_owned());
    engine.event(&id, "kill", &[]);
    assert_eq!(heard.until_observed(&id).await.condition, Condition::Stopping);
}

#[tokio::test]
async fn a_podman_restart_that_begins_with_restart_ends_up_running() {
    let engine = FakeEngine::start();
    engine.be_podman();
    let (mut heard, id) = with_one(&engine).await;
    engine.event(&id, "restart", &[]);
    engine.die(&id, 0);
    engine.event(&id, "init", &[]);
    engine.start_again(&id);
    heard.until(|event| matches!(event, ContainerEvent::Edge { edge: Edge::Ended { .. }, .. })).await;
    heard.until_condition(&id, Condition::Healthy).await;
}

#[tokio::test]
async fn the_probes_of_podman_are_no_storm() {
    let engine = FakeEngine::start();
    engine.be_podman();
    let (mut heard, id) = with_one(&engine).await;
    engine.inspects_take(Duration::from_millis(20));
    let before = engine.inspects_of(&id);
    for _ in 0..500 {
        engine.event(&id, "health_status", &[]);
    }
    let marker = engine.run("marker", OPTED_IN, None);
    heard.until_observed(&marker).await;
    assert!(engine.inspects_of(&id) - before <= 10, "{}", engine.inspects_of(&id) - before);
}

#[tokio::test]
async fn every_way_to_leave_service_is_told_without_a_look() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    // No look is answered any more: what comes now comes from the events alone.
    let _held = engine.hold_inspects(&id);
    for (action, attributes, edge) in [
        ("kill", &[("signal", "9")][..], Edge::Signal(Signal::KILL)),
        ("oom", &[], Edge::OutOfMemory),
        ("pause", &[], Edge::Paused),
        ("health_status: unhealthy", &[], Edge::Unhealthy),
        ("rename", &[("name", "new"), ("oldName", "/llm")], Edge::Renamed("new".into())),
        ("die", &[("exitCode", "137")], Edge::Ended { exit_code: Some(137) }),
        ("stop", &[], Edge::Ended { exit_code: None }),
        ("destroy", &[], Edge::Removed),
    ] {
        engine.event(&id, action, attributes);
        let ContainerEvent::Edge { edge: told, .. } = heard.next().await else { panic!("{action}: {:?}", heard.all) };
        assert_eq!(told, edge, "{action}");
    }
}

#[tokio::test]
async fn a_network_that_is_left_and_joined_changes_the_address() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.change(&id, |c| c.ip = String::new());
    engine.network_event(&id, "disconnect");
    assert_eq!(heard.until_edge(&id).await, Edge::LeftNetwork);
    assert!(matches!(heard.until_observed(&id).await.reach, Reach::Nowhere(_)));
    engine.change(&id, |c| c.ip = "10.1.7.7".to_owned());
    engine.network_event(&id, "connect");
    let at = Reach::At("10.1.7.7".parse().unwrap());
    heard.until(|event| matches!(event, ContainerEvent::Observed(c) if c.reach == at)).await;
}

#[tokio::test]
async fn a_container_that_uses_anothers_network_is_reached_there_until_that_one_restarts() {
    let engine = FakeEngine::start();
    let owner = engine.add("vpn", &[], None);
    let id = engine.add("llm", OPTED_IN, Some("healthy"));
    engine.change(&owner, |c| c.ip = "10.1.9.9".to_owned());
    engine.change(&id, |c| {
        c.network_mode = format!("container:{}", owner.as_str());
        c.ip = String::new();
    });
    let mut heard = watch(&engine);
    assert_eq!(heard.snapshot().await[&id].reach, Reach::At("10.1.9.9".parse().unwrap()));
    engine.die(&owner, 0);
    assert_eq!(heard.until_edge(&id).await, Edge::LeftNetwork);
    engine.start_again(&owner);
    let lost = heard
        .until(|e| matches!(e, ContainerEvent::Observed(c) if matches!(&c.reach, Reach::Nowhere(why) if why.to_string().contains("restart"))))
        .await;
    assert!(matches!(lost, ContainerEvent::Observed(c) if c.id == id));
}

#[tokio::test]
async fn a_dead_network_neighbour_leaves_no_address() {
    let engine = FakeEngine::start();
    let id = engine.add("llm", OPTED_IN, None);
    engine.change(&id, |c| c.network_mode = format!("container:{}", "f".repeat(64)));
    let mut heard = watch(&engine);
    let Reach::Nowhere(why) = heard.snapshot().await[&id].reach.clone() else { panic!("reached") };
    assert!(why.to_string().contains("which is gone"), "{why}");
}

// Races.

#[tokio::test]
async fn what_happens_during_a_look_voids_it() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let looks = engine.inspects_of(&id);
    // The look reads "healthy", and answers only after the container ended.
    engine.hold_inspects(&id);
    engine.event(&id, "health_status: healthy", &[]);
    wait_until("the look begins", || engine.inspects_of(&id) > looks).await;
    engine.die(&id, 1);
    assert_eq!(heard.until_edge(&id).await, Edge::Ended { exit_code: Some(1) });
    engine.release(&id);
    heard.until_condition(&id, Condition::NotRunning).await;
    assert_eq!(heard.story(&id), ["Ended { exit_code: Some(1) }", "NotRunning"]);
}

#[tokio::test]
async fn a_kill_during_a_look_is_told_before_it() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let looks = engine.inspects_of(&id);
    engine.hold_inspects(&id);
    engine.event(&id, "health_status: healthy", &[]);
    wait_until("the look begins", || engine.inspects_of(&id) > looks).await;
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
    let looks = engine.inspects_of(&id);
    engine.hold_inspects(&id);
    engine.event(&id, "start", &[]);
    wait_until("the look begins", || engine.inspects_of(&id) > looks).await;
    engine.remove(&id);
    assert_eq!(heard.until_edge(&id).await, Edge::Removed);
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
    assert!(matches!(container.reach, Reach::At(ip) if ip.to_string().starts_with("10.1.200.")));
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

// An engine that is away.

#[tokio::test]
async fn an_engine_that_is_absent_is_waited_for() {
    let mut engine = FakeEngine::absent();
    let id = engine.add("llm", OPTED_IN, None);
    let mut heard = watch(&engine);
    let reason = heard.until_lost().await;
    assert!(reason.contains("there is no socket at"), "{reason}");
    assert!(reason.contains("docker.sock"), "{reason}");
    engine.come_up();
    assert!(heard.snapshot().await.contains_key(&id));
    assert_eq!(heard.all.len(), 2, "one loss, one snapshot");
}

#[tokio::test]
async fn a_socket_where_nobody_listens_is_explained() {
    let mut engine = FakeEngine::start();
    engine.go_down().await;
    let reason = watch(&engine).until_lost().await;
    assert!(reason.contains("nobody listens") && reason.contains("restart the proxy"), "{reason}");
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_explained() {
    let engine = FakeEngine::absent();
    std::fs::write(engine.socket(), "not a socket").unwrap();
    let reason = watch(&engine).until_lost().await;
    assert!(reason.contains("nobody listens"), "{reason}");
}

#[tokio::test]
async fn each_reason_is_told_once() {
    let mut engine = FakeEngine::absent();
    let mut heard = watch(&engine);
    heard.until_lost().await;
    heard.silent_for(Duration::from_millis(300)).await.unwrap();
    engine.mood(Mood::Fails);
    engine.come_up();
    let reason = heard.until_lost().await;
    assert!(reason.contains("refused with 500: it hurts"), "{reason}");
    heard.silent_for(Duration::from_millis(300)).await.unwrap();
    engine.mood(Mood::Well);
    heard.snapshot().await;
}

#[tokio::test]
async fn a_cut_stream_ends_in_the_truth() {
    let engine = FakeEngine::start();
    let stays = engine.add("stays", OPTED_IN, Some("healthy"));
    let goes = engine.add("goes", OPTED_IN, Some("healthy"));
    let mut heard = watch(&engine);
    assert_eq!(heard.snapshot().await.len(), 2);
    engine.list_mood(Mood::Fails);
    engine.cut_events();
    heard.until_lost().await;
    engine.take_away(&goes);
    engine.change(&stays, |c| c.health = Some("unhealthy".to_owned()));
    let comes = engine.add("comes", OPTED_IN, None);
    let cut = Instant::now();
    engine.list_mood(Mood::Well);
    let all = heard.until_snapshot().await;
    assert!(cut.elapsed() < Duration::from_secs(1), "{:?}", cut.elapsed());
    assert_eq!(all.keys().collect::<Vec<_>>(), [&stays, &comes]);
    assert_eq!(all[&stays].condition, Condition::Unhealthy);
}

#[tokio::test]
async fn a_restarted_engine_is_found_again_and_a_signal_from_meanwhile_is_told() {
    let mut engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.go_down().await;
    heard.until_lost().await;
    engine.event(&id, "kill", &[("signal", "15")]);
    engine.come_up();
    heard.until_snapshot().await;
    assert_eq!(heard.until_edge(&id).await, Edge::Signal(Signal::TERM));
}

#[tokio::test]
async fn an_engine_that_hangs_is_lost_in_bounded_time_and_found_again() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let hung = Instant::now();
    engine.mood(Mood::Hangs);
    let reason = heard.until_lost().await;
    assert!(reason.contains("did not answer within"), "{reason}");
    assert!(hung.elapsed() < Duration::from_secs(2), "{:?}", hung.elapsed());
    engine.mood(Mood::Well);
    let well = Instant::now();
    assert!(heard.until_snapshot().await.contains_key(&id));
    assert!(well.elapsed() < Duration::from_secs(1), "{:?}", well.elapsed());
}

#[tokio::test]
async fn an_engine_that_answers_rubbish_never_empties_the_list() {
    for mood in [Mood::Rubbish, Mood::OddJson, Mood::Fails] {
        let engine = FakeEngine::start();
        let (mut heard, id) = with_one(&engine).await;
        engine.mood(mood);
        let reason = heard.until_lost().await;
        assert!(!reason.contains("html"), "{reason}");
        heard
            .silent_for(Duration::from_millis(300))
            .await
            .unwrap_or_else(|e| assert!(matches!(e, ContainerEvent::Lost(_)), "{e:?}"));
        engine.mood(Mood::Well);
        assert!(heard.until_snapshot().await.contains_key(&id), "{mood:?}");
        let empty = heard.all.iter().filter(|event| matches!(event, ContainerEvent::Snapshot(all) if all.is_empty()));
        assert_eq!(empty.count(), 0);
    }
}

#[tokio::test]
async fn a_list_that_is_empty_by_mistake_removes_nothing() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let lists = engine.lists();
    engine.list_answer(Some("[]"));
    wait_until("three checks", || engine.lists() >= lists + 3).await;
    engine.cut_events();
    heard.until_lost().await;
    assert!(heard.until_snapshot().await.contains_key(&id), "it is asked for by its id");
    assert!(heard.story(&id).iter().all(|word| word != "Removed"), "{:?}", heard.story(&id));
}

#[tokio::test]
async fn lists_of_another_shape_are_a_loss() {
    for answer in ["null", "{}", "[{}]", "[null]", "", "[{\"Id\":5}]"] {
        let engine = FakeEngine::start();
        engine.list_answer(Some(answer));
        let mut heard = watch(&engine);
        let reason = heard.until_lost().await;
        assert!(reason.contains("does not answer as an engine does"), "{answer}: {reason}");
    }
}

#[tokio::test]
async fn one_container_that_cannot_be_inspected_does_not_hold_up_the_others() {
    for mood in [Mood::Fails, Mood::Rubbish, Mood::OddJson, Mood::Hangs] {
        let engine = FakeEngine::start();
        let good = engine.add("good", OPTED_IN, None);
        let bad = engine.add("bad", OPTED_IN, None);
        engine.inspect_mood(&bad, mood);
        let mut heard = watch(&engine);
        assert_eq!(heard.snapshot().await.keys().collect::<Vec<_>>(), [&good], "{mood:?}");
        engine.inspect_mood(&bad, Mood::Well);
        heard.until_observed(&bad).await;
    }
}

#[tokio::test]
async fn where_no_container_can_be_inspected_the_engine_counts_as_lost() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.inspect_mood(&id, Mood::OddJson);
    engine.cut_events();
    heard.until_lost().await;
    heard.until_lost().await;
    engine.inspect_mood(&id, Mood::Well);
    assert!(heard.until_snapshot().await.contains_key(&id));
}

// The stream itself.

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
    assert_eq!(heard.until_edge(&id).await, Edge::Paused);
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
    assert_eq!(heard.until_edge(&id).await, Edge::Removed);
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
    assert_eq!(heard.until_edge(&id).await, Edge::Signal(Signal::TERM));
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
async fn looks_are_bounded_and_merged() {
    let engine = FakeEngine::start();
    let ids: Vec<_> = (0..40).map(|n| engine.add(&format!("c{n}"), OPTED_IN, None)).collect();
    engine.inspects_take(Duration::from_millis(5));
    let watched = source(DockerSettings { check_every: Duration::from_secs(3600), ..engine.settings() });
    let mut heard = Heard::new(watched.watch());
    assert_eq!(heard.snapshot().await.len(), 40);
    assert!(engine.inspects_peak() <= 8, "{}", engine.inspects_peak());
    let before = engine.inspects_of(&ids[0]);
    for _ in 0..1000 {
        watched.look_again(&ids[0]);
    }
    heard.until_observed(&ids[0]).await;
    watched.look_again(&ids[1]);
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
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < ids.len() {
        if let ContainerEvent::Observed(c) = heard.next().await
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
        assert!(over.is_none_or(|at| at.elapsed() < PATIENCE), "never the truth");
    };
    let looks = engine.inspects() - looks_before;
    println!("the truth {settled:?} after the storm, {looks} looks for {EVENTS} events");
    assert!(settled < Duration::from_secs(2), "{settled:?}");
    assert!(looks < EVENTS, "looks are merged: {looks}");
}

#[tokio::test]
async fn a_reader_that_falls_behind_loses_nothing() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    for n in 0..5_000 {
        engine.event(&id, "kill", &[("signal", if n == 4_999 { "15" } else { "1" })]);
    }
    let mut signals = 0;
    while heard.until_edge(&id).await != Edge::Signal(Signal::TERM) {
        signals += 1;
    }
    assert_eq!(signals, 4_999);
}

#[tokio::test]
async fn dropping_the_stream_closes_every_connection_even_of_a_hung_engine() {
    let engine = FakeEngine::start();
    let (heard, id) = with_one(&engine).await;
    engine.hold_inspects(&id);
    let looks = engine.inspects_of(&id);
    engine.event(&id, "start", &[]);
    wait_until("a look is under way", || engine.inspects_of(&id) > looks).await;
    drop(heard);
    tokio::time::timeout(PATIENCE, engine.deserted()).await.expect("all connections are closed");
}
