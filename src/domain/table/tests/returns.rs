//! The return of the same run: it resumes at once with the models that it listed before, and its requests in flight go
//! on.

use super::*;

const ONE: [u8; 4] = [10, 0, 0, 1];
const TWO: [u8; 4] = [10, 0, 0, 2];

fn gone(event: LifecycleEvent) -> Scene {
    let mut scene = Scene::new();
    scene.serving(container("a").at(ONE), &["m", "n"]).lifecycle("a", event);
    scene
}

#[test]
fn whatever_took_it_out_it_is_back_with_the_inspection_and_refreshed_at_once() {
    for event in [LifecycleEvent::Unhealthy, LifecycleEvent::Paused, left([ONE])] {
        let mut scene = gone(event.clone());
        let first = scene.table.draining()[0].backend.registration;
        scene.inspects(container("a").at(ONE));
        assert_eq!(scene.reported, ["resume a at 10.0.0.1", "registered a with m, n"], "{event:?}");
        assert!(scene.backend("a").registration > first, "a new registration");
        assert_eq!(scene.passes(second(0)).reported, ["0s: refresh a"], "{event:?}");
        scene.lists_again("a", &["m"]);
        assert_eq!((scene.request("m"), scene.request("n")), ("served by a".into(), "unknown".into()));
    }
}

#[test]
fn a_list_that_never_comes_keeps_it_out_no_more_than_before() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.inspects(container("a").at(ONE));
    for _ in 0..10 {
        scene.passes(REFRESH).fails_to_list("a", "no response within 5 s");
        assert_eq!(scene.request("m"), "served by a");
    }
}

#[test]
fn moved_in_the_same_run_there_is_no_version_of_the_table_without_it() {
    let mut scene = Scene::new();
    scene.serving(container("a").at(ONE), &["m"]).inspects(container("a").at(TWO));
    assert_eq!(scene.reported, ["left service a keeping its requests", "resume a at 10.0.0.2", "registered a with m"]);
    assert_eq!(scene.backend("a").address, (TWO, 8000).into());
}

#[test]
fn back_with_other_addresses_it_takes_the_one_that_it_had() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.inspects(container("a").at_any([TWO, ONE]));
    assert_eq!(scene.backend("a").address, (ONE, 8000).into());
}

#[test]
fn another_run_is_discovered_first() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.inspects(container("a").run(2).at(ONE));
    assert_eq!(
        (scene.reported.as_slice(), scene.state("a")),
        (["discover a at 10.0.0.1".to_owned()].as_slice(), "discovering".into())
    );
}

#[test]
fn one_that_refused_a_connection_is_discovered_first() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.inspects(container("a").at(ONE)).ejected("a");
    assert_eq!(scene.state("a"), "discovering");
    scene.inspects(container("a").at(ONE));
    assert_eq!(scene.state("a"), "discovering", "the engine's word is not enough");
    for _ in 0..5 {
        assert_eq!(scene.refuses("a").state("a"), "discovering");
    }
    scene.lists("a", &["m"]);
    assert_eq!(scene.request("m"), "served by a");
}

#[test]
fn one_that_refused_a_connection_and_takes_them_again_serves_though_its_list_is_slow() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.inspects(container("a").at(ONE)).ejected("a").fails_to_list("a", "no response within 5 s");
    assert_eq!(scene.state("a"), "discovering", "once may be chance");
    scene.fails_to_list("a", "no response within 5 s");
    assert_eq!(scene.reported, ["abandon a", "resume a at 10.0.0.1", "registered a with m, n"]);
}

#[test]
fn what_never_served_is_not_taken_into_service_without_a_list() {
    let mut scene = Scene::new();
    scene.inspects(container("a"));
    for _ in 0..5 {
        assert_eq!(scene.fails_to_list("a", "it responded with status 500").state("a"), "discovering");
    }
}

#[test]
fn back_in_service_its_old_drain_has_no_deadline() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.passes(second(1)).inspects(container("a").at(ONE)).lists_again("a", &["m", "n"]);
    let reported = scene.passes(DRAIN + DRAIN).reported.join("; ");
    assert!(!reported.contains("force-close") && !reported.contains("fail waiting"), "{reported}");
    assert_eq!(scene.table.draining().len(), 1, "the requests from before go on");
}

#[test]
fn gone_again_old_and_new_have_the_later_deadline() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.passes(second(50)).inspects(container("a").at(ONE)).lifecycle("a", LifecycleEvent::Signal(Signal::TERM));
    let reported: Vec<_> =
        scene.passes(DRAIN).reported.iter().filter(|line| line.contains("force-close")).cloned().collect();
    assert_eq!(reported, ["60s: force-close a", "60s: force-close a"]);
}

#[test]
fn another_run_in_service_lifts_no_deadline() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.inspects(container("a").run(2).at(ONE)).lists("a", &["m"]);
    assert!(scene.table.draining().iter().all(|draining| draining.force_close_at.is_some()));
}

#[test]
fn back_in_a_full_table_it_waits_like_any_other() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    scene.table.claim_count = MAX_CLAIMS;
    scene.inspects(container("a").at(ONE));
    assert_eq!(scene.state("a"), "too many");
}

#[test]
fn with_another_port_it_is_discovered_there_first() {
    let mut scene = gone(LifecycleEvent::Unhealthy);
    let labels = labels::parse(|name| (name == labels::PORT).then_some("9000"));
    scene.inspects(Container { labels, ..container("a").at(ONE) });
    assert_eq!(scene.reported, ["discover a at 10.0.0.1"]);
}
