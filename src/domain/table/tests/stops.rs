//! Stop signals: which of them count, what follows, and how a container that ignored one is readmitted.

use super::*;

#[test]
fn its_own_stop_signal_and_term_int_and_quit_drain_it_at_once() {
    for (own, sent) in [(15, 15), (15, 2), (15, 3), (3, 3), (3, 15), (10, 10), (37, 37), (1, 1)] {
        let mut scene = Scene::new();
        scene.serving(container("a").stopped_by(Signal(own)), &["m"]).signal("a", sent);
        assert_eq!(
            scene.reported,
            ["left service a within 60s"],
            "signal {sent} to a container that is stopped by {own}"
        );
        assert_eq!((scene.state("a"), scene.request("m")), ("stopping".into(), "draining".into()));
    }
}

#[test]
fn any_other_signal_is_nothing() {
    for sent in [1, 10, 12, 18, 28] {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).signal("a", sent);
        assert_eq!((scene.reported.len(), scene.request("m")), (0, "served by a".into()), "signal {sent}");
    }
}

#[test]
fn an_inspection_while_it_stops_does_not_bring_it_back() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15);
    let conditions =
        [Condition::Healthy, Condition::Unhealthy, Condition::Starting, Condition::Paused, Condition::Stopping];
    for condition in conditions {
        scene.inspects(container("a").is(condition));
        assert_eq!((scene.reported.len(), scene.state("a")), (0, "stopping".into()), "{condition:?}");
    }
    scene.snapshot([container("a")]);
    assert_eq!(scene.state("a"), "stopping", "a snapshot is no more than an inspection");
}

#[test]
fn a_second_stop_signal_does_not_put_the_deadline_off() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15).passes(second(50));
    scene.signal("a", 15);
    assert_eq!(scene.reported, [""; 0]);
    let reported = scene.passes(second(11)).reported.join("; ");
    assert!(reported.contains("10s: force-close a"), "{reported}");
}

#[test]
fn ignored_it_is_inspected_after_its_stop_timeout_and_then_every_so_often() {
    for (timeout, first) in [(second(1), 15), (second(10), 15), (second(90), 95), (second(3600), 300)] {
        let mut scene = Scene::new();
        scene.serving(container("a").stop_timeout(timeout), &["m"]).signal("a", 15);
        scene.apply(TableEvent::DrainFinished(scene.table.draining()[0].backend.registration));
        let reported = scene.passes(second(first + 60)).reported.clone();
        let inspections = [first, first + 30, first + 60].map(|at| format!("{at}s: refresh container a"));
        assert_eq!(reported, inspections, "stop timeout {timeout:?}");
    }
}

#[test]
fn ignored_it_is_inspected_when_it_may_be_readmitted() {
    let mut scene = Scene::readmitting_after(second(1));
    scene.serving(container("a"), &["m"]).signal("a", 15);
    scene.apply(TableEvent::DrainFinished(scene.table.draining()[0].backend.registration));
    let reported = scene.passes(DRAIN + second(1)).reported.clone();
    assert_eq!(reported.last().map(String::as_str), Some("61s: refresh container a"), "{reported:?}");
}

#[test]
fn ignored_it_is_readmitted_only_after_minutes_and_with_a_warning() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15);
    scene.passes(DRAIN + READMIT - second(1)).inspects(container("a"));
    assert_eq!((scene.reported.len(), scene.state("a")), (0, "stopping".into()));
    scene.passes(second(1)).inspects(container("a").unhealthy());
    assert_eq!(scene.state("a"), "stopping", "only a healthy one is readmitted");
    scene.inspects(container("a"));
    assert_eq!(scene.reported[0], "warn of a: readmitted");
    assert_eq!((scene.state("a"), scene.request("m")), ("ready".into(), "served by a".into()));
    assert!(!scene.backend("a").gate.is_closed(), "a new registration, a new gate");
}

#[test]
fn readmitted_and_told_to_stop_again_it_drains_again() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15).passes(DRAIN + READMIT).inspects(container("a"));
    scene.signal("a", 15);
    assert_eq!(scene.reported, ["left service a within 60s"]);
    scene.passes(DRAIN + READMIT).inspects(container("a"));
    assert_eq!(scene.reported[0], "warn of a: readmitted", "reported each time it happens");
}

#[test]
fn a_new_run_ends_the_stop() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15).inspects(container("a").run(2).starting());
    assert_eq!(scene.state("a"), "starting");
    scene.inspects(container("a").run(2));
    assert_eq!(scene.state("a"), "discovering");
}

