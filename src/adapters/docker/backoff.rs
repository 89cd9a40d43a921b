//! Exponential backoff with jitter.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The most doublings; any limit is reached by then.
const MAX_DOUBLINGS: u32 = 16;

/// Returns the pause after `failures` failures in a row: it doubles from `first` to `max`, less up to half at random,
/// so that several proxies do not retry in step.
pub fn pause((first, max): (Duration, Duration), failures: u32) -> Duration {
    let doubled = first.saturating_mul(1 << failures.min(MAX_DOUBLINGS)).min(max);
    // The standard library gives each state a different key: randomness enough for jitter.
    let random = RandomState::new().build_hasher().finish() % 1000;
    let cut = doubled / 2 * u32::try_from(random).unwrap_or(0) / 1000;
    doubled.saturating_sub(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ() {
        let bounds = (Duration::from_millis(100), Duration::from_secs(5));
        for (failures, longest) in [(0, 100), (1, 200), (5, 3200), (6, 5000), (60, 5000), (u32::MAX, 5000)] {
            let longest = Duration::from_millis(longest);
            for _ in 0..50 {
                let pause = pause(bounds, failures);
                assert!(pause <= longest && pause >= longest / 2, "{failures}: {pause:?}");
            }
        }
        let distinct: std::collections::HashSet<_> = (0..50).map(|_| pause(bounds, 6)).collect();
        assert!(distinct.len() > 10);
    }
}
