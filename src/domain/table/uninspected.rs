//! Containers that opted in and that their source cannot inspect. What the table holds of them stays as it is.

use std::sync::Arc;

use super::entry::SourceId;
use super::event::{Transition, Warning};
use super::{MAX_CONTAINERS, RoutingTable, Transitions};
use crate::container::{ContainerId, Uninspected};

impl<L> RoutingTable<L> {
    /// The containers that cannot be inspected, by id.
    pub fn uninspected(&self) -> impl Iterator<Item = &Uninspected> {
        self.uninspected.values().map(|(_, one)| one)
    }

    /// Why this container cannot be inspected, if that is so.
    pub fn why_uninspected(&self, id: &ContainerId) -> Option<&Arc<str>> {
        self.uninspected.get(id).map(|(_, one)| &one.why)
    }

    /// Notes a container that cannot be inspected. The operator is told once per reason.
    pub(super) fn not_inspected(&mut self, source: SourceId, one: Uninspected, out: &mut Transitions<L>) {
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

    /// Takes in which containers of a source a snapshot could not inspect: these and no others.
    pub(super) fn set_uninspected(&mut self, source: SourceId, now: Vec<Uninspected>, out: &mut Transitions<L>) {
        let listed = |id: &ContainerId| now.iter().any(|one| one.id == *id);
        self.uninspected.retain(|id, (of, _)| *of != source || listed(id));
        for one in now {
            self.not_inspected(source, one, out);
        }
    }

    /// A container was inspected, or is gone.
    pub(super) fn is_inspected(&mut self, id: &ContainerId) {
        self.uninspected.remove(id);
    }
}
