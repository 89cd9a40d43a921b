//! Limits: models and containers beyond them are left out with a warning, and use the room that is freed.

use super::*;

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

fn serve_many(scene: &mut Scene, id: &str, count: usize) {
    let names = names(id, count);
    scene.serving(container(id), &names.iter().map(String::as_str).collect::<Vec<_>>());
}

fn is_left_out(scene: &Scene, model: &str) -> bool {
    scene.table.left_out().any(|name| name.as_str() == model)
}

#[test]
fn one_backend_has_a_bounded_number_of_models_and_the_others_are_left_out() {
    let mut scene = Scene::new();
    serve_many(&mut scene, "a", MAX_MODELS_PER_BACKEND + 3);
    assert_eq!(scene.reported[0], "warn of a: 3 models too many");
    assert_eq!(scene.models().len(), MAX_MODELS_PER_BACKEND);
    let last = format!("a-{}", MAX_MODELS_PER_BACKEND + 2);
    assert!(is_left_out(&scene, &last) && !is_left_out(&scene, "a-0") && !is_left_out(&scene, "b"));
    scene.dies("a");
    assert!(!is_left_out(&scene, &last), "no backend lists it any more");
}

#[test]
fn what_is_claimed_stays_claimed_while_it_is_listed_in_whatever_order() {
    let mut scene = Scene::new();
    let all = names("a", MAX_MODELS_PER_BACKEND + 500);
    let mut listed: Vec<_> = all.iter().map(String::as_str).collect();
    scene.serving(container("a"), &listed);
    let served = scene.models();
    for _ in 0..5 {
        listed.rotate_left(300);
        scene.lists_again("a", &listed);
        assert_eq!(scene.reported, [""; 0], "nothing comes and nothing goes");
        assert_eq!(scene.models(), served);
    }
    // One that goes makes room for one that was left out.
    listed.retain(|name| *name != "a-0");
    scene.lists_again("a", &listed);
    assert_eq!(scene.models().len(), MAX_MODELS_PER_BACKEND);
    assert!(!scene.models().contains(&"a-0".to_owned()));
}

#[test]
fn the_first_names_are_those_of_a_sorted_list() {
    let mut scene = Scene::new();
    scene.serving(container("a"), &["m", "c", "x"]).serving(container("b"), &["a", "m", "z"]);
    let first = |most| {
        let (names, more) = scene.table.first_names(most);
        (names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(" "), more)
    };
    assert_eq!(first(3), ("a c m".to_owned(), 2));
    assert_eq!(first(5), ("a c m x z".to_owned(), 0));
    assert_eq!(first(0), (String::new(), 5));
}

/// Returns a table that has room for this many claims.
fn full_but_for(room: usize) -> Scene {
    let mut scene = Scene::new();
    let backends = MAX_CLAIMS / MAX_MODELS_PER_BACKEND;
    for n in 0..backends {
        let count = if n == 0 { MAX_MODELS_PER_BACKEND - room } else { MAX_MODELS_PER_BACKEND };
        serve_many(&mut scene, &format!("full-{n}"), count);
    }
    assert_eq!(scene.table.claim_count, MAX_CLAIMS - room);
    scene
}

#[test]
fn a_backend_that_finds_no_room_waits_with_one_warning_and_serves_when_there_is_room() {
    let mut scene = full_but_for(0);
    scene.serving(container("late"), &["m"]);
    assert_eq!(scene.reported, ["abandon late", "warn of late: table full"]);
    assert_eq!((scene.state("late"), scene.request("m")), ("too many".into(), "unknown".into()));
    scene.serving(container("late"), &["m"]);
    assert_eq!(scene.reported, ["abandon late"], "reported once");
    scene.dies("full-1").serving(container("late"), &["m"]);
    assert_eq!(scene.request("m"), "served by late");
}

#[test]
fn a_refresh_claims_as_far_as_there_is_room_and_the_rest_when_there_is_more() {
    let mut scene = full_but_for(2);
    scene.serving(container("a"), &["base"]);
    scene.lists_again("a", &["base", "one", "two"]);
    assert_eq!(scene.reported, ["warn of a: table full", "models of a changed: +[\"one\"] -[]"]);
    assert_eq!((scene.request("one"), scene.request("two")), ("served by a".into(), "unknown".into()));
    scene.lists_again("a", &["base", "one", "two"]);
    assert_eq!(scene.reported, [""; 0]);
    scene.dies("full-1").lists_again("a", &["base", "one", "two"]);
    assert_eq!(scene.request("two"), "served by a");
}

