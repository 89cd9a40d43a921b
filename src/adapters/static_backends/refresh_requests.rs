//! Requests for a fresh look.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use domain::container::ContainerId;
use tokio::sync::Notify;

/// How many unknown ids may wait for their answer. More are dropped.
const STRANGERS_MAX: usize = 1024;

/// The backends that somebody wants looked at.
#[derive(Debug)]
pub struct RefreshRequests {
    known: HashMap<ContainerId, Notify>,
    strangers: Mutex<BTreeSet<ContainerId>>,
    stranger_asked: Notify,
}

impl RefreshRequests {
    /// Takes requests for these backends.
    pub fn new(known: impl Iterator<Item = ContainerId>) -> Self {
        Self {
            known: known.map(|id| (id, Notify::new())).collect(),
            strangers: Mutex::default(),
            stranger_asked: Notify::new(),
        }
    }

    /// Asks for one. Requests for the same are merged.
    pub fn add(&self, id: &ContainerId) {
        if let Some(asked) = self.known.get(id) {
            return asked.notify_one();
        }
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.len() < STRANGERS_MAX {
            strangers.insert(id.clone());
            self.stranger_asked.notify_one();
        }
    }

    /// Waits until this backend is asked for.
    pub async fn asked(&self, id: &ContainerId) {
        match self.known.get(id) {
            Some(asked) => asked.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until somebody asks for an id that is none of ours.
    pub async fn stranger(&self) -> ContainerId {
        loop {
            let first = self.strangers.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match first {
                Some(id) => return id,
                None => self.stranger_asked.notified().await,
            }
        }
    }
}
