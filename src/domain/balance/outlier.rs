//! Outlier detection: members that fail while others do not are ejected for a while, as in Envoy.

use std::time::Duration;

use crate::atomic::{AtomicU64, Ordering};

/// The number of failures in a row that eject a member.
pub const EJECT_AFTER_FAILURES: u32 = 5;
/// The first ejection of a member; each further one is twice as long.
const EJECT_FIRST: Duration = Duration::from_secs(10);
/// The longest ejection. If a member is not ejected again for as long, it starts over.
const EJECT_MAX: Duration = Duration::from_secs(300);

/// The failures of one member. Times are milliseconds since any fixed moment, from 1.
#[derive(Debug, Default)]
pub struct Outlier {
    failures: AtomicU64,
    /// Until when it is ejected, or was.
    until: AtomicU64,
    /// The number of its ejections.
    times: AtomicU64,
}

impl Outlier {
    /// Counts a request that succeeded.
    pub fn succeeded(&self) {
        // Nearly always there is nothing to store, and a store would take the cache line from other threads.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a request that failed. Returns true if the member has failed often enough to be ejected.
    pub fn failed(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= u64::from(EJECT_AFTER_FAILURES)
    }

    /// Returns true if it has failed often enough to be ejected.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= u64::from(EJECT_AFTER_FAILURES)
    }

    /// Returns true if its last request failed.
    fn has_failed(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0
    }

    /// Returns true if it is ejected now.
    pub fn is_ejected(&self, now: u64) -> bool {
        self.until.load(Ordering::Relaxed) > now
    }

    /// Returns until when it is ejected, if it is.
    pub fn ejected_until(&self, now: u64) -> Option<u64> {
        Some(self.until.load(Ordering::Relaxed)).filter(|until| *until > now)
    }

    /// Ejects a member that has failed often enough, unless more than half of its pool would be ejected or the others
    /// fail as well: then this member is not at fault. `others` are the outliers of the other members. Returns the
    /// length of the ejection.
    pub fn eject<'a>(&self, others: impl Iterator<Item = &'a Self>, now: u64) -> Option<Duration> {
        let (mut count, mut ejected, mut well) = (1, 0, false);
        for other in others {
            count += 1;
            ejected += usize::from(other.is_ejected(now));
            well |= !other.has_failed() && !other.is_ejected(now);
        }
        if self.is_ejected(now) || !well || (ejected + 1) * 2 > count {
            return None;
        }
        let until = self.until.load(Ordering::Relaxed);
        let rested = until != 0 && now.saturating_sub(until) > millis(EJECT_MAX);
        let times = if rested { 0 } else { self.times.load(Ordering::Relaxed) };
        let length = EJECT_FIRST.saturating_mul(1 << times.min(16)).min(EJECT_MAX);
        self.until.store(now.saturating_add(millis(length)), Ordering::Relaxed);
        self.times.store(times + 1, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        Some(length)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
