//! Listens to a container source, and waits for what is expected with a bound.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use domain::container::{Condition, Container, ContainerEvent, ContainerId, LifecycleEvent};
use futures_util::StreamExt;
use ports::container_source::ContainerEvents;

/// How long anything that must come is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A listener, with all that it heard.
pub struct Heard {
    events: ContainerEvents,
    pub all: Vec<ContainerEvent>,
}

impl Heard {
    pub fn new(events: ContainerEvents) -> Self {
        Self { events, all: Vec::new() }
    }

    /// The next item.
    pub async fn next(&mut self) -> ContainerEvent {
        match tokio::time::timeout(PATIENCE, self.events.next()).await {
            Ok(Some(event)) => {
                self.all.push(event.clone());
                event
            }
            Ok(None) => panic!("the stream ended after {:#?}", self.all),
            Err(_) => panic!("nothing came any more after {:#?}", self.all),
        }
    }

    /// Whether nothing comes for this long.
    pub async fn silent_for(&mut self, time: Duration) -> Result<(), ContainerEvent> {
        match tokio::time::timeout(time, self.events.next()).await {
            Err(_) => Ok(()),
            Ok(event) => Err(event.expect("the stream goes on")),
        }
    }

    /// Waits for an item that passes the test, over others.
    pub async fn until(&mut self, mut wanted: impl FnMut(&ContainerEvent) -> bool) -> ContainerEvent {
        loop {
            let event = self.next().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    /// The next item, which must be a snapshot.
    pub async fn snapshot(&mut self) -> BTreeMap<ContainerId, Container> {
        match self.next().await {
            ContainerEvent::Snapshot(all) => all.containers.into_iter().map(|c| (c.id.clone(), c)).collect(),
            other => panic!("not a snapshot: {other:?}"),
        }
    }

    /// Waits for a snapshot, over others.
    pub async fn until_snapshot(&mut self) -> BTreeMap<ContainerId, Container> {
        match self.until(|event| matches!(event, ContainerEvent::Snapshot(_))).await {
            ContainerEvent::Snapshot(all) => all.containers.into_iter().map(|c| (c.id.clone(), c)).collect(),
            _ => unreachable!(),
        }
    }

    /// Waits for a loss, and gives its reason.
    pub async fn until_lost(&mut self) -> String {
        match self.until(|event| matches!(event, ContainerEvent::Disconnected(_))).await {
            ContainerEvent::Disconnected(reason) => reason,
            _ => unreachable!(),
        }
    }

    /// Waits for an edge of this container.
    pub async fn until_edge(&mut self, id: &ContainerId) -> LifecycleEvent {
        match self.until(|event| matches!(event, ContainerEvent::Lifecycle { id: of, .. } if of == id)).await {
            ContainerEvent::Lifecycle { event: edge, .. } => edge,
            _ => unreachable!(),
        }
    }

    /// Waits for a look at this container.
    pub async fn until_observed(&mut self, id: &ContainerId) -> Container {
        match self.until(|event| matches!(event, ContainerEvent::Inspected(c) if c.id == *id)).await {
            ContainerEvent::Inspected(container) => container,
            _ => unreachable!(),
        }
    }

    /// Waits for a look at this container that shows this condition.
    pub async fn until_condition(&mut self, id: &ContainerId, condition: Condition) -> Container {
        match self
            .until(|event| matches!(event, ContainerEvent::Inspected(c) if c.id == *id && c.condition == condition))
            .await
        {
            ContainerEvent::Inspected(container) => container,
            _ => unreachable!(),
        }
    }

    /// What was heard of this container, in short words, in order.
    pub fn story(&self, id: &ContainerId) -> Vec<String> {
        self.all
            .iter()
            .filter_map(|event| match event {
                ContainerEvent::Lifecycle { id: of, event: edge, .. } if of == id => Some(format!("{edge:?}")),
                ContainerEvent::Inspected(c) if c.id == *id => Some(format!("{:?}", c.condition)),
                _ => None,
            })
            .collect()
    }
}

/// What a listener that applies every item believes: the conditions of the containers that are there.
#[derive(Debug, Default)]
pub struct Belief(pub BTreeMap<ContainerId, Option<Condition>>);

impl Belief {
    pub fn take(&mut self, event: &ContainerEvent) {
        match event {
            ContainerEvent::Snapshot(all) => {
                let known = all.uninspected.iter().filter_map(|one| Some((one.id.clone(), *self.0.get(&one.id)?)));
                let known: Vec<_> = known.collect();
                self.0 = all.containers.iter().map(|c| (c.id.clone(), Some(c.condition))).chain(known).collect();
            }
            ContainerEvent::Inspected(c) => _ = self.0.insert(c.id.clone(), Some(c.condition)),
            ContainerEvent::Lifecycle { id, event: LifecycleEvent::Removed, .. } => _ = self.0.remove(id),
            ContainerEvent::Lifecycle {
                id,
                event: LifecycleEvent::Ended { .. } | LifecycleEvent::Unhealthy | LifecycleEvent::Paused,
                ..
            } => {
                if let Some(condition) = self.0.get_mut(id) {
                    *condition = None;
                }
            }
            ContainerEvent::Lifecycle { .. }
            | ContainerEvent::InspectionFailed(_)
            | ContainerEvent::Disconnected(_) => {}
        }
    }
}
