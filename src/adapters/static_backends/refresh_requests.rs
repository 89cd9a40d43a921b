//! Refresh requests to a source of static backends.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use domain::container::ContainerId;
use tokio::sync::Notify;

/// The most pending requests for unknown ids; more are dropped.
const UNKNOWN_MAX: usize = 1024;

/// The backends to probe at once.
#[derive(Debug)]
pub struct RefreshRequests {
    known: HashMap<ContainerId, Notify>,
    unknown: Mutex<BTreeSet<ContainerId>>,
    unknown_added: Notify,
}

impl RefreshRequests {
    pub fn new(known: impl Iterator<Item = ContainerId>) -> Self {
        Self {
            known: known.map(|id| (id, Notify::new())).collect(),
            unknown: Mutex::default(),
            unknown_added: Notify::new(),
        }
    }

    /// Adds a request, merged with a pending one for the same backend.
    pub fn add(&self, id: &ContainerId) {
        if let Some(requested) = self.known.get(id) {
            return requested.notify_one();
        }
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() < UNKNOWN_MAX {
            unknown.insert(id.clone());
            self.unknown_added.notify_one();
        }
    }

    /// Waits for a request for this backend.
    pub async fn requested(&self, id: &ContainerId) {
        match self.known.get(id) {
            Some(requested) => requested.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Waits for a request for an unknown id.
    pub async fn next_unknown(&self) -> ContainerId {
        loop {
            let first = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match first {
                Some(id) => return id,
                None => self.unknown_added.notified().await,
            }
        }
    }
}
