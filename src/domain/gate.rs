//! The gate of a backend.

use super::atomic::{AtomicUsize, Ordering};

/// The bit that is set when the drain begins. The other bits count the requests in flight.
const DRAINING: usize = 1 << (usize::BITS - 1);

/// A counter of requests in flight that can be closed once.
///
/// One word holds the count and the flag, so that no request can enter after the gate was closed, and exactly one is
/// the last to leave. A closed gate never opens again: a container that returns is a new backend with a new gate.
#[derive(Debug, Default)]
pub struct Gate {
    word: AtomicUsize,
}

/// The result of closing a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// No request was inside: the drain is over.
    Empty,
    /// This many requests are inside; the last one to leave ends the drain.
    InFlight(usize),
    /// It was closed before, and that caller waits for the drain.
    Already,
}

impl Gate {
    /// Returns an open, empty gate.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Lets one request in. Returns false if the gate is closed. Every `true` must be matched by one [`Gate::leave`].
    pub fn try_enter(&self) -> bool {
        self.try_enter_within(usize::MAX)
    }

    /// Lets one request in. Returns false if the gate is closed or has this many inside.
    pub fn try_enter_within(&self, most: usize) -> bool {
        let most = most.min(DRAINING - 1);
        // A closed gate's word is larger than any number of requests.
        let enter = |word: usize| (word < most).then_some(word + 1);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok()
    }

    /// Lets one request out. Returns true for the last one of a closed gate: the drain is over.
    pub fn leave(&self) -> bool {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before & !DRAINING != 0, "a request left that never entered");
        before == DRAINING | 1
    }

    /// Closes the gate for good.
    pub fn close(&self) -> Closed {
        let before = self.word.fetch_or(DRAINING, Ordering::AcqRel);
        match (before & DRAINING != 0, before & !DRAINING) {
            (true, _) => Closed::Already,
            (false, 0) => Closed::Empty,
            (false, inside) => Closed::InFlight(inside),
        }
    }

    /// Returns the number of requests inside, or `None` if the gate is closed.
    #[inline]
    pub fn inside(&self) -> Option<usize> {
        let word = self.word.load(Ordering::Acquire);
        (word & DRAINING == 0).then_some(word)
    }

    /// Returns the number of requests inside.
    pub fn in_flight(&self) -> usize {
        self.word.load(Ordering::Acquire) & !DRAINING
    }

    /// Returns true if the gate was closed.
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & DRAINING != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_inside_are_counted() {
        let gate = Gate::new();
        assert!(gate.try_enter() && gate.try_enter());
        assert_eq!(gate.in_flight(), 2);
        assert!(!gate.leave(), "an open gate has no last one out");
        assert_eq!(gate.in_flight(), 1);
    }

    #[test]
    fn closed_it_lets_none_in_and_names_the_last_one_out() {
        let gate = Gate::new();
        assert!(gate.try_enter() && gate.try_enter());
        assert_eq!(gate.close(), Closed::InFlight(2));
        assert!(!gate.try_enter());
        assert!(!gate.leave());
        assert!(gate.leave(), "the last one out ends the drain");
        assert_eq!(gate.close(), Closed::Already);
    }

    #[test]
    fn no_more_than_the_limit_get_in() {
        let gate = Gate::new();
        assert!(gate.try_enter_within(2) && gate.try_enter_within(2));
        assert!(!gate.try_enter_within(2));
        assert!(gate.try_enter_within(3));
        gate.close();
        assert!(!gate.try_enter_within(9));
    }

    #[test]
    fn closed_while_empty_the_drain_is_over_at_once() {
        let gate = Gate::new();
        assert_eq!(gate.close(), Closed::Empty);
        assert!(gate.is_closed());
    }
}
