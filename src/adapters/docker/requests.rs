//! Requests for a fresh look, from outside the watch.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use domain::container::ContainerId;
use tokio::sync::Notify;

/// How many containers may be asked for before the watch takes the requests. More are dropped.
const REQUESTS_MAX: usize = 65_536;

/// The containers that somebody wants looked at.
#[derive(Debug, Default)]
pub struct Requests {
    ids: Mutex<HashSet<ContainerId>>,
    asked: Notify,
}

impl Requests {
    /// Asks for one. Requests for the same are merged.
    pub fn add(&self, id: &ContainerId) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() < REQUESTS_MAX {
            ids.insert(id.clone());
            self.asked.notify_one();
        }
    }

    /// Waits until there are some and takes them all.
    pub async fn taken(&self) -> HashSet<ContainerId> {
        loop {
            let ids = std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner));
            if !ids.is_empty() {
                return ids;
            }
            self.asked.notified().await;
        }
    }
}
