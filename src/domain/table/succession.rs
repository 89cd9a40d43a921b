//! Containers that take the place of others of the same name, and containers that get another name.

use std::sync::Arc;

use super::entry::{Ended, Entry, State};
use super::{Claim, RoutingTable};
use crate::backend::Backend;
use crate::container::ContainerId;

impl<L: Clone> RoutingTable<L> {
    /// Renames a container.
    pub(super) fn renamed(&mut self, id: &ContainerId, name: Arc<str>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        Arc::make_mut(&mut entry.container).name = name;
        self.name_changed(id);
    }

    /// Follows the new name of a container.
    pub(super) fn name_changed(&mut self, id: &ContainerId) {
        self.rename_backends(id);
        self.inherit(id);
        self.succeed(id);
    }

    /// Gives the backends of a container its present name. Requests in flight keep the name that they began with.
    fn rename_backends(&mut self, id: &ContainerId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let name = Arc::clone(&entry.container.name);
        let renamed = |backend: &Backend<L>| Arc::new(Backend { name: Arc::clone(&name), ..backend.clone() });
        if let State::Ready(ready) = &mut entry.state
            && ready.backend.name != name
        {
            let renamed = renamed(&ready.backend);
            ready.backend = Arc::clone(&renamed);
            let of_it = |claim: &&mut Claim<L>| claim.backend.registration == renamed.registration;
            for model in ready.models.iter() {
                let Some(claims) = self.claims.get_mut(&model.name) else { continue };
                Arc::make_mut(claims).iter_mut().filter(of_it).for_each(|claim| claim.backend = Arc::clone(&renamed));
            }
        }
        for draining in self.draining.iter_mut().filter(|draining| draining.backend.container == *id) {
            draining.backend = renamed(&draining.backend);
        }
    }
}

impl<L> RoutingTable<L> {
    /// Lets a container that has served nothing yet inherit what is expected of its name: a recreated container is the
    /// same service to its clients. Compose creates it under another name and renames it only when the old one is gone,
    /// so a new name counts like a new container.
    pub(super) fn inherit(&mut self, id: &ContainerId) {
        let Some(heir) = self.entries.get(id).filter(|entry| entry.served.is_empty()) else { return };
        let ended_before = |entry: &&Entry<L>| {
            matches!(entry.state, State::Ended(_))
                && entry.source == heir.source
                && entry.container.name == heir.container.name
                && !entry.served.is_empty()
        };
        if let Some(served) = self.entries.values().find(ended_before).map(|entry| Arc::clone(&entry.served)) {
            self.remember(id, served);
        }
    }

    /// Ends what is expected of the container that had this one's name before, once this one is in service: its own
    /// list settles which models there are.
    pub(super) fn succeed(&mut self, id: &ContainerId) {
        let Some(Entry { state: State::Ready(_), source, container, .. }) = self.entries.get(id) else { return };
        let replaced = |entry: &Entry<L>| {
            matches!(entry.state, State::Ended(Ended { expected_until: Some(_), .. }))
                && entry.source == *source
                && entry.container.name == container.name
        };
        let before: Vec<_> = self.entries.iter().filter(|(_, e)| replaced(e)).map(|(id, _)| id.clone()).collect();
        for id in before {
            self.forget(&id);
            let Some(Entry { state: State::Ended(ended), .. }) = self.entries.get_mut(&id) else { continue };
            ended.expected_until = None;
            if ended.removed {
                self.entries.remove(&id);
            }
        }
    }

    /// Removes a container from the table.
    pub(super) fn forget_container(&mut self, id: &ContainerId) {
        self.forget(id);
        self.entries.remove(id);
    }
}
