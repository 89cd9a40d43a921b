//! Several addresses: which one is used, and what becomes of a backend whose networks come and go.

use super::*;

const ONE: [u8; 4] = [10, 0, 0, 1];
const TWO: [u8; 4] = [10, 0, 0, 2];
const NONE: [&str; 0] = [];

#[test]
fn it_is_asked_at_each_address_in_order_and_serves_where_it_answered() {
    let mut scene = Scene::new();
    scene.sees(container("a").at_any([ONE, TWO]));
    assert_eq!(scene.told, ["discover a at 10.0.0.1, 10.0.0.2"]);
    let generation = scene.generation("a");
    scene.lists_at(TWO.into(), generation, "a", &["m"]);
    assert_eq!(scene.backend("a").address, (TWO, 8000).into());
    scene.sees(container("a").at_any([ONE, TWO]));
    assert_eq!(scene.told, NONE, "it stays where it answered");
}

#[test]
fn a_network_that_is_joined_moves_nothing() {
    for addresses in [[ONE, TWO], [TWO, ONE]] {
        let mut scene = Scene::new();
        scene.serving(container("a").at(TWO), &["m"]).sees(container("a").at_any(addresses));
        assert_eq!((scene.told.len(), scene.request("m")), (0, "served by a".into()));
        assert_eq!(scene.backend("a").address, (TWO, 8000).into());
    }
}

#[test]
fn a_network_that_is_not_in_use_is_left_without_a_word() {
    let mut scene = Scene::new();
    scene.serving(container("a").at_any([ONE, TWO]), &["m"]).edge("a", left([TWO]));
    assert_eq!((scene.told.len(), scene.request("m")), (0, "served by a".into()));
    scene.sees(container("a").at(ONE));
    assert_eq!((scene.told.len(), scene.request("m")), (0, "served by a".into()));
    scene.edge("a", left([ONE]));
    assert_eq!(scene.told, ["left service a keeping its requests"]);
}

#[test]
fn an_address_that_was_lost_while_it_was_asked_is_not_served_at() {
    let mut scene = Scene::new();
    scene.sees(container("a").at_any([ONE, TWO])).edge("a", left([TWO]));
    assert_eq!(scene.told, NONE, "it is asked at the other one first");
    let generation = scene.generation("a");
    scene.lists_at(TWO.into(), generation, "a", &["m"]);
    assert_eq!(scene.told, ["discover a at 10.0.0.1"]);
    scene.lists("a", &["m"]);
    assert_eq!(scene.backend("a").address, (ONE, 8000).into());
}

#[test]
fn an_address_that_came_while_it_was_asked_is_tried_when_the_others_do_not_answer() {
    let mut scene = Scene::new();
    scene.sees(container("a").at(ONE)).sees(container("a").at_any([TWO, ONE]));
    assert_eq!(scene.told, NONE, "it may be about to answer");
    scene.answers_not("a", "no answer within 5 s");
    assert_eq!(scene.told.len(), 1, "it took the connection: {:?}", scene.told);
    scene.refuses("a");
    assert_eq!(scene.told.last().map(String::as_str), Some("discover a at 10.0.0.2, 10.0.0.1"));
    scene.refuses("a");
    assert!(!scene.told.join("; ").contains("discover"), "{:?}", scene.told);
}
