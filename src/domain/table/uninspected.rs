//! Containers that opted in and that their source cannot inspect. Their entries stay as they are.

use std::sync::Arc;

use super::event::Transition;
use super::ids::SourceId;
use super::warning::Warning;
use super::{MAX_CONTAINERS, RoutingTable, Transitions};
use crate::container::{ContainerId, Uninspected};

impl<L> RoutingTable<L> {
    /// Returns the containers that cannot be inspected, by id.
    pub fn uninspected(&self) -> impl Iterator<Item = &Uninspected> {
        self.uninspected.values().map(|(_, one)| one)
    }

    /// Returns why this container cannot be inspected, if it cannot.
    pub fn why_uninspected(&self, id: &ContainerId) -> Option<&Arc<str>> {
        self.uninspected.get(id).map(|(_, one)| &one.why)
    }

    /// Adds a container that cannot be inspected. The operator is warned once per reason.
    pub(super) fn inspection_failed(&mut self, source: SourceId, one: Uninspected, out: &mut Transitions<L>) {
        let before = self.uninspected.get(&one.id);
        if before.is_none() && self.uninspected.len() >= MAX_CONTAINERS {
            return;
        }
        if before.is_none_or(|(_, before)| before.why != one.why) {
            out.push(Transition::Warn {
                container: one.id.clone(),
                name: Arc::clone(&one.name),
                warning: Warning::Uninspected(Arc::clone(&one.why)),
            });
        }
        self.uninspected.insert(one.id.clone(), (source, one));
    }

    /// Replaces the containers of a source that cannot be inspected by those of a snapshot.
    pub(super) fn set_uninspected(&mut self, source: SourceId, now: Vec<Uninspected>, out: &mut Transitions<L>) {
        let listed = |id: &ContainerId| now.iter().any(|one| one.id == *id);
        self.uninspected.retain(|id, (of, _)| *of != source || listed(id));
        for one in now {
            self.inspection_failed(source, one, out);
        }
    }

    /// Removes a container that was inspected, or is gone.
    pub(super) fn forget_uninspected(&mut self, id: &ContainerId) {
        self.uninspected.remove(id);
    }
}
