//! Events that cross on their way: stale events, late lists, repetitions.

use super::*;

#[test]
fn an_event_of_an_earlier_run_is_dropped() {
    for event in [
        LifecycleEvent::Signal(Signal::TERM),
        LifecycleEvent::Signal(Signal::KILL),
        LifecycleEvent::Ended { exit_code: Some(0) },
        LifecycleEvent::OutOfMemory,
        LifecycleEvent::Paused,
        LifecycleEvent::Unhealthy,
        left_all(),
        LifecycleEvent::Renamed("other".into()),
    ] {
        let mut scene = Scene::new();
        scene.serving(container("a").run(2), &["m"]).lifecycle_at(2 * RUN - 1, "a", event.clone());
        assert_eq!((scene.reported.len(), scene.state("a")), (0, "ready".into()), "{event:?}");
        assert_eq!(&*scene.entry("a").container.name, "a");
    }
}

#[test]
fn an_event_at_the_very_start_of_a_run_belongs_to_it() {
    let mut scene = Scene::new();
    scene.serving(container("a").run(2), &["m"]).lifecycle_at(2 * RUN, "a", LifecycleEvent::Signal(Signal::TERM));
    assert_eq!(scene.state("a"), "stopping");
}

#[test]
fn a_removal_is_never_stale_because_an_id_is_never_given_twice() {
    let mut scene = Scene::new();
    scene.serving(container("a").run(2), &["m"]).lifecycle_at(0, "a", LifecycleEvent::Removed);
    assert_eq!((scene.state("a"), scene.request("m")), ("removed".into(), "unavailable".into()));
}

#[test]
fn an_event_of_an_unknown_container_does_nothing() {
    for event in [
        LifecycleEvent::Removed,
        LifecycleEvent::Ended { exit_code: None },
        LifecycleEvent::Signal(Signal::TERM),
        LifecycleEvent::Unhealthy,
    ] {
        let mut scene = Scene::new();
        scene.lifecycle("stranger", event);
        assert_eq!((scene.reported.len(), scene.table.entries.len()), (0, 0));
    }
}

#[test]
fn an_inspection_shows_the_present_also_when_the_run_began_earlier() {
    let mut scene = Scene::new();
    scene.serving(container("a").run(2), &["m"]).inspects(container("a").run(1).exited());
    assert_eq!(scene.state("a"), "ended");
    scene.inspects(container("a").run(1));
    assert_eq!(scene.state("a"), "discovering", "an earlier start is another run");
    assert_eq!(scene.lists("a", &["n"]).request("n"), "served by a");
}

#[test]
fn a_clock_that_went_back_hides_no_event() {
    let hour = 3_600_000_000_000;
    for (event, state) in [
        (LifecycleEvent::Signal(Signal::TERM), "stopping"),
        (LifecycleEvent::Ended { exit_code: None }, "ended"),
        (LifecycleEvent::Paused, "paused"),
    ] {
        let mut scene = Scene::new();
        let a = Container { started_at: EngineTime(2 * hour), ..container("a") };
        scene.serving(a.clone(), &["m"]).lifecycle_at(hour, "a", event.clone());
        assert_eq!(scene.state("a"), state, "{event:?}");
        scene.dies("a").inspects(Container { started_at: EngineTime(hour + 9), ..a });
        assert_eq!(scene.state("a"), "discovering", "started again, by the clock before it was started");
    }
}

#[test]
fn stopped_during_discovery_it_never_serves() {
    for signal in [15, 9] {
        let mut scene = Scene::new();
        scene.inspects(container("a"));
        let generation = scene.generation("a");
        scene.signal("a", signal);
        assert_eq!(scene.reported, ["abandon a"]);
        scene.lists_for(generation, "a", &["m"]);
        assert_eq!(
            (scene.reported.len(), scene.state("a"), scene.request("m")),
            (0, "stopping".into(), "unknown".into())
        );
    }
}

