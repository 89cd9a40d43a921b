//! The life of a route: the conditions for service, and the events that end it.

use super::*;

#[test]
fn a_healthy_container_is_discovered_and_serves_when_it_has_listed_a_model() {
    let mut scene = Scene::new();
    scene.inspects(container("a").at([172, 20, 0, 7]));
    assert_eq!(
        (scene.reported.as_slice(), scene.request("m")),
        (["discover a at 172.20.0.7".to_owned()].as_slice(), "unknown".into())
    );
    scene.lists("a", &["m", "n"]);
    assert_eq!(scene.reported, ["registered a with m, n"]);
    assert_eq!(scene.request("m"), "served by a");
    assert_eq!(scene.models(), ["m", "n"]);
}

#[test]
fn every_object_that_a_backend_lists_is_kept_as_it_was_written() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let models = scene.table.models();
    assert_eq!(&*models[0].1.object, "{\"id\":\"m\"}");
}

#[test]
fn the_registration_holds_the_run_the_address_and_the_prefix() {
    let mut scene = Scene::new();
    scene.serving(container("a").run(3).at([10, 0, 0, 9]), &["m"]);
    let backend = scene.backend("a");
    assert_eq!((backend.started_at, backend.address), (EngineTime(3 * RUN), ([10, 0, 0, 9], 8000).into()));
    assert_eq!((backend.base_path.as_str(), &*backend.name), ("/v1", "a"));
    assert!(!backend.gate.is_closed());
}

#[test]
fn a_container_without_a_health_check_is_left_out_with_one_warning() {
    let mut scene = Scene::new();
    scene.inspects(container("a").is(Condition::NoHealthcheck));
    assert_eq!(scene.reported, ["warn of a: no health check"]);
    for _ in 0..3 {
        scene.inspects(container("a").is(Condition::NoHealthcheck));
        assert!(scene.reported.is_empty());
    }
    assert_eq!(scene.state("a"), "no health check");
}

#[test]
fn a_bad_label_keeps_its_container_out_with_one_warning_and_no_other() {
    let mut scene = Scene::new();
    scene.snapshot([container("a").with_bad_port(), container("b")]);
    assert!(scene.reported.contains(&"warn of a: bad label".to_owned()));
    scene.lists("b", &["m"]);
    assert_eq!((scene.state("a"), scene.request("m")), ("bad label".into(), "served by b".into()));
}

#[test]
fn a_warning_is_not_repeated_because_the_container_was_something_else_in_between() {
    let mut scene = Scene::new();
    scene.inspects(container("a").with_bad_port());
    for between in [LifecycleEvent::Unhealthy, LifecycleEvent::Paused, left_all()] {
        scene.lifecycle("a", between).inspects(container("a").with_bad_port());
        assert_eq!(scene.reported, [""; 0]);
        assert_eq!(scene.state("a"), "bad label");
    }
    scene.dies("a").inspects(container("a").with_bad_port().run(2));
    assert_eq!(scene.reported, [""; 0], "labels do not change in a container's life");
}

#[test]
fn a_container_without_a_way_to_it_is_left_out_with_one_warning_per_change() {
    let mut scene = Scene::new();
    scene.inspects(container("a").nowhere());
    assert_eq!(scene.reported, ["warn of a: no address"]);
    scene.inspects(container("a").nowhere());
    assert_eq!(scene.reported, [""; 0]);
    let elsewhere = Unreachable { theirs: vec!["third".to_owned()], ours: Vec::new(), other_project: None };
    scene.inspects(Container { reach: Reach::Nowhere(elsewhere), ..container("a") });
    assert_eq!(scene.reported, ["warn of a: no address"]);
    scene.inspects(container("a"));
    assert_eq!(scene.state("a"), "discovering");
}

#[test]
fn a_starting_container_is_picked_up_when_it_turns_healthy() {
    let mut scene = Scene::new();
    scene.inspects(container("a").starting());
    assert_eq!((scene.state("a"), scene.reported.len()), ("starting".into(), 0));
    scene.inspects(container("a"));
    assert_eq!(scene.state("a"), "discovering");
}

#[test]
fn unhealthy_it_drains_and_healthy_again_it_is_a_new_registration() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let first = scene.backend("a");
    scene.lifecycle("a", LifecycleEvent::Unhealthy);
    assert_eq!(scene.reported, ["left service a within 60s"]);
    assert_eq!(scene.request("m"), "unavailable");
    scene.inspects(container("a").unhealthy());
    assert_eq!(scene.reported, [""; 0]);
    scene.inspects(container("a")).lists("a", &["m"]);
    let second = scene.backend("a");
    assert!(second.registration > first.registration);
    assert!(!Arc::ptr_eq(&first, &second));
}

#[test]
fn unhealthy_seen_only_by_an_inspection_drains_as_well() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).inspects(container("a").unhealthy());
    assert_eq!(scene.reported, ["left service a within 60s"]);
}

