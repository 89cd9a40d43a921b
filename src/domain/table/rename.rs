//! Containers that get another name.

use std::sync::Arc;

use super::RoutingTable;
use super::entry::State;
use crate::backend::Backend;
use crate::container::ContainerId;

impl<L> RoutingTable<L> {
    /// Gives the backends of a container the name that the container has now. Requests in flight keep the one that they
    /// began with.
    pub(super) fn rename_backends(&mut self, id: &ContainerId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let name = Arc::clone(&entry.container.name);
        if let State::Ready(ready) = &mut entry.state
            && ready.backend.name != name
        {
            let renamed = Arc::new(ready.backend.renamed(&name));
            ready.backend = Arc::clone(&renamed);
            let models: Vec<_> = ready.models.iter().map(|model| model.name.clone()).collect();
            for model in models {
                let Some(claims) = self.claims.get_mut(&model) else { continue };
                let mut changed = claims.to_vec();
                let of_it = changed.iter_mut().filter(|claim| claim.backend.registration == renamed.registration);
                of_it.for_each(|claim| claim.backend = Arc::clone(&renamed));
                *claims = changed.into();
            }
        }
        for draining in self.draining.iter_mut().filter(|draining| draining.backend.container == *id) {
            draining.backend = Arc::new(draining.backend.renamed(&name));
        }
    }
}

impl<L> Backend<L> {
    /// The same registration under another name: its gate and its link are shared.
    fn renamed(&self, name: &Arc<str>) -> Self {
        Self {
            registration: self.registration,
            container: self.container.clone(),
            name: Arc::clone(name),
            started_at: self.started_at,
            address: self.address,
            base_path: self.base_path.clone(),
            origin: self.origin.clone(),
            gate: Arc::clone(&self.gate),
            link: Arc::clone(&self.link),
            replica: self.replica.clone(),
        }
    }
}
