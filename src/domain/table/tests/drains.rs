//! Drains: which requests are closed, fail or are kept, and when a drain is over.

use super::*;
use crate::drain::WAITING_GRACE;

fn draining(event: LifecycleEvent) -> Scene {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle("a", event);
    scene
}

#[test]
fn unhealthy_its_requests_are_closed_at_the_drain_timeout_and_not_before() {
    let mut scene = draining(LifecycleEvent::Unhealthy);
    assert_eq!(scene.passes(DRAIN - second(1)).reported, [""; 0]);
    assert_eq!(scene.passes(second(1)).reported, ["1s: force-close a"]);
    assert_eq!(scene.passes(second(3600)).reported, [""; 0], "force-close once");
}

#[test]
fn dead_its_waiting_requests_end_after_the_grace_and_the_others_at_the_timeout() {
    let mut scene = draining(LifecycleEvent::Ended { exit_code: Some(137) });
    let reported = scene.passes(DRAIN).reported.clone();
    assert_eq!(
        reported,
        [format!("{}s: fail waiting of a", WAITING_GRACE.as_secs()), format!("{}s: force-close a", DRAIN.as_secs())]
    );
}

#[test]
fn with_a_drain_timeout_below_the_grace_nothing_waits_longer_than_that() {
    let mut scene = Scene::new();
    scene.table.rules.drain.timeout = second(1);
    scene.serving(container("a"), &["m"]).dies("a");
    assert_eq!(scene.passes(second(1)).reported, ["1s: fail waiting of a", "1s: force-close a"]);
}

#[test]
fn the_last_request_out_ends_the_drain_and_says_how_long_it_took() {
    let mut scene = draining(LifecycleEvent::Unhealthy);
    let registration = scene.table.draining()[0].backend.registration;
    scene.passes(second(7)).apply(TableEvent::DrainFinished(registration));
    assert_eq!(scene.reported, ["removed a after 7s"]);
    assert!(scene.table.draining().is_empty());
    scene.apply(TableEvent::DrainFinished(registration));
    assert_eq!(scene.reported, [""; 0], "once");
}

#[test]
fn a_death_shortens_a_drain_that_goes_on() {
    for event in [LifecycleEvent::Unhealthy, LifecycleEvent::Paused, left_all(), LifecycleEvent::Signal(Signal::TERM)] {
        let mut scene = draining(event.clone());
        scene.passes(second(5)).dies("a");
        let reported = scene.passes(second(2)).reported.clone();
        assert_eq!(reported, ["2s: fail waiting of a"], "{event:?}");
    }
}

#[test]
fn a_death_does_not_postpone_the_force_close() {
    let mut scene = draining(LifecycleEvent::Unhealthy);
    scene.passes(second(50)).dies("a");
    let reported = scene.passes(DRAIN).reported.clone();
    assert_eq!(reported, ["2s: fail waiting of a", "10s: force-close a"]);
}

#[test]
fn paused_and_then_unhealthy_its_requests_get_a_deadline() {
    let mut scene = draining(LifecycleEvent::Paused);
    scene.lifecycle("a", LifecycleEvent::Unhealthy);
    assert_eq!(scene.passes(DRAIN).reported, ["60s: force-close a"]);
}

#[test]
fn seen_unhealthy_right_after_a_pause_its_requests_are_still_kept() {
    let mut scene = draining(LifecycleEvent::Paused);
    let unhealthy = container("a").unhealthy();
    scene.inspects(container("a").paused()).inspects(unhealthy.clone()).inspects(unhealthy);
    assert_eq!(scene.passes(DRAIN).reported, [""; 0]);
}

#[test]
fn the_death_of_a_container_ends_every_earlier_registration_of_it() {
    let mut scene = draining(LifecycleEvent::Paused);
    scene.serving(container("a"), &["m"]).dies("a");
    assert_eq!(scene.passes(second(2)).reported, ["2s: fail waiting of a", "2s: fail waiting of a"]);
}

#[test]
fn the_death_of_another_container_changes_no_drain() {
    let mut scene = draining(LifecycleEvent::Paused);
    scene.serving(container("b"), &["n"]).dies("b").passes(second(100));
    assert!(scene.table.draining().iter().any(|r| r.backend.container.as_str() == "a" && r.force_close_at.is_none()));
    assert!(scene.reported.iter().all(|line| !line.ends_with(" a")), "{:?}", scene.reported);
}

#[test]
fn the_next_wake_is_the_earliest_thing_that_time_brings() {
    let mut scene = Scene::new();
    assert_eq!(scene.table.next_wake(), None);
    scene.serving(container("a"), &["m"]);
    let wake = |scene: &Scene| scene.table.next_wake().map(|wake| wake - scene.now);
    assert_eq!(wake(&scene), Some(REFRESH));
    scene.signal("a", 15);
    assert_eq!(wake(&scene), Some(second(15)), "the inspection after the stop timeout");
    scene.dies("a");
    assert_eq!(wake(&scene), Some(WAITING_GRACE));
}

#[test]
fn a_tick_before_its_time_does_nothing() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["m"]).signal("b", 15).apply(TableEvent::Tick);
    assert_eq!(scene.reported, [""; 0]);
}

#[test]
fn a_tick_that_comes_late_does_everything_that_was_due() {
    let mut scene = draining(LifecycleEvent::Ended { exit_code: None });
    scene.now += second(3600);
    scene.apply(TableEvent::Tick);
    assert_eq!(scene.reported, ["fail waiting of a", "force-close a"]);
}
