//! The way into service: discovery, or a resumption with the models that the same run listed before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::entry::{Discovering, Entry, State, Waiting};
use super::event::{DiscoveryRequest, Transition};
use super::ids::Generation;
use super::{RoutingTable, Transitions};
use crate::container::{Addresses, ContainerId, Reach};
use crate::drain::LeaveReason;

impl<L: Clone> RoutingTable<L> {
    /// Brings a healthy container into service, unless it is in service at one of these addresses already.
    pub(super) fn serve(
        &mut self,
        id: &ContainerId,
        addresses: &Addresses,
        new_run: Option<LeaveReason>,
        now: Instant,
        out: &mut Transitions<L>,
    ) {
        let Some(Entry { container, state, .. }) = self.entries.get(id) else { return };
        let Ok(labels) = &container.labels else { return };
        if let (State::Ready(ready), None) = (state, &new_run)
            && addresses.contains(ready.backend.address.ip())
            && ready.backend.address.port() == labels.port
        {
            return;
        }
        self.leave_service(id, new_run.unwrap_or(LeaveReason::Moved), now, out);
        let order = self.next_sequence();
        self.resume(id, order, now, out);
    }
}

impl<L> RoutingTable<L> {
    /// Resumes service with the models that this run has served before, or discovers them if it has served none.
    pub(super) fn resume(&mut self, id: &ContainerId, order: u64, now: Instant, out: &mut Transitions<L>) {
        let before = out.len();
        self.discover(id, order, now, out);
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.known_of_this_run().is_some()) else { return };
        let (Reach::At(addresses), Some(known)) = (&entry.container.reach, &mut entry.known) else { return };
        // It keeps its address while it still has it.
        if !addresses.contains(known.address.ip()) {
            known.address.set_ip(addresses.first());
        }
        let address = known.address;
        for transition in out.drain(before..).collect::<Vec<_>>() {
            out.push(match transition {
                Transition::Discover(request) => {
                    Transition::Resume(DiscoveryRequest { address, others: Vec::new(), ..request })
                }
                other => other,
            });
        }
    }

    /// Begins the discovery of a container's models.
    pub(super) fn discover(&mut self, id: &ContainerId, order: u64, now: Instant, out: &mut Transitions<L>) {
        let generation = Generation(self.next_sequence());
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (Ok(labels), Reach::At(addresses)) = (&entry.container.labels, &entry.container.reach) else {
            return entry.set(State::Waiting(Waiting::LeftNetwork), now);
        };
        let addresses = match entry.known_of_this_run() {
            Some(known) => addresses.preferring(known.address.ip()),
            None => addresses.clone(),
        };
        let mut all = addresses.iter().map(|ip| SocketAddr::new(ip, labels.port));
        let Some(address) = all.next() else { return };
        out.push(Transition::Discover(DiscoveryRequest {
            container: id.clone(),
            name: Arc::clone(&entry.container.name),
            generation,
            address,
            others: all.collect(),
            base_path: labels.base_path.clone(),
            origin: entry.container.origin.clone(),
        }));
        entry.generation = generation;
        entry.set(State::Discovering(Discovering { order, addresses, failure: None, retry_at: None }), now);
    }
}
