//! Counts the requests in flight by backend and model. A backend's counters go with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use domain::model_name::ModelName;
use ports::telemetry::{TableAction, TableChange};

/// The counters by registration.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    backends: RwLock<HashMap<u64, Backend>>,
}

#[derive(Debug)]
struct Backend {
    container: Arc<str>,
    models: Vec<Counter>,
}

#[derive(Debug)]
struct Counter {
    model: ModelName,
    count: Arc<AtomicI64>,
    withdrawn: bool,
}

/// Counts one request in flight until dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard(Arc<AtomicI64>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    /// Adds the counters of a new backend, and removes those of one that is gone.
    pub(super) fn table_changed(&self, change: &TableChange) {
        let mut backends = self.backends.write().unwrap_or_else(PoisonError::into_inner);
        match change.action {
            TableAction::Removed => {
                backends.remove(&change.registration);
            }
            TableAction::Registered | TableAction::ModelsChanged => {
                let backend =
                    backends.entry(change.registration).or_insert_with(|| Backend::new(change.container.as_str()));
                for model in &change.models {
                    backend.counter(model).withdrawn = change.removed.contains(model);
                }
                backend.models.retain(|counter| !counter.is_over());
            }
            TableAction::Draining | TableAction::Collision => {}
        }
    }

    /// Counts a request to a backend. The request holds a lease, so the backend outlives the guard.
    pub(super) fn enter(&self, registration: u64, container: &str, model: &ModelName) -> InFlightGuard {
        let known = {
            let backends = self.backends.read().unwrap_or_else(PoisonError::into_inner);
            let counters = backends.get(&registration).map(|backend| &backend.models);
            counters.and_then(|all| all.iter().find(|c| c.model == *model)).map(|counter| Arc::clone(&counter.count))
        };
        // The table is published before its changes are recorded, so a request may be the first sign of a backend.
        let count = known.unwrap_or_else(|| {
            let mut backends = self.backends.write().unwrap_or_else(PoisonError::into_inner);
            let backend = backends.entry(registration).or_insert_with(|| Backend::new(container));
            Arc::clone(&backend.counter(model).count)
        });
        count.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(count)
    }

    /// Returns the counts by container and model, summed over the registrations of a container.
    pub(super) fn counts(&self) -> HashMap<(Arc<str>, ModelName), i64> {
        let backends = self.backends.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts = HashMap::new();
        for backend in backends.values() {
            for counter in backend.models.iter().filter(|counter| !counter.is_over()) {
                let key = (Arc::clone(&backend.container), counter.model.clone());
                *counts.entry(key).or_insert(0) += counter.count.load(Ordering::Relaxed);
            }
        }
        counts
    }
}

impl Backend {
    fn new(container: &str) -> Self {
        Self { container: Arc::from(container), models: Vec::new() }
    }

    fn counter(&mut self, model: &ModelName) -> &mut Counter {
        let at = self.models.iter().position(|counter| counter.model == *model).unwrap_or_else(|| {
            let count = Arc::new(AtomicI64::new(0));
            self.models.push(Counter { model: model.clone(), count, withdrawn: false });
            self.models.len() - 1
        });
        &mut self.models[at]
    }
}

impl Counter {
    /// A withdrawn model is counted until its last request has finished.
    fn is_over(&self) -> bool {
        self.withdrawn && self.count.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn model(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    fn change(action: TableAction, registration: u64, models: &[&str], withdrawn: &[&str]) -> TableChange {
        TableChange {
            action,
            container: "c".to_owned(),
            scheme: "http",
            address: ([127, 0, 0, 1], 1).into(),
            registration,
            models: models.iter().map(|name| model(name)).collect(),
            removed: withdrawn.iter().map(|name| model(name)).collect(),
            reason: String::new(),
        }
    }

    fn seen(in_flight: &InFlight) -> Vec<(String, i64)> {
        let mut seen: Vec<_> = in_flight.counts().into_iter().map(|((_, m), n)| (m.to_string(), n)).collect();
        seen.sort();
        seen
    }

    #[test]
    fn numbers_begin_and_end_with_their_backend() {
        let in_flight = InFlight::default();
        in_flight.table_changed(&change(TableAction::Registered, 1, &["a", "b"], &[]));
        let guard = in_flight.enter(1, "c", &model("a"));
        assert_eq!(seen(&in_flight), [("a".to_owned(), 1), ("b".to_owned(), 0)]);
        in_flight.table_changed(&change(TableAction::Draining, 1, &["a", "b"], &[]));
        assert_eq!(seen(&in_flight), [("a".to_owned(), 1), ("b".to_owned(), 0)]);
        drop(guard);
        in_flight.table_changed(&change(TableAction::Removed, 1, &["a", "b"], &[]));
        assert_eq!(seen(&in_flight), []);
    }

    #[test]
    fn two_registrations_of_a_container_count_together() {
        let in_flight = InFlight::default();
        let _old = in_flight.enter(1, "c", &model("a"));
        in_flight.table_changed(&change(TableAction::Registered, 2, &["a"], &[]));
        let _new = in_flight.enter(2, "c", &model("a"));
        assert_eq!(seen(&in_flight), [("a".to_owned(), 2)]);
    }

    #[test]
    fn a_model_that_is_withdrawn_goes_with_its_last_request() {
        let in_flight = InFlight::default();
        in_flight.table_changed(&change(TableAction::Registered, 1, &["a"], &[]));
        let guard = in_flight.enter(1, "c", &model("a"));
        in_flight.table_changed(&change(TableAction::ModelsChanged, 1, &["b", "a"], &["a"]));
        assert_eq!(seen(&in_flight), [("a".to_owned(), 1), ("b".to_owned(), 0)]);
        drop(guard);
        assert_eq!(seen(&in_flight), [("b".to_owned(), 0)]);
        in_flight.table_changed(&change(TableAction::ModelsChanged, 1, &["a"], &[]));
        assert_eq!(seen(&in_flight), [("a".to_owned(), 0), ("b".to_owned(), 0)], "and comes back");
    }
}
