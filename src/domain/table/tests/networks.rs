//! Containers with several addresses, and networks that come and go.

use super::*;

const ONE: [u8; 4] = [10, 0, 0, 1];
const TWO: [u8; 4] = [10, 0, 0, 2];
const NONE: [&str; 0] = [];

#[test]
fn it_is_discovered_at_each_address_in_order_and_serves_where_it_responded() {
    let mut scene = Scene::new();
    scene.inspects(container("a").at_any([ONE, TWO]));
    assert_eq!(scene.reported, ["discover a at 10.0.0.1, 10.0.0.2"]);
    let generation = scene.generation("a");
    scene.lists_at(TWO.into(), generation, "a", &["m"]);
    assert_eq!(scene.backend("a").address, (TWO, 8000).into());
    scene.inspects(container("a").at_any([ONE, TWO]));
    assert_eq!(scene.reported, NONE, "it stays where it responded");
}

#[test]
fn a_network_that_is_joined_moves_nothing() {
    for addresses in [[ONE, TWO], [TWO, ONE]] {
        let mut scene = Scene::new();
        scene.serving(container("a").at(TWO), &["m"]).inspects(container("a").at_any(addresses));
        assert_eq!((scene.reported.len(), scene.request("m")), (0, "served by a".into()));
        assert_eq!(scene.backend("a").address, (TWO, 8000).into());
    }
}

#[test]
fn a_network_that_is_not_in_use_is_left_without_a_word() {
    let mut scene = Scene::new();
    scene.serving(container("a").at_any([ONE, TWO]), &["m"]).lifecycle("a", left([TWO]));
    assert_eq!((scene.reported.len(), scene.request("m")), (0, "served by a".into()));
    scene.inspects(container("a").at(ONE));
    assert_eq!((scene.reported.len(), scene.request("m")), (0, "served by a".into()));
    scene.lifecycle("a", left([ONE]));
    assert_eq!(scene.reported, ["left service a keeping its requests"]);
}

#[test]
fn an_address_that_was_lost_during_discovery_is_not_served_at() {
    let mut scene = Scene::new();
    scene.inspects(container("a").at_any([ONE, TWO])).lifecycle("a", left([TWO]));
    assert_eq!(scene.reported, NONE, "the other one is tried first");
    let generation = scene.generation("a");
    scene.lists_at(TWO.into(), generation, "a", &["m"]);
    assert_eq!(scene.reported, ["discover a at 10.0.0.1"]);
    scene.lists("a", &["m"]);
    assert_eq!(scene.backend("a").address, (ONE, 8000).into());
}

#[test]
fn an_address_that_came_during_discovery_is_tried_when_the_others_refuse() {
    let mut scene = Scene::new();
    scene.inspects(container("a").at(ONE)).inspects(container("a").at_any([TWO, ONE]));
    assert_eq!(scene.reported, NONE, "it may be about to respond");
    scene.fails_to_list("a", "no response within 5 s");
    assert_eq!(scene.reported.len(), 1, "it took the connection: {:?}", scene.reported);
    scene.refuses("a");
    assert_eq!(scene.reported.last().map(String::as_str), Some("discover a at 10.0.0.2, 10.0.0.1"));
    scene.refuses("a");
    assert!(!scene.reported.join("; ").contains("discover"), "{:?}", scene.reported);
}
