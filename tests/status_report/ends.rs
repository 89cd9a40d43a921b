//! What the ends of its runs, its project and its address say of a container.

use domain::container::RunEnd;

use super::*;

#[test]
fn one_that_was_stopped_is_at_rest_and_one_that_crashed_needs_a_person() {
    for (stopped, exit_code, level, state) in [
        (true, Some(0), Severity::Off, "stopped"),
        (true, Some(1), Severity::Off, "stopped"),
        (true, Some(137), Severity::Off, "stopped"),
        (false, Some(0), Severity::Off, "ended"),
        (false, Some(143), Severity::Off, "stopped"),
        (false, Some(1), Severity::Wrong, "crashed"),
        (false, Some(139), Severity::Wrong, "crashed"),
        (false, Some(137), Severity::Wrong, "crashed"),
    ] {
        let mut scene = Scene::of([container("one", Condition::Healthy)]);
        scene.lists("one", &["a"]);
        if stopped {
            scene.edge("one", LifecycleEvent::Signal(Signal::TERM));
        }
        scene.edge("one", LifecycleEvent::Ended { exit_code });
        scene.drains();
        let line = scene.only();
        assert_eq!((line.level, line.state.as_str()), (level, state), "{stopped} {exit_code:?}");
        assert_eq!(scene.report().is_well(), level != Severity::Wrong);
        let code = exit_code.unwrap_or_default();
        assert!(level != Severity::Wrong || line.line.contains(&format!("exit code {code}")), "{}", line.line);
    }
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    scene.edge("one", LifecycleEvent::OutOfMemory);
    scene.edge("one", LifecycleEvent::Ended { exit_code: Some(137) });
    assert!(scene.only().line.contains("out of memory"), "{}", scene.only().line);
}

#[test]
fn one_that_ended_before_it_was_seen_is_judged_by_its_exit_code() {
    for (exit_code, out_of_memory, level) in [
        (0, false, Severity::Off),
        (143, false, Severity::Off),
        (137, false, Severity::Off),
        (137, true, Severity::Wrong),
        (1, false, Severity::Wrong),
    ] {
        let line = seen(Condition::NotRunning, |one| {
            one.last_end = Some(RunEnd { exit_code: Some(exit_code), out_of_memory });
        });
        assert_eq!(line.level, level, "{exit_code}");
    }
}

#[test]
fn one_that_its_restart_policy_brings_back_again_and_again_needs_a_person() {
    for condition in [Condition::Restarting, Condition::Starting, Condition::Unhealthy] {
        let line = seen(condition, |one| one.restarts = 3);
        assert_eq!(line.level, Severity::Wrong, "{condition:?}");
        assert!(line.line.contains("restarted 3 times by its restart policy"), "{}", line.line);
    }
    // In service again: wrong for a while, and no longer if nobody saw it happen.
    let mut scene = Scene::of([Container { restarts: 1, ..container("one", Condition::Healthy) }]);
    scene.lists("one", &["a"]);
    assert_eq!(scene.only().level, Severity::Good);
    assert!(scene.only().line.contains("restarted once"), "{}", scene.only().line);
    scene.edge("one", LifecycleEvent::Ended { exit_code: Some(3) });
    scene.drains();
    let again = Container { restarts: 2, started_at: EngineTime(3), ..container("one", Condition::Healthy) };
    scene.apply(TableEvent::Source(SourceId(0), ContainerEvent::Inspected(again)));
    scene.lists("one", &["a"]);
    let line = scene.only();
    assert_eq!((line.level, line.state.as_str()), (Severity::Wrong, "ready"));
    assert!(line.line.contains("restarted 2 times") && line.line.contains("exit code 3"), "{}", line.line);
    scene.later(601);
    assert_eq!(scene.only().level, Severity::Good);
}

#[test]
fn one_of_another_compose_project_without_a_way_to_it_is_no_fault_whatever_it_does() {
    let foreign = |condition| {
        let mut one = container("one", condition);
        let theirs = vec!["other_default (10.9.0.2/16)".to_owned()];
        let ours = vec!["172.20.0.2/16".to_owned()];
        one.reach = Reach::Nowhere(Unreachable { theirs, ours, other_project: Some("other".to_owned()) });
        one.restarts = 2;
        one.last_end = Some(RunEnd { exit_code: Some(1), out_of_memory: false });
        one
    };
    for condition in [
        Condition::Healthy,
        Condition::Unhealthy,
        Condition::Starting,
        Condition::NoHealthcheck,
        Condition::NotRunning,
        Condition::Restarting,
        Condition::Paused,
    ] {
        let scene = Scene::of([foreign(condition)]);
        assert_eq!(scene.only().level, Severity::Off, "{condition:?}: {}", scene.only().line);
        assert!(scene.report().is_well());
    }
    let line = Scene::of([foreign(Condition::Healthy)]).only();
    assert!(line.line.contains("Compose project other"), "{}", line.line);
    let mut bad = foreign(Condition::Healthy);
    bad.labels = labels::parse(|name| (name == labels::PORT).then_some("80a"));
    assert_eq!(Scene::of([bad]).only().level, Severity::Off);
}

#[test]
fn one_that_speaks_ipv6_alone_is_told_to_listen_there() {
    let mut one = container("one", Condition::Healthy);
    one.reach = Reach::At("fd00::3".parse::<IpAddr>().unwrap().into());
    let mut scene = Scene::of([one]);
    scene.fails("one", "GET http://[fd00::3]:8000/v1/models: the connection was refused");
    let line = scene.only().line;
    assert!(line.contains("[::]") && !line.contains("0.0.0.0"), "{line}");
}

#[test]
fn a_static_backend_that_wants_a_key_is_explained_as_a_container_is() {
    for status in [401, 403] {
        let line = seen(Condition::Unhealthy, |one| {
            one.health_output =
                Some(format!("GET http://10.0.0.1:80/v1/models: it responded with status {status}").into());
        });
        assert!(line.line.contains("asks for a key"), "{}", line.line);
    }
}
