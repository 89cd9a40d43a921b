//! Waiting for something that must happen, with a bound.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

/// How long a test waits for something that must happen.
pub const SOON: Duration = Duration::from_secs(5);

/// Awaits `what`; fails the test when it does not come [`SOON`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {SOON:?} for {what}"),
    }
}

/// A signal that a test gives to a script, or a script to a test. It stays given.
#[derive(Clone)]
pub struct Signal(watch::Sender<bool>);

impl Default for Signal {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Signal {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn give(&self) {
        self.0.send_replace(true);
    }

    pub fn is_given(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it for as long as it takes.
    pub async fn until_given(&self) {
        let _ = self.0.subscribe().wait_for(|given| *given).await;
    }

    pub async fn given(&self) {
        let _ = soon("a signal", self.0.subscribe().wait_for(|given| *given)).await;
    }
}
