//! Models without claims: draining, not ready, or not known.

use super::*;

#[test]
fn a_model_that_was_never_served_is_unknown() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    assert_eq!(scene.request("other"), "unknown");
    assert!(scene.table.claimed_name("other").is_none());
    assert_eq!(scene.table.claimed_name("m").map(ModelName::as_str), Some("m"));
}

#[test]
fn a_model_of_a_container_that_is_not_ready_is_unavailable() {
    let conditions = [Condition::Restarting, Condition::Paused, Condition::Unhealthy, Condition::NotRunning];
    for condition in conditions {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).inspects(container("a").is(condition));
        assert_eq!(scene.request("m"), "unavailable", "{condition:?}");
    }
}

#[test]
fn a_model_of_a_container_that_starts_again_is_unavailable_until_its_discovery() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).dies("a").inspects(container("a").run(2).starting()).passes(second(3600));
    assert_eq!(scene.request("m"), "unavailable", "however long the model takes to load");
    scene.inspects(container("a").run(2));
    assert_eq!(scene.request("m"), "unavailable");
    scene.lists("a", &["n"]);
    assert_eq!((scene.request("m"), scene.request("n")), ("unknown".into(), "served by a".into()));
}

#[test]
fn a_model_whose_container_ended_is_expected_for_ten_seconds() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).dies("a");
    assert_eq!(scene.passes(second(9)).request("m"), "unavailable");
    assert_eq!(scene.passes(second(1)).request("m"), "unknown");
    assert_eq!(scene.state("a"), "ended", "it exists, and may be started again");
    scene.inspects(container("a").run(2).starting());
    assert_eq!(scene.request("m"), "unavailable", "it has served the model and is starting again");
}

#[test]
fn a_second_sign_of_the_end_does_not_lengthen_the_wait() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).dies("a").passes(second(9)).lifecycle("a", LifecycleEvent::Removed);
    assert_eq!(scene.request("m"), "unavailable");
    scene.passes(second(1));
    assert_eq!((scene.request("m"), scene.state("a")), ("unknown".into(), "unknown".into()));
}

#[test]
fn a_removed_container_is_forgotten_after_ten_seconds() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle("a", LifecycleEvent::Removed).passes(second(10));
    assert_eq!((scene.state("a"), scene.request("m")), ("unknown".into(), "unknown".into()));
    assert!(scene.table.served.is_empty());
}

#[test]
fn removed_long_after_its_end_it_is_forgotten_at_once() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).dies("a").passes(second(60)).lifecycle("a", LifecycleEvent::Removed);
    assert_eq!(scene.state("a"), "unknown");
}

#[test]
fn not_ready_goes_before_draining() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["m"]);
    scene.signal("a", 15).signal("b", 15);
    assert_eq!(scene.request("m"), "draining");
    scene.dies("a").inspects(container("a").run(2).starting());
    assert_eq!(scene.request("m"), "unavailable");
}

#[test]
fn a_recreated_container_inherits_what_is_expected_of_its_name() {
    let mut scene = Scene::new();
    scene.serving(container("old").named("llm"), &["m"]).dies("old").lifecycle("old", LifecycleEvent::Removed);
    scene.inspects(container("new").named("llm").run(2).starting()).passes(second(600));
    assert_eq!((scene.state("old"), scene.request("m")), ("unknown".into(), "unavailable".into()));
}

/// Compose creates the new container first, under a temporary name; then it stops and removes the old one, renames the
/// new one, and starts it.
#[test]
fn a_container_that_compose_recreates_inherits_though_it_was_made_before_the_old_one_stopped() {
    for by_event in [true, false] {
        let mut scene = Scene::new();
        scene.serving(container("old").named("llm"), &["m"]);
        scene.inspects(container("new").named("4f2_llm").run(0).exited());
        scene.signal("old", 15).dies("old").lifecycle("old", LifecycleEvent::Removed);
        if by_event {
            scene.lifecycle("new", LifecycleEvent::Renamed("llm".into()));
        }
        scene.inspects(container("new").named("llm").run(2).starting()).passes(second(600));
        assert_eq!(scene.request("m"), "unavailable", "renamed by an event: {by_event}");
    }
}

#[test]
fn a_container_of_the_same_name_on_another_engine_inherits_nothing() {
    let mut scene = Scene::new();
    scene.serving(container("a").named("llm"), &["m"]).dies("a").passes(second(20));
    scene.source(1, ContainerEvent::Inspected(container("x").named("llm").starting()));
    assert_eq!(scene.request("m"), "unknown");
}

#[test]
fn a_renamed_container_that_has_served_keeps_its_own_models() {
    let mut scene = Scene::new();
    scene
        .serving(container("a"), &["m"])
        .serving(container("b"), &["n"])
        .dies("b")
        .lifecycle("b", LifecycleEvent::Removed);
    scene.lifecycle("a", LifecycleEvent::Paused).lifecycle("a", LifecycleEvent::Renamed("b".into())).passes(second(20));
    assert_eq!((scene.request("m"), scene.request("n")), ("unavailable".into(), "unknown".into()));
}

#[test]
fn a_container_that_never_served_leaves_no_model_unavailable() {
    let mut scene = Scene::new();
    scene.inspects(container("a").starting());
    assert_eq!(scene.request("m"), "unknown");
}

#[test]
fn a_model_that_the_successor_in_service_does_not_have_is_unknown_at_once() {
    let mut scene = Scene::new();
    scene.serving(container("old").named("llm"), &["m", "n"]).dies("old").lifecycle("old", LifecycleEvent::Removed);
    scene.inspects(container("new").named("llm").run(2));
    assert_eq!((scene.request("m"), scene.request("n")), ("unavailable".into(), "unavailable".into()));
    scene.lists("new", &["n"]);
    assert_eq!((scene.request("m"), scene.request("n")), ("unknown".into(), "served by new".into()));
    assert_eq!(scene.state("old"), "unknown", "it is forgotten");
    scene.lifecycle("new", LifecycleEvent::Paused);
    assert_eq!((scene.request("m"), scene.request("n")), ("unknown".into(), "unavailable".into()));
}

#[test]
fn another_container_in_service_settles_nothing_for_one_that_ended() {
    for (source, name) in [(0, "other"), (1, "llm")] {
        let mut scene = Scene::new();
        scene.serving(container("old").named("llm"), &["m"]).dies("old").lifecycle("old", LifecycleEvent::Removed);
        scene.source(source, ContainerEvent::Inspected(container("new").named(name))).lists("new", &["n"]);
        assert_eq!(scene.request("m"), "unavailable", "{name} of source {source}");
    }
}

#[test]
fn a_successor_that_gets_its_name_when_it_serves_already_settles_it_too() {
    let mut scene = Scene::new();
    scene.serving(container("old").named("llm"), &["m"]).serving(container("new").named("llm-new"), &["n"]);
    scene.dies("old").lifecycle("old", LifecycleEvent::Removed);
    assert_eq!(scene.request("m"), "unavailable");
    scene.lifecycle("new", LifecycleEvent::Renamed("llm".into()));
    assert_eq!(scene.request("m"), "unknown");
}
