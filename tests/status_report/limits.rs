//! Models that are left out because there are too many.

use domain::container::Condition;
use domain::table::{MAX_CLAIMS, MAX_MODELS_PER_BACKEND};

use super::{Scene, container};

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

fn notes_of(scene: &Scene, name: &str) -> Vec<String> {
    let report = scene.report();
    report.containers.iter().find(|line| line.name == name).map(|line| line.notes.clone()).unwrap()
}

#[test]
fn one_that_lists_more_than_one_server_may() {
    let mut scene = Scene::of([container("one", Condition::Healthy)]);
    let all = names("one", MAX_MODELS_PER_BACKEND + 3);
    scene.lists("one", &all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(scene.only().line, format!("serves {MAX_MODELS_PER_BACKEND} models"));
    assert_eq!(scene.only().notes, ["it lists too many models; 3 of them are left out"]);
    scene.lists_again("one", &["one-0"]);
    assert_eq!(scene.only().notes, [""; 0]);
}

#[test]
fn one_that_found_no_room_for_all_that_it_lists() {
    let full: Vec<_> = (0..MAX_CLAIMS / MAX_MODELS_PER_BACKEND).map(|n| format!("full-{n}")).collect();
    let all = full.iter().map(String::as_str).chain(["one"]);
    let mut scene = Scene::of(all.map(|name| container(name, Condition::Healthy)));
    for (n, name) in full.iter().enumerate() {
        let listed = names(name, if n == 0 { MAX_MODELS_PER_BACKEND - 1 } else { MAX_MODELS_PER_BACKEND });
        scene.lists(name, &listed.iter().map(String::as_str).collect::<Vec<_>>());
    }
    scene.lists("one", &["base"]);
    scene.lists_again("one", &["base", "more"]);
    assert_eq!(notes_of(&scene, "one"), ["the routing table is full; what is over is left out"]);
    scene.lists_again("one", &["base"]);
    assert_eq!(notes_of(&scene, "one"), [""; 0]);
}
