//! Backends on their way out: what is cut, what is severed, what is kept, and when it is over.

use super::*;
use crate::drain::WAITING_GRACE;

fn retired(edge: LifecycleEvent) -> Scene {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).edge("a", edge);
    scene
}

#[test]
fn told_to_stop_its_requests_are_cut_at_the_drain_timeout_and_not_before() {
    let mut scene = retired(LifecycleEvent::Unhealthy);
    assert_eq!(scene.passes(DRAIN - second(1)).told, [""; 0]);
    assert_eq!(scene.passes(second(1)).told, ["1s: force-close a"]);
    assert_eq!(scene.passes(second(3600)).told, [""; 0], "force-close once");
}

#[test]
fn dead_its_waiting_requests_end_after_the_grace_and_the_others_at_the_timeout() {
    let mut scene = retired(LifecycleEvent::Ended { exit_code: Some(137) });
    let told = scene.passes(DRAIN).told.clone();
    assert_eq!(
        told,
        [format!("{}s: fail waiting of a", WAITING_GRACE.as_secs()), format!("{}s: force-close a", DRAIN.as_secs())]
    );
}

#[test]
fn with_a_drain_timeout_below_the_grace_nothing_waits_longer_than_that() {
    let mut scene = Scene::new();
    scene.table.rules.drain.timeout = second(1);
    scene.serving(container("a"), &["m"]).dies("a");
    assert_eq!(scene.passes(second(1)).told, ["1s: fail waiting of a", "1s: force-close a"]);
}

#[test]
fn the_last_request_out_ends_the_drain_and_says_how_long_it_took() {
    let mut scene = retired(LifecycleEvent::Unhealthy);
    let registration = scene.table.draining()[0].backend.registration;
    scene.passes(second(7)).apply(TableEvent::DrainFinished(registration));
    assert_eq!(scene.told, ["removed a after 7s"]);
    assert!(scene.table.draining().is_empty());
    scene.apply(TableEvent::DrainFinished(registration));
    assert_eq!(scene.told, [""; 0], "once");
}

#[test]
fn a_death_shortens_a_drain_that_goes_on() {
    for edge in [LifecycleEvent::Unhealthy, LifecycleEvent::Paused, left_all(), LifecycleEvent::Signal(Signal::TERM)] {
        let mut scene = retired(edge.clone());
        scene.passes(second(5)).dies("a");
        let told = scene.passes(second(2)).told.clone();
        assert_eq!(told, ["2s: fail waiting of a"], "{edge:?}");
    }
}

#[test]
fn a_death_does_not_put_the_cut_off() {
    let mut scene = retired(LifecycleEvent::Unhealthy);
    scene.passes(second(50)).dies("a");
    let told = scene.passes(DRAIN).told.clone();
    assert_eq!(told, ["2s: fail waiting of a", "10s: force-close a"]);
}

#[test]
fn paused_and_then_unhealthy_its_requests_get_a_deadline() {
    let mut scene = retired(LifecycleEvent::Paused);
    scene.edge("a", LifecycleEvent::Unhealthy);
    assert_eq!(scene.passes(DRAIN).told, ["60s: force-close a"]);
}

#[test]
fn seen_unhealthy_right_after_a_pause_its_requests_are_still_kept() {
    let mut scene = retired(LifecycleEvent::Paused);
    let unhealthy = container("a").unhealthy();
    scene.sees(container("a").paused()).sees(unhealthy.clone()).sees(unhealthy);
    assert_eq!(scene.passes(DRAIN).told, [""; 0]);
}

#[test]
fn the_death_of_a_container_ends_every_earlier_registration_of_it() {
    let mut scene = retired(LifecycleEvent::Paused);
    scene.serving(container("a"), &["m"]).dies("a");
    assert_eq!(scene.passes(second(2)).told, ["2s: fail waiting of a", "2s: fail waiting of a"]);
}

#[test]
fn the_death_of_another_container_concerns_nobody() {
    let mut scene = retired(LifecycleEvent::Paused);
    scene.serving(container("b"), &["n"]).dies("b").passes(second(100));
    assert!(scene.table.draining().iter().any(|r| r.backend.container.as_str() == "a" && r.force_close_at.is_none()));
    assert!(scene.told.iter().all(|said| !said.ends_with(" a")), "{:?}", scene.told);
}

#[test]
fn the_next_wake_is_the_earliest_thing_that_time_brings() {
    let mut scene = Scene::new();
    assert_eq!(scene.table.next_wake(), None);
    scene.serving(container("a"), &["m"]);
    let wake = |scene: &Scene| scene.table.next_wake().map(|wake| wake - scene.now);
    assert_eq!(wake(&scene), Some(REFRESH));
    scene.signal("a", 15);
    assert_eq!(wake(&scene), Some(second(15)), "the look after the stop timeout");
    scene.dies("a");
    assert_eq!(wake(&scene), Some(WAITING_GRACE));
}

#[test]
fn a_tick_before_its_time_does_nothing() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["m"]).signal("b", 15).apply(TableEvent::Tick);
    assert_eq!(scene.told, [""; 0]);
}

#[test]
fn a_tick_that_comes_late_does_everything_that_was_due() {
    let mut scene = retired(LifecycleEvent::Ended { exit_code: None });
    scene.now += second(3600);
    scene.apply(TableEvent::Tick);
    assert_eq!(scene.told, ["fail waiting of a", "force-close a"]);
}
