//! Two containers with one model: the last to turn healthy wins, and the earlier one is displaced.

use super::*;

#[test]
fn the_last_to_turn_healthy_wins_with_a_warning_that_names_both() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["m"]);
    assert_eq!(scene.reported, ["registered b with m", "collision on m: b before a"]);
    assert_eq!(scene.request("m"), "served by b, then a");
}

#[test]
fn the_order_of_turning_healthy_counts_and_not_that_of_discovery() {
    let mut scene = Scene::new();
    scene.inspects(container("a")).inspects(container("b"));
    scene.lists("b", &["m"]).lists("a", &["m"]);
    assert_eq!(scene.reported, ["registered a with m", "collision on m: b before a"]);
    assert_eq!(scene.request("m"), "served by b, then a");
}

#[test]
fn when_the_winner_goes_the_earlier_one_serves_in_the_same_step() {
    for event in [
        LifecycleEvent::Signal(Signal::TERM),
        LifecycleEvent::Ended { exit_code: None },
        LifecycleEvent::Unhealthy,
        LifecycleEvent::Paused,
    ] {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).serving(container("b"), &["m"]).lifecycle("b", event.clone());
        assert_eq!(scene.reported[1..], ["a took over m"], "{event:?}");
        assert_eq!(scene.request("m"), "served by a", "{event:?}");
    }
}

#[test]
fn when_the_displaced_one_leaves_no_backend_takes_over() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["m"]).dies("a");
    assert_eq!(scene.reported, ["left service a as dead"]);
    assert_eq!(scene.request("m"), "served by b");
}

#[test]
fn each_model_has_its_own_order_of_claims() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m", "n"]).serving(container("b"), &["m", "o"]);
    assert_eq!((scene.request("m"), scene.request("n")), ("served by b, then a".into(), "served by a".into()));
    scene.dies("b");
    assert_eq!((scene.request("m"), scene.request("o")), ("served by a".into(), "unavailable".into()));
    assert_eq!(scene.models(), ["m", "n"]);
}

#[test]
fn healthy_again_the_former_winner_wins_again() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["m"]);
    scene.lifecycle("a", LifecycleEvent::Unhealthy).serving(container("a"), &["m"]);
    assert_eq!(scene.request("m"), "served by a, then b", "a is the last that turned healthy now");
}

#[test]
fn an_ejected_backend_keeps_its_rank() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["m"]).ejected("a");
    assert_eq!(scene.request("m"), "served by b");
    scene.lists("a", &["m"]);
    assert_eq!(scene.request("m"), "served by b, then a");
    scene.ejected("b");
    assert_eq!(scene.request("m"), "served by a");
    scene.lists("b", &["m"]);
    assert_eq!(scene.request("m"), "served by b, then a");
}

#[test]
fn three_claims_go_one_by_one() {
    let mut scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.serving(container(name), &["m"]);
    }
    assert_eq!(scene.request("m"), "served by c, then b, then a");
    assert_eq!(scene.dies("c").request("m"), "served by b, then a");
    assert_eq!(scene.dies("b").request("m"), "served by a");
    assert_eq!(scene.dies("a").request("m"), "unavailable");
}

#[test]
fn the_list_of_models_is_sorted_names_each_once_and_shows_the_winners_description() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["z", "m"]).serving(container("b"), &["m", "B", "a"]);
    assert_eq!(scene.models(), ["B", "a", "m", "z"]);
    let shown = scene
        .table
        .models()
        .iter()
        .find(|(_, model)| model.name.as_str() == "m")
        .map(|(c, _)| c.backend.container.clone());
    assert_eq!(shown, Some(ContainerId::new("b")));
}
