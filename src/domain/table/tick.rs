//! What is due when time has passed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Entry, State};
use super::event::{DiscoveryRequest, Transition};
use super::{RoutingTable, Transitions};
use crate::container::ContainerId;

/// How often a container that still runs after its stop signal is inspected.
const RECHECK_EVERY: Duration = Duration::from_secs(30);

impl<L> RoutingTable<L> {
    /// Returns the next moment at which a [`super::TableEvent::Tick`] has an effect.
    pub fn next_wake(&self) -> Option<Instant> {
        let entries = self.entries.values().filter_map(Entry::due_at);
        let draining =
            self.draining.iter().flat_map(|draining| [draining.fail_waiting_at, draining.force_close_at]).flatten();
        entries.chain(draining).min()
    }

    /// Does everything that is due.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Transitions<L>) {
        self.tick_drains(now, out);
        let is_due = |entry: &Entry<L>| entry.due_at().is_some_and(|at| at <= now);
        let due: Vec<_> = self.entries.iter().filter(|(_, e)| is_due(e)).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.tick_entry(&id, now, out);
        }
    }

    fn tick_entry(&mut self, id: &ContainerId, now: Instant, out: &mut Transitions<L>) {
        let refresh_every = self.rules.refresh_every;
        let Some(entry) = self.entries.get_mut(id) else { return };
        match &mut entry.state {
            State::Ready(ready) => {
                ready.refresh_at = now + refresh_every;
                out.push(Transition::RefreshModels(DiscoveryRequest {
                    container: id.clone(),
                    name: Arc::clone(&ready.backend.name),
                    generation: entry.generation,
                    address: ready.backend.address,
                    others: Vec::new(),
                    base_path: ready.backend.base_path.clone(),
                    origin: ready.backend.origin.clone(),
                }));
            }
            State::Stopping(stopping) => {
                let next = now + RECHECK_EVERY;
                stopping.recheck_at = if now < stopping.readmit_at { next.min(stopping.readmit_at) } else { next };
                out.push(Transition::RefreshContainer(entry.source, id.clone()));
            }
            State::Ended(ended) => {
                ended.expected_until = None;
                if ended.removed {
                    self.forget_container(id);
                }
            }
            State::Discovering(discovering) => {
                let order = discovering.order;
                self.discover(id, order, now, out);
            }
            State::Waiting(_) => self.warn_starts_long(id, out),
        }
    }
}

impl<L> Entry<L> {
    /// Returns when something is due, if anything is.
    fn due_at(&self) -> Option<Instant> {
        match &self.state {
            State::Ready(ready) => Some(ready.refresh_at),
            State::Stopping(stopping) => Some(stopping.recheck_at),
            State::Ended(ended) => ended.expected_until,
            State::Discovering(discovering) => discovering.retry_at,
            State::Waiting(_) => self.warn_of_health_at(),
        }
    }
}
