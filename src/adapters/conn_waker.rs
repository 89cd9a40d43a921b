//! Wakes whoever waits for a connection. The adapters that run hyper's connections share it.
//!
//! hyper's halves of a connection wake each other, as if each had a task of its own. Here all of them are in the hands
//! of one task, which polls the connection anyway after it has talked to its other half: being woken for that would only
//! poll it, and everything around it, once more.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

thread_local! {
    /// Whether this thread is talking to a connection now.
    static SUPPRESSION: Cell<Suppression> = const { Cell::new(Suppression::No) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suppression {
    No,
    /// Talking, and nothing has rung.
    Silent,
    /// Talking, and a conn_waker has rung and not been heard.
    Unheard,
}

/// What a connection rings when it can go on.
#[derive(Debug, Default)]
pub(super) struct ConnWaker {
    waker: AtomicWaker,
    notified: AtomicBool,
}

impl ConnWaker {
    /// From now on it is this task that is woken.
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether it notified since the last time that this was asked. A connection that waits, and whose conn_waker has not rung, has
    /// nothing to do.
    pub(super) fn take_notified(&self) -> bool {
        self.notified.swap(false, Ordering::AcqRel)
    }

    /// From now on nobody is woken.
    pub(super) fn clear_waker(&self) {
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
            Suppression::Silent | Suppression::Unheard => SUPPRESSION.set(Suppression::Unheard),
        }
    }
}

/// Talks to a connection without being woken by it for that, and says whether it would have been. Then whoever calls
/// this polls the connection before it waits, or wakes itself.
///
/// News from elsewhere, of the socket above all, wake all the same: they come from other threads, or at other times.
pub(super) fn suppress_self_wake<T>(talk: impl FnOnce() -> T) -> (T, bool) {
    /// Ends the talk also where it panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            SUPPRESSION.set(Suppression::No);
        }
    }
    SUPPRESSION.set(Suppression::Silent);
    let _end = End;
    let said = talk();
    (said, SUPPRESSION.get() == Suppression::Unheard)
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
    fn only_what_is_said_in_the_talk_itself_wakes_nobody() {
        let (conn_waker, count) = (Arc::new(ConnWaker::default()), Arc::new(Count::default()));
        let (ring, waker) = (Waker::from(Arc::clone(&conn_waker)), Waker::from(Arc::clone(&count)));
        let woken = || count.0.load(Ordering::Relaxed);
        conn_waker.set_waker(&waker);
        assert!(suppress_self_wake(|| ring.wake_by_ref()).1, "it tells");
        assert!(!suppress_self_wake(|| ()).1);
        assert_eq!(woken(), 0);
        assert!(conn_waker.take_notified(), "a ring that nobody hears is one");
        assert!(!conn_waker.take_notified());
        ring.wake_by_ref();
        assert_eq!(woken(), 1);

        conn_waker.set_waker(&waker);
        let other = ring.clone();
        suppress_self_wake(|| std::thread::spawn(move || other.wake()).join().unwrap());
        assert_eq!(woken(), 2);

        conn_waker.set_waker(&waker);
        conn_waker.clear_waker();
        ring.wake();
        assert_eq!(woken(), 2);
    }
}
