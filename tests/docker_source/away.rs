//! An engine that is away, hangs, or answers what makes no sense.

use std::time::{Duration, Instant};

use domain::container::{Condition, ContainerEvent, LifecycleEvent, Snapshot};
use domain::signal::Signal;
use lw_inference_proxy::adapters::docker::DockerSettings;

use super::fake_engine::{FakeEngine, Mood};
use super::{OPTED_IN, wait_until, watch, with_one};

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
    assert!(reason.contains("nothing listens") && reason.contains("restart the proxy"), "{reason}");
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_explained() {
    let engine = FakeEngine::absent();
    std::fs::write(engine.socket(), "not a socket").unwrap();
    let reason = watch(&engine).until_lost().await;
    assert!(reason.contains("nothing listens"), "{reason}");
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
    println!("the truth {:?} after the list is answered again", cut.elapsed());
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
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Signal(Signal::TERM));
    heard.until_snapshot().await;
}

#[tokio::test]
async fn an_engine_that_hangs_is_lost_in_bounded_time_and_found_again() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let hung = Instant::now();
    engine.mood(Mood::Hangs);
    let reason = heard.until_lost().await;
    assert!(reason.contains("did not answer within"), "{reason}");
    let lost = hung.elapsed();
    assert!(lost < DockerSettings::default().request_timeout, "by its own deadline: {lost:?}");
    engine.mood(Mood::Well);
    let well = Instant::now();
    assert!(heard.until_snapshot().await.contains_key(&id));
    println!("lost {lost:?} after it hung, found {:?} after it was well", well.elapsed());
}

#[tokio::test]
async fn an_engine_that_answers_rubbish_never_empties_the_list() {
    for mood in [Mood::UnexpectedResponse, Mood::OddJson, Mood::Fails] {
        let engine = FakeEngine::start();
        let (mut heard, id) = with_one(&engine).await;
        engine.mood(mood);
        engine.cut_events();
        let reason = heard.until_lost().await;
        assert!(!reason.contains("html"), "{reason}");
        heard
            .silent_for(Duration::from_millis(300))
            .await
            .unwrap_or_else(|e| assert!(matches!(e, ContainerEvent::Disconnected(_)), "{e:?}"));
        engine.mood(Mood::Well);
        assert!(heard.until_snapshot().await.contains_key(&id), "{mood:?}");
        let empty = heard
            .all
            .iter()
            .filter(|event| matches!(event, ContainerEvent::Snapshot(all) if *all == Snapshot::default()));
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
    for mood in [Mood::Fails, Mood::UnexpectedResponse, Mood::OddJson, Mood::Hangs] {
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
async fn what_cannot_be_inspected_is_named_once_with_the_reason_and_is_not_gone() {
    for (mood, reason) in [
        (Mood::Hangs, "does not answer"),
        (Mood::Fails, "refused with 500: it hurts"),
        (Mood::OddJson, "JSON of another shape"),
        (Mood::UnexpectedResponse, "no JSON"),
    ] {
        let engine = FakeEngine::start();
        let (mut heard, id) = with_one(&engine).await;
        let new = engine.add("new", OPTED_IN, None);
        engine.inspect_mood(&id, mood);
        engine.inspect_mood(&new, mood);
        engine.cut_events();
        heard.until_lost().await;
        let all = loop {
            if let ContainerEvent::Snapshot(all) = heard.next().await {
                break all;
            }
        };
        assert_eq!(all.containers, [], "{mood:?}");
        let named: Vec<_> = all.uninspected.iter().map(|one| (&one.id, &*one.name)).collect();
        assert_eq!(named, [(&id, "llm"), (&new, "new")], "{mood:?}");
        assert!(all.uninspected.iter().all(|one| one.why.contains(reason)), "{mood:?}: {:?}", all.uninspected);
        heard.silent_for(Duration::from_millis(700)).await.expect("named once");
        engine.inspect_mood(&id, Mood::Well);
        heard.until_observed(&id).await;
    }
}

#[tokio::test]
async fn a_container_that_cannot_be_inspected_any_more_is_named_and_keeps_its_state() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.inspect_mood(&id, Mood::Hangs);
    engine.event(&id, "health_status: healthy", &[]);
    let named = heard.next().await;
    assert!(
        matches!(&named, ContainerEvent::InspectionFailed(one) if one.id == id && &*one.name == "llm"),
        "{named:?}"
    );
    engine.inspect_mood(&id, Mood::Well);
    assert_eq!(heard.until_observed(&id).await.condition, Condition::Healthy);
}

#[tokio::test]
async fn a_dozen_inspections_that_hang_do_not_keep_another_container_waiting() {
    let engine = FakeEngine::start();
    let (mut heard, _) = with_one(&engine).await;
    for n in 0..12 {
        let hung = engine.add(&format!("hung{n}"), OPTED_IN, None);
        engine.inspect_mood(&hung, Mood::Hangs);
        engine.event(&hung, "start", &[]);
    }
    let good = engine.run("good", OPTED_IN, None);
    heard.until_observed(&good).await;
}

#[tokio::test]
async fn where_all_inspections_are_forbidden_the_source_is_lost() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.inspect_mood(&id, Mood::Forbids);
    engine.cut_events();
    heard.until_lost().await;
    let reason = heard.until_lost().await;
    assert!(reason.contains("a socket proxy must allow GET"), "{reason}");
    engine.inspect_mood(&id, Mood::Well);
    assert!(heard.until_snapshot().await.contains_key(&id));
}
