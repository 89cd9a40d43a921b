//! What holds in every interleaving: nobody enters a closed gate, and exactly one party learns that the drain is over.
#![allow(clippy::unwrap_used)]

use loom::sync::Arc;
use loom::thread;

use loom_gate::gate::{Closed, Gate};

/// A request: enters if it may, and leaves. Whether it entered, and whether it was told that it was the last.
fn request(gate: &Gate) -> (bool, bool) {
    let entered = gate.try_enter();
    (entered, entered && gate.leave())
}

#[test]
fn exactly_one_party_learns_that_the_drain_is_over() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let requests: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || request(&gate).1)
            })
            .collect();
        let empty = gate.close() == Closed::Empty;
        let last = requests.into_iter().map(|r| r.join().unwrap()).filter(|last| *last).count();
        assert_eq!(usize::from(empty) + last, 1, "nobody waits for ever, and nobody ends the drain twice");
        assert_eq!(gate.in_flight(), 0);
    });
}

#[test]
fn nobody_enters_once_it_is_closed() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let other = Arc::clone(&gate);
        let closer = thread::spawn(move || {
            let found = other.close();
            assert!(!other.try_enter(), "the closer itself is refused");
            found
        });
        let seen_closed = gate.is_closed();
        let entered = gate.try_enter();
        assert!(!(seen_closed && entered), "who saw it closed is refused");
        let found = closer.join().unwrap();
        match (entered, found) {
            (true, Closed::InFlight(1)) => assert!(gate.leave(), "the last one out"),
            (false, Closed::Empty) => assert_eq!(gate.in_flight(), 0),
            (entered, found) => unreachable!("entered: {entered}, and the closer found {found:?}"),
        }
    });
}

#[test]
fn of_two_who_close_one_is_the_first() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        assert!(gate.try_enter());
        let closers: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || gate.close())
            })
            .collect();
        let left_last = gate.leave();
        let found: Vec<_> = closers.into_iter().map(|closer| closer.join().unwrap()).collect();
        assert_eq!(found.iter().filter(|found| **found == Closed::Already).count(), 1);
        let empty = found.contains(&Closed::Empty);
        assert_ne!(empty, left_last, "either the first closer found nobody, or the leaver was the last");
    });
}

#[test]
fn what_a_request_wrote_is_seen_by_who_ends_the_drain() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let work = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        assert!(gate.try_enter());
        let (inner_gate, inner_work) = (Arc::clone(&gate), Arc::clone(&work));
        let request = thread::spawn(move || {
            inner_work.store(1, loom::sync::atomic::Ordering::Relaxed);
            inner_gate.leave()
        });
        let empty = gate.close() == Closed::Empty;
        if empty {
            assert_eq!(work.load(loom::sync::atomic::Ordering::Relaxed), 1);
        }
        assert_ne!(request.join().unwrap(), empty);
    });
}
