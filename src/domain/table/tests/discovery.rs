//! Discovery, refreshes, their failures, and ejection.

use super::*;

#[test]
fn a_failure_is_reported_once_per_change_and_not_once_per_try() {
    let mut scene = Scene::new();
    scene.inspects(container("a"));
    let tries = ["refused", "refused", "500", "500", "refused"];
    let reported: Vec<_> = tries.iter().flat_map(|why| scene.fails_to_list("a", why).reported.clone()).collect();
    assert_eq!(reported, ["refused", "500", "refused"].map(|why| format!("warn of a: not discovered, {why}")));
    assert_eq!(scene.state("a"), "discovering");
    assert_eq!(scene.lists("a", &["m"]).request("m"), "served by a");
}

#[test]
fn the_same_failure_in_a_new_run_is_reported_again() {
    let mut scene = Scene::new();
    scene.inspects(container("a")).refuses("a").dies("a").inspects(container("a").run(2)).refuses("a");
    assert_eq!(scene.reported, ["warn of a: not discovered, refused"]);
}

#[test]
fn names_that_cannot_be_used_are_left_out_and_the_rest_serves() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["good", "bad\nname", "", "good"]);
    assert_eq!(scene.reported, ["warn of a: bad model name", "registered a with good"]);
    assert_eq!(scene.models(), ["good"]);
}

#[test]
fn a_list_without_a_usable_name_is_a_failure_and_is_retried() {
    let mut scene = Scene::new();
    for models in [&["\u{1b}[0m"] as &[&str], &[]] {
        scene.inspects(container("a")).lists("a", models);
        assert_eq!((scene.state("a"), scene.table.active()), ("discovering".into(), 0));
    }
    let reported = scene.passes(REFRESH).reported.join("; ");
    assert!(reported.contains("discover a"), "{reported}");
    scene.lists("a", &["\u{1b}[0m"]);
    assert_eq!(scene.reported, [""; 0], "what was reported once is not reported again");
    scene.passes(REFRESH).lists("a", &["m"]);
    assert_eq!(scene.request("m"), "served by a");
    assert!(!scene.passes(REFRESH).reported.join("; ").contains("discover"));
}

#[test]
fn a_backend_in_service_is_refreshed_every_so_often() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    assert_eq!(scene.passes(2 * REFRESH).reported, ["30s: refresh a", "60s: refresh a"]);
}

#[test]
fn a_refresh_adds_and_removes_models_of_the_same_registration() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["base", "lora-1"]);
    let backend = scene.backend("a");
    scene.lists_again("a", &["base", "lora-2"]);
    assert_eq!(scene.reported, ["models of a changed: +[\"lora-2\"] -[\"lora-1\"]"]);
    assert_eq!(scene.models(), ["base", "lora-2"]);
    assert_eq!(scene.request("lora-1"), "unknown");
    assert!(Arc::ptr_eq(&backend, &scene.backend("a")));
    scene.dies("a");
    assert_eq!((scene.request("lora-1"), scene.request("lora-2")), ("unknown".into(), "unavailable".into()));
}

#[test]
fn a_refresh_that_collides_keeps_the_order_and_one_that_gives_up_lets_the_next_take_over() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).serving(container("b"), &["n"]).lists_again("a", &["m", "n"]);
    assert_eq!(scene.reported[1..], ["collision on n: b before a"]);
    scene.lists_again("b", &["o"]);
    assert_eq!(scene.reported[1..], ["a took over n"]);
    assert_eq!((scene.request("n"), scene.request("o")), ("served by a".into(), "served by b".into()));
}

#[test]
fn a_refresh_that_only_changes_a_description_changes_it_in_silence() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let (container, generation) = (ContainerId::new("a"), scene.generation("a"));
    let models = vec![("m".to_owned(), Arc::from("{\"id\":\"m\",\"max_model_len\":9}"))];
    scene.apply(TableEvent::Refreshed { container, generation, models });
    assert_eq!(scene.reported, [""; 0]);
    assert!(scene.table.models()[0].1.object.contains("max_model_len"));
}

#[test]
fn a_refresh_without_a_usable_name_keeps_what_was_known() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    scene.lists_again("a", &["\n"]);
    assert_eq!((scene.reported.join("; "), scene.models()), ("warn of a: bad model name".into(), vec!["m".to_owned()]));
    assert_eq!(scene.lists_again("a", &["\n"]).reported, [""; 0], "reported once");
}

