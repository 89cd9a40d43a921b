//! What a session reports.

use std::sync::Arc;

use domain::container::{ContainerEvent, ContainerId, EngineTime, LifecycleEvent, LostAddresses, Uninspected};

use super::{End, Session};
use crate::adapters::docker::engine::EngineError;
use crate::adapters::docker::event::{EngineEvent, Network};

impl Session<'_> {
    /// Those that use the network of a container are concerned by what becomes of that.
    pub(super) async fn tell_guests(&mut self, happening: &EngineEvent) -> Result<(), End> {
        let EngineEvent { id, at, edge, network, .. } = happening;
        for guest in self.cache.guests_of(id) {
            let lost = match (network, edge) {
                (Network::Same, _) => return Ok(()),
                (Network::NewRun, _) => Some(LostAddresses::All),
                (Network::Changed(name), Some(_)) => Some(self.cache.lost_with(&guest, name)),
                (Network::Changed(_), None) => None,
            };
            if let Some(lost) = lost {
                self.inspections.outdate(&guest);
                self.tell_edge(guest.clone(), *at, LifecycleEvent::LeftNetwork(lost)).await?;
                self.happened_during_snapshot(&guest, *at);
            }
            self.inspections.want(&guest, true);
        }
        Ok(())
    }

    pub(super) fn uninspected(&self, id: &ContainerId, why: Arc<str>) -> Uninspected {
        let known = self.cache.known.get(id).map(|known| Arc::clone(&known.told.name));
        let name = known.or_else(|| self.listed.get(id).map(|listed| Arc::clone(&listed.name)));
        Uninspected { id: id.clone(), name: name.unwrap_or_else(|| Arc::from(id.short())), why }
    }

    /// Sends the signals that came before the container was known and still mean something.
    pub(super) async fn tell_signals(&mut self, id: &ContainerId) -> Result<(), End> {
        let Some(known) = self.cache.known.get(id) else { return Ok(()) };
        for (at, signal) in self.cache.signals.take(&known.told, self.cache.latest) {
            self.tell_edge(id.clone(), at, LifecycleEvent::Signal(signal)).await?;
        }
        Ok(())
    }

    /// Reports a loss, once per reason.
    pub(super) async fn tell_lost(&mut self, error: &EngineError) -> Result<(), End> {
        match self.cache.loss(error.reason(self.address)) {
            Some(loss) => self.tell(loss).await,
            None => Ok(()),
        }
    }

    pub(super) async fn tell_edge(&self, id: ContainerId, at: EngineTime, edge: LifecycleEvent) -> Result<(), End> {
        self.tell(ContainerEvent::Lifecycle { id, at, edge }).await
    }

    pub(super) async fn tell(&self, event: ContainerEvent) -> Result<(), End> {
        self.out.send(event).await.map_err(|_| End::Unwatched)
    }
}