#[test]
fn its_end_seen_only_by_an_inspection_ends_the_stop() {
    for (condition, state) in [(Condition::NotRunning, "ended"), (Condition::Restarting, "restarting")] {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).signal("a", 15).inspects(container("a").is(condition));
        assert_eq!(scene.state("a"), state);
        assert!(scene.table.draining()[0].fail_waiting_at.is_some(), "what waits for the dead is ended");
    }
}

#[test]
fn a_stop_in_restart_back_off_comes_as_an_end_alone() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).dies("a").inspects(container("a").is(Condition::Restarting)).dies("a");
    assert_eq!(scene.state("a"), "ended");
}

#[test]
fn an_engine_that_only_shows_the_stop_in_its_state_drains_it_too() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).inspects(container("a").is(Condition::Stopping));
    assert_eq!(
        (scene.reported.as_slice(), scene.state("a")),
        (["left service a within 60s".to_owned()].as_slice(), "stopping".into())
    );
}

#[test]
fn stopped_while_paused_its_requests_get_a_deadline() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle("a", LifecycleEvent::Paused).signal("a", 15);
    assert_eq!(scene.state("a"), "stopping");
    let reported = scene.passes(second(60)).reported.clone();
    assert!(reported.contains(&"60s: force-close a".to_owned()), "{reported:?}");
}

#[test]
fn a_kill_in_the_middle_of_a_stop_shortens_the_drain() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15).passes(second(10)).signal("a", 9);
    let reported = scene.passes(second(2)).reported.clone();
    assert_eq!(reported, ["2s: fail waiting of a"]);
}

#[test]
fn it_is_never_readmitted_in_the_middle_of_a_proper_stop() {
    for (grace, at) in [(second(600), 900), (second(10), 360), (second(60), 360), (second(61), 361)] {
        let mut scene = Scene::new();
        let a = || container("a").stop_timeout(grace);
        scene.serving(a(), &["m"]).signal("a", 15).passes(second(at - 1)).inspects(a());
        assert_eq!(
            scene.state("a"),
            "stopping",
            "a grace of {grace:?}: nothing new comes in {}s after the signal",
            at - 1
        );
        assert_eq!(scene.passes(second(1)).inspects(a()).state("a"), "ready", "a grace of {grace:?}");
    }
}

#[test]
fn a_signal_that_was_handled_changes_nothing_when_it_is_replayed() {
    let mut scene = Scene::new();
    let reported_at = RUN + 5;
    scene.serving(container("a"), &["m"]).lifecycle_at(reported_at, "a", LifecycleEvent::Signal(Signal::TERM));
    scene.passes(DRAIN + READMIT).inspects(container("a"));
    assert_eq!(scene.state("a"), "ready");
    scene.lifecycle_at(reported_at, "a", LifecycleEvent::Signal(Signal::TERM));
    assert_eq!((scene.reported.len(), scene.request("m")), (0, "served by a".into()));
    for (at, signal) in [(reported_at, Signal::INT), (reported_at + 1, Signal::TERM), (reported_at - 1, Signal::TERM)] {
        scene.lifecycle_at(at, "a", LifecycleEvent::Signal(signal));
        assert_eq!(scene.state("a"), "stopping", "{signal} at {at} is another one");
        scene.passes(DRAIN + READMIT).inspects(container("a"));
    }
}

#[test]
fn a_replayed_signal_does_not_put_the_readmission_off() {
    let mut scene = Scene::new();
    scene
        .serving(container("a"), &["m"])
        .lifecycle_at(RUN + 5, "a", LifecycleEvent::Signal(Signal::TERM))
        .passes(second(300));
    scene.lifecycle_at(RUN + 5, "a", LifecycleEvent::Signal(Signal::TERM)).passes(second(60)).inspects(container("a"));
    assert_eq!(scene.state("a"), "ready");
}

#[test]
fn the_signals_that_are_remembered_are_bounded_and_end_with_the_run() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    for n in 0..1000 {
        scene.lifecycle_at(RUN + n, "a", LifecycleEvent::Signal(Signal(1)));
    }
    assert!(format!("{:?}", scene.entry("a").signals).len() < 1000);
    scene.lifecycle_at(RUN + 2000, "a", LifecycleEvent::Signal(Signal::TERM)).inspects(container("a").run(2));
    scene.lists("a", &["m"]).lifecycle_at(2 * RUN + 7, "a", LifecycleEvent::Signal(Signal::TERM));
    assert_eq!(scene.state("a"), "stopping");
}
