//! The events that a session sends.

use std::sync::Arc;

use domain::container::{ContainerEvent, ContainerId, EngineTime, LifecycleEvent, LostAddresses, Uninspected};

use super::{End, Session};
use crate::adapters::docker::engine::EngineError;
use crate::adapters::docker::event::{EngineEvent, Network};

impl Session<'_> {
    /// Sends what an event means to the containers that use the network of its container.
    pub(super) async fn report_to_guests(&mut self, event: &EngineEvent) -> Result<(), End> {
        let EngineEvent { id, at, lifecycle, network, .. } = event;
        for guest in self.cache.guests_of(id) {
            let lost = match (network, lifecycle) {
                (Network::Same, _) => return Ok(()),
                (Network::NewRun, _) => Some(LostAddresses::All),
                (Network::Changed(name), Some(_)) => Some(self.cache.lost_with(&guest, name)),
                (Network::Changed(_), None) => None,
            };
            if let Some(lost) = lost {
                self.inspections.invalidate(&guest);
                self.send_lifecycle(guest.clone(), *at, LifecycleEvent::LeftNetwork(lost)).await?;
                self.invalidate_snapshot_of(&guest, *at);
            }
            self.inspections.request(&guest, true);
        }
        Ok(())
    }

    pub(super) fn uninspected(&self, id: &ContainerId, why: Arc<str>) -> Uninspected {
        let known = self.cache.known.get(id).map(|known| Arc::clone(&known.last_sent.name));
        let name = known.or_else(|| self.listed.get(id).map(|listed| Arc::clone(&listed.name)));
        Uninspected { id: id.clone(), name: name.unwrap_or_else(|| Arc::from(id.short())), why }
    }

    /// Sends the signals that came before the container was known, as far as they still count.
    pub(super) async fn send_signals(&mut self, id: &ContainerId) -> Result<(), End> {
        let Some(known) = self.cache.known.get(id) else { return Ok(()) };
        for (at, signal) in self.cache.signals.take(&known.last_sent, self.cache.latest) {
            self.send_lifecycle(id.clone(), at, LifecycleEvent::Signal(signal)).await?;
        }
        Ok(())
    }

    /// Sends a loss, once for each reason.
    pub(super) async fn send_lost(&mut self, error: &EngineError) -> Result<(), End> {
        match self.cache.loss(error.reason(self.address)) {
            Some(loss) => self.send(loss).await,
            None => Ok(()),
        }
    }

    pub(super) async fn send_lifecycle(
        &self,
        id: ContainerId,
        at: EngineTime,
        lifecycle: LifecycleEvent,
    ) -> Result<(), End> {
        self.send(ContainerEvent::Lifecycle { id, at, event: lifecycle }).await
    }

    pub(super) async fn send(&self, event: ContainerEvent) -> Result<(), End> {
        self.out.send(event).await.map_err(|_| End::Unwatched)
    }
}
