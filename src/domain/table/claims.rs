//! Claims of backends to models. The pool whose first member turned healthy last serves; the claims of other pools wait
//! behind it.

use std::sync::Arc;

use super::entry::State;
use super::event::Transition;
use super::{Entry, RoutingTable, Transitions};
use crate::backend::{Backend, OfferedModel};
use crate::container::ContainerId;
use crate::model_name::ModelName;

/// The claim of a backend to a model.
#[derive(Debug, Clone)]
pub struct Claim<L> {
    /// The backend.
    pub backend: Arc<Backend<L>>,
    /// The model.
    pub model: ModelName,
    /// The backend's rank among those that turned healthy. The highest of a pool comes first.
    pub order: u64,
}

impl<L> Claim<L> {
    /// Returns the rank among the claims to one model, the highest first. Members of a pool are adjacent: no two pools
    /// have the same order.
    fn rank(&self) -> (u64, u64) {
        (self.backend.replica.pool.order, self.order)
    }
}

/// The result of resolving a model's name.
#[derive(Debug)]
pub enum Resolution<'a, L> {
    /// The backends that claim it, first the members of the pool that serves it (see [`super::members`]). Never empty.
    Claimed(&'a [Claim<L>]),
    /// Its backend is draining.
    Draining,
    /// A container that has served it exists and is not ready.
    Unavailable,
    /// No container serves it.
    Unknown,
}

impl<L> RoutingTable<L> {
    /// Resolves a model, in time that does not depend on the number of models.
    pub fn resolve(&self, model: &str) -> Resolution<'_, L> {
        match self.claims.get(model) {
            Some(claims) => Resolution::Claimed(claims),
            None => self.absent(model),
        }
    }

    /// Returns the table's own copy of a model's name, if a backend claims it.
    pub fn claimed_name(&self, model: &str) -> Option<&ModelName> {
        self.claims.get_key_value(model).map(|(name, _)| name)
    }

    /// Resolves a model without claims by the state of the containers that have served it.
    fn absent(&self, model: &str) -> Resolution<'_, L> {
        let containers = self.served.get(model).map_or(&[] as &[ContainerId], Vec::as_slice);
        let mut states = containers.iter().filter_map(|id| Some(&self.entries.get(id)?.state));
        if states.clone().any(State::may_return) {
            Resolution::Unavailable
        } else if states.any(|state| matches!(state, State::Stopping(_))) {
            Resolution::Draining
        } else {
            Resolution::Unknown
        }
    }

    /// Returns the description of a model by the backend that serves it.
    pub fn offered(&self, model: &str) -> Option<&OfferedModel> {
        let claim = self.claims.get(model)?.first()?;
        match self.entries.get(&claim.backend.container) {
            Some(Entry { state: State::Ready(ready), .. }) => ready.models.iter().find(|m| m.name == claim.model),
            _ => None,
        }
    }

    /// Remembers the models that a container serves or is expected to serve.
    pub(super) fn remember(&mut self, id: &ContainerId, models: Arc<[ModelName]>) {
        self.forget(id);
        let Some(entry) = self.entries.get_mut(id) else { return };
        for model in models.iter() {
            self.served.entry(model.clone()).or_default().push(id.clone());
        }
        entry.served = models;
    }

    /// Forgets the models that a container has served.
    pub(super) fn forget(&mut self, id: &ContainerId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let served = std::mem::replace(&mut entry.served, Arc::from([]));
        for model in served.iter() {
            let Some(ids) = self.served.get_mut(model) else { continue };
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.served.remove(model);
            }
        }
    }
}

impl<L: Clone> RoutingTable<L> {
    /// Adds the claims of a backend. The caller has checked that there is room.
    pub(super) fn claim(
        &mut self,
        backend: &Arc<Backend<L>>,
        models: &[OfferedModel],
        order: u64,
        out: &mut Transitions<L>,
    ) {
        for offered in models {
            self.claim_count += 1;
            let claim = Claim { backend: Arc::clone(backend), model: offered.name.clone(), order };
            let mut claims = self.claims.get(&offered.name).map_or_else(Vec::new, |claims| claims.to_vec());
            let pool = &backend.replica.pool;
            let is_first_of_pool = !claims.iter().any(|other| Arc::ptr_eq(&other.backend.replica.pool, pool));
            let before = claims.first().map(|other| Arc::clone(&other.backend));
            let place = claims.partition_point(|other| other.rank() > claim.rank());
            claims.insert(place, claim);
            if let (Some(before), true) = (before, is_first_of_pool) {
                let (winner, displaced) = if place == 0 { (backend, &before) } else { (&before, backend) };
                out.push(Transition::Collision {
                    model: offered.name.clone(),
                    winner: Arc::clone(winner),
                    displaced: Arc::clone(displaced),
                });
            }
            self.claims.insert(offered.name.clone(), claims.into());
        }
    }

    /// Removes the claims of a backend to these models.
    pub(super) fn disclaim<'a>(
        &mut self,
        backend: &Arc<Backend<L>>,
        models: impl Iterator<Item = &'a ModelName>,
        out: &mut Transitions<L>,
    ) {
        for model in models {
            let Some(claims) = self.claims.get(model) else { continue };
            let left: Vec<_> =
                claims.iter().filter(|c| c.backend.registration != backend.registration).cloned().collect();
            let served = claims.first().map(|c| Arc::clone(&c.backend.replica.pool));
            self.claim_count = self.claim_count.saturating_sub(claims.len() - left.len());
            match left.first() {
                None => {
                    self.claims.remove(model);
                }
                Some(next) => {
                    if served.is_some_and(|pool| !Arc::ptr_eq(&pool, &next.backend.replica.pool)) {
                        let backend = Arc::clone(&next.backend);
                        out.push(Transition::TookOver { model: model.clone(), backend });
                    }
                    self.claims.insert(model.clone(), left.into());
                }
            }
        }
    }
}
