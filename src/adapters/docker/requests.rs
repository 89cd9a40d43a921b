//! Refresh requests to a session.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use domain::container::ContainerId;
use tokio::sync::Notify;

/// The most pending requests; more are dropped.
const REQUESTS_MAX: usize = 65_536;

/// The containers to inspect.
#[derive(Debug, Default)]
pub struct Requests {
    ids: Mutex<HashSet<ContainerId>>,
    added: Notify,
}

impl Requests {
    /// Adds a request, merged with a pending one for the same container.
    pub fn add(&self, id: &ContainerId) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() < REQUESTS_MAX {
            ids.insert(id.clone());
            self.added.notify_one();
        }
    }

    /// Waits for requests, and takes all of them.
    pub async fn take_all(&self) -> HashSet<ContainerId> {
        loop {
            let ids = std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner));
            if !ids.is_empty() {
                return ids;
            }
            self.added.notified().await;
        }
    }
}