#[test]
fn a_list_of_an_earlier_generation_is_void() {
    let mut scene = Scene::new();
    scene.inspects(container("a"));
    let first = scene.generation("a");
    scene.lifecycle("a", LifecycleEvent::Unhealthy).inspects(container("a"));
    scene.lists_for(first, "a", &["old"]);
    assert_eq!((scene.reported.len(), scene.state("a")), (0, "discovering".into()));
    scene.lists("a", &["new"]);
    assert_eq!(scene.models(), ["new"]);
}

#[test]
fn a_failure_of_an_earlier_generation_is_void() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let (container, generation) = (ContainerId::new("a"), Generation(0));
    for _ in 0..5 {
        let (container, failure) = (container.clone(), "refused".into());
        scene.apply(TableEvent::DiscoveryFailed { container, generation, failure, unreachable: true });
        assert_eq!((scene.reported.len(), scene.state("a")), (0, "ready".into()));
    }
}

#[test]
fn a_list_that_comes_twice_registers_once() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let before = scene.backend("a");
    scene.lists("a", &["m", "n"]);
    assert!(scene.reported.is_empty() && Arc::ptr_eq(&before, &scene.backend("a")));
}

#[test]
fn a_refresh_for_a_registration_that_went_is_void() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let (container_id, generation) = (ContainerId::new("a"), scene.generation("a"));
    scene.lifecycle("a", LifecycleEvent::Unhealthy).inspects(container("a")).lists("a", &["m"]);
    scene.apply(TableEvent::Refreshed { container: container_id, generation, models: listed(&["old"]) });
    assert_eq!((scene.reported.len(), scene.models()), (0, vec!["m".to_owned()]));
}

#[test]
fn death_and_start_within_a_moment_make_a_new_registration() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle_at(RUN + 500, "a", LifecycleEvent::Ended { exit_code: Some(137) });
    scene.inspects(container("a").run(2)).lists("a", &["m"]);
    assert_eq!(scene.request("m"), "served by a");
    scene.lifecycle_at(RUN + 501, "a", LifecycleEvent::Ended { exit_code: Some(137) });
    assert_eq!(scene.state("a"), "ready", "the death of the run before is reported late");
}

#[test]
fn what_is_reported_twice_changes_nothing_the_second_time() {
    for event in [
        LifecycleEvent::Ended { exit_code: None },
        LifecycleEvent::Removed,
        LifecycleEvent::Paused,
        LifecycleEvent::Unhealthy,
        left_all(),
    ] {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).lifecycle("a", event.clone());
        let state = scene.state("a");
        scene.lifecycle("a", event.clone());
        assert_eq!((scene.reported.len(), scene.state("a")), (0, state), "{event:?}");
        assert_eq!(scene.table.draining().len(), 1);
    }
}

#[test]
fn every_order_of_die_stop_and_destroy_has_the_same_result() {
    let [die, stop] = [LifecycleEvent::Ended { exit_code: Some(0) }, LifecycleEvent::Ended { exit_code: None }];
    let orders: [&[&LifecycleEvent]; 4] = [
        &[&die, &stop, &LifecycleEvent::Removed],
        &[&stop, &die, &LifecycleEvent::Removed],
        &[&LifecycleEvent::Removed, &die],
        &[&LifecycleEvent::Removed],
    ];
    for order in orders {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]);
        for event in order {
            scene.lifecycle("a", (*event).clone());
        }
        assert_eq!((scene.state("a"), scene.request("m")), ("removed".into(), "unavailable".into()), "{order:?}");
        scene.passes(second(11));
        assert_eq!((scene.state("a"), scene.request("m")), ("unknown".into(), "unknown".into()), "{order:?}");
    }
}

#[test]
fn an_ejection_of_a_registration_that_left_is_void() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let registration = scene.backend("a").registration;
    scene.ejected("a").lists("a", &["m"]);
    scene.apply(TableEvent::Ejected { registration, why: "refused".into() });
    assert_eq!((scene.reported.len(), scene.state("a")), (0, "ready".into()));
}
