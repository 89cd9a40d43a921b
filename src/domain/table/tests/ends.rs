//! The ends of runs, each reported once with its exit code, and containers that never turn healthy.

use super::*;

#[test]
fn a_crash_is_reported_with_its_exit_code_after_an_ejection() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).ejected("a").lifecycle("a", LifecycleEvent::Ended { exit_code: Some(3) });
    assert_eq!(scene.ends, [(Some(3), false, true)]);
    scene.lifecycle("a", LifecycleEvent::Ended { exit_code: None });
    assert_eq!(scene.ends, [], "`stop` says the same again");
    let exited =
        Container { last_end: Some(RunEnd { exit_code: Some(3), out_of_memory: false }), ..container("a").exited() };
    scene.inspects(exited);
    assert_eq!(scene.ends, [], "and so does the inspection");
    let at = scene.engine - 1;
    scene.lifecycle_at(at, "a", LifecycleEvent::Ended { exit_code: Some(3) });
    assert_eq!(scene.ends, [], "and the stream that was resumed");
}

#[test]
fn every_run_of_a_crash_loop_is_reported_without_an_inspection_in_between() {
    let mut scene = Scene::new();
    scene.inspects(container("a").starting());
    for code in 1..4 {
        scene.lifecycle("a", LifecycleEvent::Ended { exit_code: Some(code) });
        assert_eq!(scene.ends, [(Some(code), false, true)]);
    }
}

#[test]
fn a_stop_is_no_crash_whatever_the_exit_code_and_a_kill_from_outside_is_one() {
    for (signal, exit_code, crashed) in [
        (Some(15), 1, false),
        (Some(9), 137, false),
        (Some(1), 1, true),
        (None, 137, true),
        (None, 143, false),
        (None, 0, false),
    ] {
        let mut scene = Scene::new();
        scene.serving(container("a"), &["m"]);
        if let Some(signal) = signal {
            scene.signal("a", signal);
        }
        scene.lifecycle("a", LifecycleEvent::Ended { exit_code: Some(exit_code) });
        assert_eq!(scene.ends, [(Some(exit_code), false, crashed)], "{signal:?} {exit_code}");
    }
}

#[test]
fn the_kernels_kill_is_reported_with_the_end() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle("a", LifecycleEvent::OutOfMemory).dies("a");
    assert_eq!(scene.ends, [(Some(1), true, true)]);
    scene.inspects(container("a").run(2)).lifecycle("a", LifecycleEvent::Ended { exit_code: Some(1) });
    assert_eq!(scene.ends, [(Some(1), false, true)], "of the next run it says nothing");
}

#[test]
fn an_end_that_only_an_inspection_found_is_reported_and_one_before_the_first_is_not() {
    let end = RunEnd { exit_code: Some(2), out_of_memory: false };
    let exited = || Container { last_end: Some(end), ..container("a").exited() };
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).inspects(exited());
    assert_eq!(scene.ends, [(Some(2), false, true)]);
    scene.lifecycle("a", LifecycleEvent::Ended { exit_code: Some(2) });
    assert_eq!(scene.ends, [], "the event came late");
    let mut scene = Scene::new();
    scene.snapshot([exited()]);
    assert_eq!(scene.ends, []);
}

#[test]
fn what_never_turns_healthy_is_reported_once_with_its_health_check_output() {
    let failing =
        |n: u64| Container { health_output: Some("no such model".into()), ..container("a").unhealthy().run(n) };
    let mut scene = Scene::new();
    scene.inspects(container("a").starting()).lifecycle("a", LifecycleEvent::Unhealthy);
    assert!(!scene.reported.iter().any(|line| line.contains("warn")), "what its check says is not known yet");
    scene.inspects(failing(1));
    assert!(scene.reported.iter().any(|line| line.contains("no such model")), "{:?}", scene.reported);
    scene.inspects(Container { health_output: Some("another".into()), ..failing(1) });
    assert_eq!(scene.reported, Vec::<String>::new());
    scene.inspects(container("a").starting().run(2)).inspects(failing(2));
    assert!(scene.reported.iter().any(|line| line.contains("no such model")), "a new run: {:?}", scene.reported);
}

#[test]
fn what_has_served_in_this_run_leaves_with_its_own_line() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).inspects(container("a").unhealthy());
    assert!(!scene.reported.iter().any(|line| line.contains("health check fails")), "{:?}", scene.reported);
}

#[test]
fn what_starts_for_long_is_reported_once() {
    let mut scene = Scene::new();
    let starting = Container { health_output: Some("connection refused".into()), ..container("a").starting() };
    scene.inspects(starting).passes(second(599));
    assert_eq!(scene.reported, Vec::<String>::new());
    scene.passes(second(3600));
    let [reported] = &scene.reported[..] else { panic!("{:?}", scene.reported) };
    assert!(
        reported.starts_with("1s: ") && reported.contains("10 minutes") && reported.contains("connection refused"),
        "{reported}"
    );
    let mut served = Scene::new();
    served.serving(container("a"), &["m"]).lifecycle("a", LifecycleEvent::LeftNetwork(LostAddresses::All));
    served.inspects(container("a").starting()).passes(second(3600));
    assert_eq!(served.table.next_wake(), None, "nothing is due for ever");
}