#[test]
fn a_refresh_may_use_the_room_that_it_gives_up() {
    let mut scene = full_but_for(1);
    scene.serving(container("a"), &["one"]).lists_again("a", &["two"]);
    assert_eq!(scene.reported, ["models of a changed: +[\"two\"] -[\"one\"]"]);
    assert_eq!(scene.table.claim_count, MAX_CLAIMS);
}

#[test]
fn claims_are_counted_right_through_every_way_out() {
    let mut scene = Scene::new();
    for event in [
        LifecycleEvent::Unhealthy,
        LifecycleEvent::Paused,
        LifecycleEvent::OutOfMemory,
        LifecycleEvent::Ended { exit_code: None },
        LifecycleEvent::Removed,
    ] {
        scene.serving(container("a"), &["m", "n"]).serving(container("b"), &["m"]);
        assert_eq!(scene.table.claim_count, 3);
        scene.lifecycle("a", event).lifecycle("b", LifecycleEvent::Unhealthy);
        assert_eq!((scene.table.claim_count, scene.table.claims.len()), (0, 0));
    }
}

#[test]
fn no_more_than_4096_containers_are_kept_in_sight() {
    let mut scene = Scene::new();
    let many: Vec<_> = (0..=MAX_CONTAINERS).map(|n| container(&format!("c-{n:04}")).starting()).collect();
    scene.source(0, ContainerEvent::Snapshot(many.into()));
    assert_eq!(scene.table.entries.len(), MAX_CONTAINERS);
    assert_eq!(scene.reported.last().map(String::as_str), Some("warn of c-4096: table full"));
    scene.lifecycle("c-0000", LifecycleEvent::Removed).passes(second(10)).inspects(container("c-4096"));
    assert_eq!(scene.state("c-4096"), "discovering");
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[test]
fn an_ejection_and_a_list_in_another_order_leave_claimed_what_was_claimed() {
    let mut scene = Scene::new();
    let all = names("a", MAX_MODELS_PER_BACKEND + 500);
    let mut listed = strs(&all);
    scene.serving(container("a"), &listed);
    let served = scene.models();
    listed.rotate_left(300);
    scene.ejected("a").lists("a", &listed);
    assert_eq!(scene.models().iter().filter(|name| !served.contains(name)).count(), 0, "names that came");
    assert_eq!(scene.models().len(), served.len());
}

#[test]
fn a_list_over_the_bound_that_finds_no_room_at_all_is_left_out_whole() {
    let mut scene = full_but_for(0);
    serve_many(&mut scene, "late", MAX_MODELS_PER_BACKEND + 3);
    let last = format!("late-{}", MAX_MODELS_PER_BACKEND + 2);
    assert!(is_left_out(&scene, "late-0"), "one that was within the bound");
    assert!(is_left_out(&scene, &last), "one that was over it");
}

#[test]
fn a_list_that_fits_again_clears_the_warning_about_its_length() {
    let mut scene = Scene::new();
    serve_many(&mut scene, "a", MAX_MODELS_PER_BACKEND + 3);
    scene.lists_again("a", &strs(&names("a", 5)));
    assert_eq!(scene.entry("a").warned, []);
    scene.lists_again("a", &strs(&names("a", MAX_MODELS_PER_BACKEND + 3)));
    assert_eq!(scene.reported[0], "warn of a: 3 models too many", "reported again");
}

#[test]
fn a_list_that_shrinks_to_what_is_served_clears_the_warning_about_the_full_table() {
    let mut scene = full_but_for(2);
    scene.serving(container("a"), &["base"]).lists_again("a", &["base", "one", "two"]);
    assert!(is_left_out(&scene, "two"));
    scene.lists_again("a", &["base", "one"]);
    assert_eq!((is_left_out(&scene, "two"), scene.entry("a").warned.len()), (false, 0));
}
