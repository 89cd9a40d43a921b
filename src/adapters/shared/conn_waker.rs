//! The waker of a connection, which can be kept from waking the task that drives the connection.
//!
//! hyper's halves of a connection wake each other, as if each had a task of its own. Here one task drives both: it polls
//! the connection anyway after it has used the other half. A wake-up for that would poll the whole task once more.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

thread_local! {
    /// Whether this thread suppresses wake-ups.
    static SUPPRESSION: Cell<Suppression> = const { Cell::new(Suppression::No) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suppression {
    No,
    Active,
    /// A wake-up was suppressed.
    Used,
}

/// Forwards wake-ups of a connection to the task that drives it.
#[derive(Debug, Default)]
pub(crate) struct ConnWaker {
    waker: AtomicWaker,
    notified: AtomicBool,
}

impl ConnWaker {
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Returns true if the connection was woken since the last call. If it was not, polling it is of no use.
    pub(crate) fn take_notified(&self) -> bool {
        self.notified.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn clear_waker(&self) {
        self.waker.take();
    }
}

impl Wake for ConnWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notified.store(true, Ordering::Release);
        match SUPPRESSION.get() {
            Suppression::No => self.waker.wake(),
            Suppression::Active | Suppression::Used => SUPPRESSION.set(Suppression::Used),
        }
    }
}

/// Runs `action` without the wake-ups that it causes on this thread, and returns whether there were any. If so, the
/// caller polls the connection before it waits, or wakes itself.
///
/// Wake-ups from other threads, such as those of the socket, get through.
pub(crate) fn suppress_self_wake<T>(action: impl FnOnce() -> T) -> (T, bool) {
    /// Ends the suppression, also if the action panics.
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            SUPPRESSION.set(Suppression::No);
        }
    }
    SUPPRESSION.set(Suppression::Active);
    let _guard = Guard;
    let result = action();
    (result, SUPPRESSION.get() == Suppression::Used)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_wake_ups_that_the_action_causes_are_suppressed() {
        let (conn_waker, count) = (Arc::new(ConnWaker::default()), Arc::new(Count::default()));
        let (source, waker) = (Waker::from(Arc::clone(&conn_waker)), Waker::from(Arc::clone(&count)));
        let woken = || count.0.load(Ordering::Relaxed);
        conn_waker.set_waker(&waker);
        assert!(suppress_self_wake(|| source.wake_by_ref()).1);
        assert!(!suppress_self_wake(|| ()).1);
        assert_eq!(woken(), 0);
        assert!(conn_waker.take_notified(), "a suppressed wake-up counts");
        assert!(!conn_waker.take_notified());
        source.wake_by_ref();
        assert_eq!(woken(), 1);

        conn_waker.set_waker(&waker);
        let other = source.clone();
        suppress_self_wake(|| std::thread::spawn(move || other.wake()).join().unwrap());
        assert_eq!(woken(), 2);

        conn_waker.set_waker(&waker);
        conn_waker.clear_waker();
        source.wake();
        assert_eq!(woken(), 2);
    }
}
