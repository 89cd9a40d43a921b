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
    static TALK: Cell<Talk> = const { Cell::new(Talk::No) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    No,
    /// Talking, and nothing has rung.
    Silent,
    /// Talking, and a bell has rung and not been heard.
    Unheard,
}

/// What a connection rings when it can go on.
#[derive(Debug, Default)]
pub(super) struct Bell {
    heard_by: AtomicWaker,
    rang: AtomicBool,
}

impl Bell {
    /// From now on it is this task that is woken.
    pub(super) fn is_heard_by(&self, waker: &Waker) {
        self.heard_by.register(waker);
    }

    /// Whether it rang since the last time that this was asked. A connection that waits, and whose bell has not rung, has
    /// nothing to do.
    pub(super) fn rang(&self) -> bool {
        self.rang.swap(false, Ordering::AcqRel)
    }

    /// From now on nobody is woken.
    pub(super) fn is_heard_by_nobody(&self) {
        self.heard_by.take();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        match TALK.get() {
            Talk::No => self.heard_by.wake(),
            Talk::Silent | Talk::Unheard => TALK.set(Talk::Unheard),
        }
    }
}

/// Talks to a connection without being woken by it for that, and says whether it would have been. Then whoever calls
/// this polls the connection before it waits, or wakes itself.
///
/// News from elsewhere, of the socket above all, wake all the same: they come from other threads, or at other times.
pub(super) fn unwoken<T>(talk: impl FnOnce() -> T) -> (T, bool) {
    /// Ends the talk also where it panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            TALK.set(Talk::No);
        }
    }
    TALK.set(Talk::Silent);
    let _end = End;
    let said = talk();
    (said, TALK.get() == Talk::Unheard)
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
        let (bell, count) = (Arc::new(Bell::default()), Arc::new(Count::default()));
        let (ring, waker) = (Waker::from(Arc::clone(&bell)), Waker::from(Arc::clone(&count)));
        let woken = || count.0.load(Ordering::Relaxed);
        bell.is_heard_by(&waker);
        assert!(unwoken(|| ring.wake_by_ref()).1, "it tells");
        assert!(!unwoken(|| ()).1);
        assert_eq!(woken(), 0);
        assert!(bell.rang(), "a ring that nobody hears is one");
        assert!(!bell.rang());
        ring.wake_by_ref();
        assert_eq!(woken(), 1);

        bell.is_heard_by(&waker);
        let other = ring.clone();
        unwoken(|| std::thread::spawn(move || other.wake()).join().unwrap());
        assert_eq!(woken(), 2);

        bell.is_heard_by(&waker);
        bell.is_heard_by_nobody();
        ring.wake();
        assert_eq!(woken(), 2);
    }
}
