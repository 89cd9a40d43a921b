//! The ends of runs: each is told once, with its exit code, whether the backend had left service before or not. And what
//! never turns healthy.

use super::*;

#[test]
fn a_crash_is_told_with_its_exit_code_though_its_backend_was_suspected_before() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).suspected("a").edge("a", LifecycleEvent::Ended { exit_code: Some(3) });
    assert_eq!(scene.ends, [(Some(3), false, true)]);
    scene.edge("a", LifecycleEvent::Ended { exit_code: None });
    assert_eq!(scene.ends, [], "`stop` says the same again");
    let exited =
        Container { last_end: Some(RunEnd { exit_code: Some(3), out_of_memory: false }), ..container("a").exited() };
    scene.sees(exited);
    assert_eq!(scene.ends, [], "and so does the look");
    let at = scene.engine - 1;
    scene.edge_at(at, "a", LifecycleEvent::Ended { exit_code: Some(3) });
    assert_eq!(scene.ends, [], "and the stream that was resumed");
}

#[test]
fn every_run_of_a_crash_loop_is_told_though_no_look_came_in_between() {
    let mut scene = Scene::new();
    scene.sees(container("a").starting());
    for code in 1..4 {
        scene.edge("a", LifecycleEvent::Ended { exit_code: Some(code) });
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
        scene.edge("a", LifecycleEvent::Ended { exit_code: Some(exit_code) });
        assert_eq!(scene.ends, [(Some(exit_code), false, crashed)], "{signal:?} {exit_code}");
    }
}

#[test]
fn the_kernels_kill_is_told_with_the_end() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).edge("a", LifecycleEvent::OutOfMemory).dies("a");
    assert_eq!(scene.ends, [(Some(1), true, true)]);
    scene.sees(container("a").run(2)).edge("a", LifecycleEvent::Ended { exit_code: Some(1) });
    assert_eq!(scene.ends, [(Some(1), false, true)], "of the next run it says nothing");
}

#[test]
fn an_end_that_only_a_look_found_is_told_and_one_before_the_first_look_is_not() {
    let end = RunEnd { exit_code: Some(2), out_of_memory: false };
    let exited = || Container { last_end: Some(end), ..container("a").exited() };
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).sees(exited());
    assert_eq!(scene.ends, [(Some(2), false, true)]);
    scene.edge("a", LifecycleEvent::Ended { exit_code: Some(2) });
    assert_eq!(scene.ends, [], "the event came late");
    let mut scene = Scene::new();
    scene.snapshot([exited()]);
    assert_eq!(scene.ends, []);
}

#[test]
fn what_never_turns_healthy_is_told_once_with_what_its_health_check_says() {
    let failing =
        |n: u64| Container { health_output: Some("no such model".into()), ..container("a").unhealthy().run(n) };
    let mut scene = Scene::new();
    scene.sees(container("a").starting()).edge("a", LifecycleEvent::Unhealthy);
    assert!(!scene.told.iter().any(|said| said.contains("warn")), "what its check says is not known yet");
    scene.sees(failing(1));
    assert!(scene.told.iter().any(|said| said.contains("no such model")), "{:?}", scene.told);
    scene.sees(Container { health_output: Some("another".into()), ..failing(1) });
    assert_eq!(scene.told, Vec::<String>::new());
    scene.sees(container("a").starting().run(2)).sees(failing(2));
    assert!(scene.told.iter().any(|said| said.contains("no such model")), "a new run: {:?}", scene.told);
}

#[test]
fn what_has_served_in_this_run_leaves_with_its_own_line() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).sees(container("a").unhealthy());
    assert!(!scene.told.iter().any(|said| said.contains("health check fails")), "{:?}", scene.told);
}

#[test]
fn what_starts_for_long_is_told_once() {
    let mut scene = Scene::new();
    let starting = Container { health_output: Some("connection refused".into()), ..container("a").starting() };
    scene.sees(starting).passes(second(599));
    assert_eq!(scene.told, Vec::<String>::new());
    scene.passes(second(3600));
    let [told] = &scene.told[..] else { panic!("{:?}", scene.told) };
    assert!(told.starts_with("1s: ") && told.contains("10 minutes") && told.contains("connection refused"), "{told}");
    let mut served = Scene::new();
    served.serving(container("a"), &["m"]).edge("a", LifecycleEvent::LeftNetwork(LostAddresses::All));
    served.sees(container("a").starting()).passes(second(3600));
    assert_eq!(served.table.next_wake(), None, "nothing is due for ever");
}