#[test]
fn two_refused_refreshes_in_a_row_eject_a_backend_and_a_list_brings_it_back() {
    let mut scene = Scene::new();
    scene.serving(container("a").at([10, 0, 0, 1]), &["m"]).refuses("a").lists_again("a", &["m"]).refuses("a");
    assert_eq!((scene.state("a"), scene.reported.len()), ("ready".into(), 0), "not two in a row");
    scene.refuses("a");
    assert_eq!(
        scene.reported,
        ["refresh container a", "left service a keeping its requests", "discover a at 10.0.0.1"]
    );
    assert_eq!(scene.request("m"), "unavailable");
    assert_eq!(scene.lists("a", &["m"]).request("m"), "served by a");
}

#[test]
fn a_busy_backend_whose_refreshes_time_out_stays_in_service() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    for _ in 0..10 {
        scene.fails_to_list("a", "no response within 5 s");
        assert_eq!(scene.request("m"), "served by a");
    }
}

#[test]
fn a_refresh_that_fails_is_reported_once_per_reason_and_its_recovery_once() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]);
    let mut reported = Vec::new();
    for why in ["500", "500", "401", "401", "500"] {
        scene.passes(REFRESH);
        reported.extend(scene.fails_to_list("a", why).reported.clone());
        assert_eq!(scene.request("m"), "served by a");
    }
    assert_eq!(reported, ["500", "401", "500"].map(|why| format!("warn of a: not refreshed, {why}")));
    scene.passes(REFRESH).lists_again("a", &["m"]);
    assert_eq!(scene.reported, ["a lists again after 150s"]);
    assert_eq!(scene.lists_again("a", &["m"]).reported, [""; 0]);
    assert_eq!(
        scene.fails_to_list("a", "500").reported,
        ["warn of a: not refreshed, 500"],
        "another failure is reported again"
    );
}

#[test]
fn an_empty_list_is_the_truth_when_it_lasts() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lists_again("a", &[]);
    assert_eq!(
        (scene.reported.join("; "), scene.models().len()),
        ("warn of a: not refreshed, it lists no model".into(), 1)
    );
    scene.lists_again("a", &[]);
    assert_eq!((scene.reported.len(), scene.request("m")), (0, "served by a".into()));
    scene.lists_again("a", &["m"]).lists_again("a", &[]).lists_again("a", &[]);
    assert_eq!(scene.request("m"), "served by a", "not so often in a row");
    scene.lists_again("a", &[]);
    assert_eq!((scene.request("m"), scene.state("a")), ("unknown".into(), "ready".into()));
    assert_eq!(scene.lists_again("a", &[]).reported, [""; 0]);
    scene.lists_again("a", &["n"]);
    assert_eq!(scene.request("n"), "served by a");
}

#[test]
fn an_ejected_backend_is_inspected_and_discovered_before_it_serves_again() {
    let mut scene = Scene::new();
    scene.serving(container("a").at([10, 0, 0, 1]), &["m"]).ejected("a");
    assert_eq!(
        scene.reported,
        ["refresh container a", "left service a keeping its requests", "discover a at 10.0.0.1"]
    );
    assert_eq!(scene.request("m"), "unavailable");
    scene.inspects(container("a").at([10, 0, 0, 1]));
    assert_eq!(
        (scene.reported.len(), scene.state("a")),
        (0, "discovering".into()),
        "the engine's word alone is not enough"
    );
    scene.lists("a", &["m"]);
    assert_eq!(scene.request("m"), "served by a");
}

#[test]
fn an_ejected_backend_that_turns_out_dead_has_its_requests_failed() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).ejected("a").dies("a");
    assert_eq!(scene.reported, ["abandon a"]);
    assert_eq!(scene.passes(second(2)).reported, ["2s: fail waiting of a"]);
}

#[test]
fn out_of_memory_a_backend_is_discovered_only_when_an_inspection_shows_that_it_goes_on() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m"]).lifecycle("a", LifecycleEvent::OutOfMemory);
    assert_eq!(scene.reported, ["left service a keeping its requests"]);
    assert_eq!((scene.state("a"), scene.request("m")), ("out of memory".into(), "unavailable".into()));
    assert_eq!(scene.inspects(container("a")).reported, ["discover a at 172.20.0.128"]);
    assert_eq!(scene.lists("a", &["m"]).request("m"), "served by a");
}
