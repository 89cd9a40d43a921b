//! Snapshots: what they add and remove, per source, and after a disconnection.

use super::*;
use crate::container::{Snapshot, Uninspected};

#[test]
fn what_is_listed_is_inspected_and_what_is_not_listed_is_gone() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["n"]);
    scene.snapshot([container("b"), container("c").run(2)]);
    assert_eq!(
        (scene.state("a"), scene.state("b"), scene.state("c")),
        ("removed".into(), "ready".into(), "discovering".into())
    );
    assert_eq!(scene.reported[..2], ["left service a as dead", "saw 2 of source 0"]);
}

#[test]
fn an_empty_snapshot_ends_everything_of_its_source() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).snapshot([]);
    assert_eq!((scene.state("a"), scene.models().len()), ("removed".into(), 0));
}

#[test]
fn a_snapshot_speaks_for_its_own_source_only() {
    let mut scene = Scene::new();
    scene.source(1, ContainerEvent::Snapshot(vec![container("x")].into())).lists("x", &["m"]);
    scene.snapshot([container("a")]);
    assert_eq!(scene.state("x"), "ready");
    scene.source(1, ContainerEvent::Snapshot(Vec::new().into()));
    assert_eq!((scene.state("x"), scene.state("a")), ("removed".into(), "discovering".into()));
}

#[test]
fn while_the_source_is_lost_the_last_known_table_serves() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).source(0, ContainerEvent::Disconnected("engine gone".into()));
    assert_eq!(scene.reported, ["lost source 0"]);
    assert_eq!((scene.request("m"), scene.state("a")), ("served by a".into(), "ready".into()));
}

#[test]
fn what_died_while_the_source_was_lost_is_found_dead_by_the_snapshot() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).source(0, ContainerEvent::Disconnected("engine gone".into()));
    scene.snapshot([container("a").exited()]);
    assert_eq!((scene.state("a"), scene.table.active()), ("ended".into(), 0));
}

#[test]
fn addresses_that_were_swapped_meanwhile_are_kept_apart() {
    let mut scene = Scene::new();
    let (one, two) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    scene.serving(container("a").at(one), &["m"]).serving(container("b").at(two), &["n"]);
    scene.snapshot([container("a").at(two).run(2), container("b").at(one).run(2)]);
    assert_eq!(scene.table.active(), 0);
    scene.lists("a", &["m"]).lists("b", &["n"]);
    assert_eq!(scene.backend("a").address.ip(), IpAddr::from(two));
    assert_eq!(scene.backend("b").address.ip(), IpAddr::from(one));
}

#[test]
fn a_container_that_was_missing_once_and_is_back_serves_again() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).snapshot([]).snapshot([container("a")]);
    assert_eq!((scene.state("a"), scene.request("m")), ("ready".into(), "served by a".into()));
}

#[test]
fn the_same_snapshot_again_changes_nothing() {
    let mut scene = Scene::new();
    scene.snapshot([container("a"), container("b").unhealthy(), container("c").with_bad_port()]).lists("a", &["m"]);
    scene.snapshot([container("a"), container("b").unhealthy(), container("c").with_bad_port()]);
    assert_eq!(scene.reported, ["saw 3 of source 0"]);
}

#[test]
fn of_those_that_were_healthy_before_us_the_one_that_started_last_wins() {
    let mut scene = Scene::new();
    scene.snapshot([container("a").run(3), container("b").run(1), container("c").run(2)]);
    for id in ["a", "b", "c"] {
        scene.lists(id, &["m"]);
    }
    assert_eq!(scene.request("m"), "served by a, then c, then b");
}

fn hidden(name: &str, why: &str) -> Uninspected {
    Uninspected { id: ContainerId::new(name), name: name.into(), why: why.into() }
}

#[test]
fn what_a_snapshot_could_not_inspect_stays_as_it_is_and_is_reported_once_per_reason() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["n"]);
    let snapshot = || Snapshot { containers: vec![], uninspected: vec![hidden("a", "hangs"), hidden("c", "hangs")] };
    scene.source(0, ContainerEvent::Snapshot(snapshot()));
    assert_eq!(
        (scene.state("a"), scene.state("b"), scene.state("c")),
        ("ready".into(), "removed".into(), "unknown".into())
    );
    assert_eq!(scene.request("m"), "served by a");
    let warned = |scene: &Scene| scene.reported.iter().filter(|reported| reported.starts_with("warn")).count();
    assert_eq!(warned(&scene), 2, "{:?}", scene.reported);
    scene.source(0, ContainerEvent::Snapshot(snapshot()));
    assert_eq!(warned(&scene), 0, "{:?}", scene.reported);
    scene.source(0, ContainerEvent::InspectionFailed(hidden("c", "fails")));
    assert_eq!(warned(&scene), 1, "{:?}", scene.reported);
    scene.inspects(container("a")).lifecycle("c", LifecycleEvent::Removed);
    assert_eq!(scene.table.uninspected().count(), 0);
}