#[test]
fn killed_it_is_removed_at_once() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).signal("a", 9);
    assert_eq!(scene.reported, ["left service a as dead"]);
    assert_ne!(scene.request("m"), "served by a");
}

#[test]
fn dead_without_a_stop_it_is_removed_at_once() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).dies("a");
    assert_eq!(scene.reported, ["left service a as dead"]);
    assert_eq!(scene.state("a"), "ended");
}

#[test]
fn paused_it_takes_no_new_requests_and_keeps_those_in_flight() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle("a", LifecycleEvent::Paused);
    assert_eq!(scene.reported, ["left service a keeping its requests"]);
    assert_eq!(scene.request("m"), "unavailable");
    scene.inspects(container("a").paused());
    assert_eq!(scene.reported, [""; 0]);
    assert_eq!(scene.passes(second(3600)).reported, [""; 0], "nothing is closed, however long the pause");
    scene.inspects(container("a")).lists("a", &["m"]);
    assert_eq!(scene.request("m"), "served by a");
    assert_eq!(scene.table.draining().len(), 1, "the requests from before the pause still go on");
}

#[test]
fn off_the_shared_network_it_keeps_its_requests_and_is_back_when_it_is_reached_again() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle("a", left_all());
    assert_eq!(scene.reported, ["left service a keeping its requests"]);
    assert_eq!(scene.request("m"), "unavailable");
    scene.inspects(container("a").nowhere());
    assert_eq!(scene.reported, ["warn of a: no address"]);
    assert_eq!(scene.request("m"), "unavailable");
    scene.inspects(container("a").at([10, 1, 1, 1])).lists("a", &["m"]);
    assert_eq!(scene.backend("a").address, ([10, 1, 1, 1], 8000).into());
}

#[test]
fn restarted_under_a_policy_it_is_gone_at_its_death_and_back_with_its_new_address() {
    let mut scene = Scene::new();
    scene.serving(container("a").at([10, 0, 0, 1]), &["m"]).dies("a");
    assert_eq!(scene.request("m"), "unavailable");
    scene.inspects(container("a").is(Condition::Restarting));
    assert_eq!(scene.state("a"), "restarting");
    scene.inspects(container("a").run(2).starting());
    assert_eq!((scene.state("a"), scene.request("m")), ("starting".into(), "unavailable".into()));
    scene.inspects(container("a").run(2).at([10, 0, 0, 2])).lists("a", &["m"]);
    assert_eq!(scene.backend("a").address, ([10, 0, 0, 2], 8000).into());
}

#[test]
fn recreated_on_the_same_address_it_is_a_new_backend() {
    let mut scene = Scene::new();
    scene.serving(container("old").named("llm").at([10, 0, 0, 1]), &["m"]);
    let old = scene.backend("old");
    scene.dies("old").lifecycle("old", LifecycleEvent::Removed);
    scene.serving(container("new").named("llm").at([10, 0, 0, 1]).run(2), &["n"]);
    let new = scene.backend("new");
    assert_eq!(old.address, new.address);
    assert_ne!(old.registration, new.registration);
    assert_eq!((scene.request("m"), scene.request("n")), ("unknown".into(), "served by new".into()));
}

#[test]
fn moved_to_another_address_it_is_a_new_backend() {
    let mut scene = Scene::new();
    scene.serving(container("a").at([10, 0, 0, 1]), &["m"]).inspects(container("a").at([10, 0, 0, 2]));
    assert_eq!(scene.reported, ["left service a keeping its requests", "resume a at 10.0.0.2", "registered a with m"]);
}

#[test]
fn an_inspection_that_finds_it_as_it_is_changes_nothing() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let generation = scene.generation("a");
    scene.inspects(container("a"));
    assert_eq!((scene.reported.len(), scene.generation("a")), (0, generation));
}

#[test]
fn renamed_it_serves_on() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle("a", LifecycleEvent::Renamed("b".into()));
    assert_eq!((scene.reported.len(), scene.request("m")), (0, "served by a".into()));
    assert_eq!(&*scene.entry("a").container.name, "b");
}

#[test]
fn a_new_name_is_the_name_of_its_backends_too() {
    for by_event in [true, false] {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]);
        let backend = scene.backend("a");
        assert!(backend.gate.try_enter());
        match by_event {
            true => scene.lifecycle("a", LifecycleEvent::Renamed("new".into())),
            false => scene.inspects(container("a").named("new")),
        };
        assert_eq!(&*scene.backend("a").name, "new");
        assert_eq!(&*scene.table.models()[0].0.backend.name, "new");
        assert_eq!(scene.backend("a").registration, backend.registration);
        assert_eq!(scene.backend("a").gate.in_flight(), 1, "its gate is the same");
        scene.lifecycle("a", LifecycleEvent::Paused).lifecycle("a", LifecycleEvent::Renamed("newer".into()));
        assert_eq!(&*scene.table.draining().last().unwrap().backend.name, "newer");
    }
}
