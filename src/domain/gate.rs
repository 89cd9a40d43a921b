//! The gate of a backend: counts the requests in flight, and closes once.

use super::atomic::{AtomicUsize, Ordering};

/// Set once, when the drain begins. The other bits count the requests in flight.
const DRAINING: usize = 1 << (usize::BITS - 1);

/// Lets requests in until it is closed, and knows how many are inside.
///
/// One word holds both facts, so that no request can slip in after the closing, and exactly one leaver is the last. A
/// closed gate never opens again: a container that returns is a new backend with a new gate.
#[derive(Debug, Default)]
pub struct Gate {
    word: AtomicUsize,
}

/// What closing a gate found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Nobody was inside: the drain is over.
    Empty,
    /// So many requests are inside; the last one out ends the drain.
    InFlight(usize),
    /// It was closed before; whoever closed it first waits for the drain.
    Already,
}

impl Gate {
    /// An open gate with nobody inside.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0) }
    }

    /// Lets one request in, unless the gate is closed. Every `true` must be matched by one [`Gate::leave`].
    pub fn try_enter(&self) -> bool {
        self.try_enter_within(usize::MAX)
    }

    /// Lets one request in, unless the gate is closed or so many are inside.
    pub fn try_enter_within(&self, most: usize) -> bool {
        let most = most.min(DRAINING - 1);
        // A closed gate's word is larger than any number of requests.
        let enter = |word: usize| (word < most).then_some(word + 1);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok()
    }

    /// One request leaves. `true` for the last one out of a closed gate: the drain is over.
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

    /// How many requests are inside now; `None` if it is closed.
    #[inline]
    pub fn inside(&self) -> Option<usize> {
        let word = self.word.load(Ordering::Acquire);
        (word & DRAINING == 0).then_some(word)
    }

    /// How many requests are inside now.
    pub fn in_flight(&self) -> usize {
        self.word.load(Ordering::Acquire) & !DRAINING
    }

    /// Whether the gate was closed.
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & DRAINING != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_who_is_inside() {
        let gate = Gate::new();
        assert!(gate.try_enter() && gate.try_enter());
        assert_eq!(gate.in_flight(), 2);
        assert!(!gate.leave(), "an open gate has no last one out");
        assert_eq!(gate.in_flight(), 1);
    }

    #[test]
    fn closed_it_lets_nobody_in_and_names_the_last_one_out() {
        let gate = Gate::new();
        assert!(gate.try_enter() && gate.try_enter());
        assert_eq!(gate.close(), Closed::InFlight(2));
        assert!(!gate.try_enter());
        assert!(!gate.leave());
        assert!(gate.leave(), "the last one out ends the drain");
        assert_eq!(gate.close(), Closed::Already);
    }

    #[test]
    fn no_more_than_so_many_get_in() {
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
