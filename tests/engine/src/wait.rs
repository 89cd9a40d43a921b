//! Waiting for something outside this process: look, pause shortly, look again, up to a bound.

use std::time::{Duration, Instant};

/// Pause between two looks.
pub const POLL: Duration = Duration::from_millis(20);

/// Longest wait for anything that should come soon; generous, because CI machines are slow.
pub const BOUND: Duration = Duration::from_secs(30);

/// Looks until `look` gives a value, at most for `bound`.
pub async fn wait_for<T>(bound: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + bound;
    loop {
        let found = look().await;
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// As [`wait_for`], but panics and says `what` did not come.
pub async fn until<T>(what: &str, bound: Duration, look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = wait_for(bound, look).await;
    found.unwrap_or_else(|| panic!("waited {bound:?} in vain until {what}"))
}
