//! Stop signals: which of them count, what follows, and how a container that ignored one comes back.

use super::*;

#[test]
fn its_own_stop_signal_and_term_int_and_quit_drain_it_at_once() {
    for (own, sent) in [(15, 15), (15, 2), (15, 3), (3, 3), (3, 15), (10, 10), (37, 37), (1, 1)] {
        let mut scene = Scene::new();
        scene.serving(container("a").stopped_by(Signal(own)), &["m"]).signal("a", sent);
        assert_eq!(scene.told, ["retire a within 60s"], "signal {sent} to a container that is stopped by {own}");
        assert_eq!((scene.state("a"), scene.request("m")), ("stopping".into(), "draining".into()));
    }
}

#[test]
fn any_other_signal_is_nothing() {
    for sent in [1, 10, 12, 18, 28] {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).signal("a", sent);
        assert_eq!((scene.told.len(), scene.request("m")), (0, "served by a".into()), "signal {sent}");
    }
}

#[test]
fn a_look_while_it_stops_does_not_bring_it_back() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15);
    let conditions =
        [Condition::Healthy, Condition::Unhealthy, Condition::Starting, Condition::Paused, Condition::Stopping];
    for condition in conditions {
        scene.sees(container("a").is(condition));
        assert_eq!((scene.told.len(), scene.state("a")), (0, "stopping".into()), "{condition:?}");
    }
    scene.snapshot([container("a")]);
    assert_eq!(scene.state("a"), "stopping", "a snapshot is no more than a look");
}

#[test]
fn a_second_stop_signal_does_not_put_the_deadline_off() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15).passes(second(50));
    scene.signal("a", 15);
    assert_eq!(scene.told, [""; 0]);
    let told = scene.passes(second(11)).told.join("; ");
    assert!(told.contains("10s: cut a"), "{told}");
}

#[test]
fn ignored_it_is_looked_at_after_its_stop_timeout_and_then_every_so_often() {
    for (timeout, first) in [(second(1), 15), (second(10), 15), (second(90), 95), (second(3600), 300)] {
        let mut scene = Scene::new();
        scene.serving(container("a").stop_timeout(timeout), &["m"]).signal("a", 15);
        scene.apply(TableEvent::DrainFinished(scene.table.retiring()[0].backend.registration));
        let told = scene.passes(second(first + 60)).told.clone();
        let looks = [first, first + 30, first + 60].map(|at| format!("{at}s: look again at a"));
        assert_eq!(told, looks, "stop timeout {timeout:?}");
    }
}

#[test]
fn ignored_it_is_taken_back_only_after_minutes_and_with_a_warning() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15);
    scene.passes(TAKE_BACK - second(1)).sees(container("a"));
    assert_eq!((scene.told.len(), scene.state("a")), (0, "stopping".into()));
    scene.passes(second(1)).sees(container("a").unhealthy());
    assert_eq!(scene.state("a"), "stopping", "only a healthy one is taken back");
    scene.sees(container("a"));
    assert_eq!(scene.told[0], "warn of a: taken back");
    assert_eq!((scene.state("a"), scene.request("m")), ("discovering".into(), "unavailable".into()));
    scene.lists("a", &["m"]);
    assert_eq!(scene.request("m"), "served by a");
    assert!(!scene.backend("a").gate.is_closed(), "a new registration, a new gate");
}

#[test]
fn taken_back_and_told_to_stop_again_it_drains_again() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15).passes(TAKE_BACK).sees(container("a")).lists("a", &["m"]);
    scene.signal("a", 15);
    assert_eq!(scene.told, ["retire a within 60s"]);
    scene.passes(TAKE_BACK).sees(container("a"));
    assert_eq!(scene.told[0], "warn of a: taken back", "told each time it happens");
}

#[test]
fn a_new_run_ends_the_stop() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15).sees(container("a").run(2).starting());
    assert_eq!(scene.state("a"), "starting");
    scene.sees(container("a").run(2));
    assert_eq!(scene.state("a"), "discovering");
}

#[test]
fn its_end_seen_only_by_a_look_ends_the_stop() {
    for (condition, state) in [(Condition::NotRunning, "ended"), (Condition::Restarting, "restarting")] {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).signal("a", 15).sees(container("a").is(condition));
        assert_eq!(scene.state("a"), state);
        assert!(scene.table.retiring()[0].sever_at.is_some(), "what waits for the dead is ended");
    }
}

#[test]
fn a_stop_in_restart_back_off_comes_as_an_end_alone() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).dies("a").sees(container("a").is(Condition::Restarting)).dies("a");
    assert_eq!(scene.state("a"), "ended");
}

#[test]
fn an_engine_that_only_shows_the_stop_in_its_state_drains_it_too() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).sees(container("a").is(Condition::Stopping));
    assert_eq!(
        (scene.told.as_slice(), scene.state("a")),
        (["retire a within 60s".to_owned()].as_slice(), "stopping".into())
    );
}

#[test]
fn stopped_while_paused_its_requests_get_a_deadline() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).edge("a", Edge::Paused).signal("a", 15);
    assert_eq!(scene.state("a"), "stopping");
    let told = scene.passes(second(60)).told.clone();
    assert!(told.contains(&"60s: cut a".to_owned()), "{told:?}");
}

#[test]
fn a_kill_in_the_middle_of_a_stop_shortens_the_drain() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 15).passes(second(10)).signal("a", 9);
    let told = scene.passes(second(2)).told.clone();
    assert_eq!(told, ["2s: sever a"]);
}
