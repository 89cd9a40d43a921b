//! Every condition that an inspection can show, in every state but that of a stop.

use super::*;

const CONDITIONS: [Condition; 9] = [
    Condition::NotRunning,
    Condition::Restarting,
    Condition::Stopping,
    Condition::Paused,
    Condition::NoHealthcheck,
    Condition::Starting,
    Condition::Unhealthy,
    Condition::Unresponsive,
    Condition::Healthy,
];

/// Returns the state after an inspection of a container that did not serve before.
fn fresh(condition: Condition) -> &'static str {
    match condition {
        Condition::NotRunning => "ended",
        Condition::Restarting => "restarting",
        Condition::Stopping => "stopping",
        Condition::Paused => "paused",
        Condition::NoHealthcheck => "no health check",
        Condition::Starting => "starting",
        Condition::Unhealthy => "unhealthy",
        Condition::Unresponsive => "unresponsive",
        Condition::Healthy => "discovering",
    }
}

#[test]
fn a_first_inspection_decides_alone() {
    for condition in CONDITIONS {
        let mut scene = Scene::new();
        scene.inspects(container("a").is(condition));
        assert_eq!(scene.state("a"), fresh(condition), "{condition:?}");
    }
}

#[test]
fn each_inspection_leads_from_each_other_one_to_the_same_state() {
    for before in CONDITIONS.into_iter().filter(|before| *before != Condition::Stopping) {
        for condition in CONDITIONS {
            let mut scene = Scene::new();
            scene.inspects(container("a").is(before)).inspects(container("a").is(condition));
            let expected = match (before, condition) {
                (Condition::Healthy, Condition::Starting) => "discovering",
                (_, condition) => fresh(condition),
            };
            assert_eq!(scene.state("a"), expected, "{condition:?} after {before:?}");
        }
    }
}

#[test]
fn an_inspection_of_a_serving_container_decides_the_drain() {
    for condition in CONDITIONS {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).inspects(container("a").is(condition));
        let expected = match condition {
            Condition::NotRunning | Condition::Restarting => Some("left service a as dead"),
            Condition::Paused | Condition::Unresponsive => Some("left service a keeping its requests"),
            Condition::Stopping | Condition::NoHealthcheck | Condition::Unhealthy => Some("left service a within 60s"),
            Condition::Starting | Condition::Healthy => None,
        };
        assert_eq!(scene.reported.first().map(String::as_str), expected, "{condition:?}");
    }
}

#[test]
fn a_new_run_ends_the_old_registration_as_dead_whatever_the_inspection_shows() {
    for condition in CONDITIONS {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]).inspects(container("a").run(2).is(condition));
        assert_eq!(scene.state("a"), fresh(condition), "{condition:?}");
        let fails_waiting = scene.table.draining().iter().all(|draining| draining.fail_waiting_at.is_some());
        assert!(fails_waiting && scene.table.draining().len() == 1, "{condition:?}");
        assert_eq!(scene.table.active(), 0);
    }
}

#[test]
fn called_starting_again_in_the_same_run_it_serves_on() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let before = scene.backend("a");
    scene.snapshot([container("a").starting()]);
    assert_eq!(scene.reported, ["saw 1 of source 0"]);
    assert!(Arc::ptr_eq(&before, &scene.backend("a")));
    scene.inspects(container("a"));
    assert_eq!(scene.reported, [""; 0]);
}

#[test]
fn called_starting_again_in_a_new_run_it_waits() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).inspects(container("a").run(2).starting());
    assert_eq!(scene.state("a"), "starting");
}

#[test]
fn called_starting_again_but_moved_it_serves_where_it_is_now() {
    let mut scene = Scene::new();
    scene.serving(container("a").at([10, 0, 0, 1]), &["m"]).inspects(container("a").starting().at([10, 0, 0, 2]));
    assert_eq!(scene.reported, ["left service a keeping its requests", "resume a at 10.0.0.2", "registered a with m"]);
    assert_eq!(scene.backend("a").address, ([10, 0, 0, 2], 8000).into());
}

#[test]
fn called_starting_again_but_out_of_reach_it_takes_no_new_requests() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).inspects(container("a").starting().nowhere());
    assert_eq!(scene.reported, ["left service a keeping its requests", "warn of a: no address"]);
}

#[test]
fn moved_during_discovery_it_is_discovered_where_it_is_now() {
    for inspection in [container("a").at([10, 0, 0, 2]), container("a").starting().at([10, 0, 0, 2])] {
        let mut scene = Scene::new();
        scene.inspects(container("a").at([10, 0, 0, 1]));
        let late = scene.generation("a");
        scene.inspects(inspection);
        assert_eq!(scene.reported, ["abandon a", "discover a at 10.0.0.2"]);
        scene.lists_for(late, "a", &["old"]).lists("a", &["new"]);
        assert_eq!((scene.request("old"), scene.request("new")), ("unknown".into(), "served by a".into()));
    }
}

#[test]
fn an_inspection_during_discovery_does_not_discover_twice() {
    let mut scene = Scene::new();
    scene.inspects(container("a")).inspects(container("a"));
    assert_eq!(scene.reported, [""; 0]);
}
