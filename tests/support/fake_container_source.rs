//! A container source that says what a test has it say.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use domain::container::{Container, ContainerEvent, ContainerId, EngineTime, LifecycleEvent};
use futures_core::Stream;
use ports::container_source::{ContainerEvents, ContainerSource};
use testkit::container::ContainerBuilder;
use tokio::sync::mpsc;

/// A container that runs, is healthy, and is reached on the loopback interface.
pub fn container(id: &str) -> Container {
    ContainerBuilder::new(id).build()
}

#[derive(Default)]
struct Inner {
    containers: BTreeMap<ContainerId, Container>,
    watches: Vec<mpsc::UnboundedSender<ContainerEvent>>,
    away: Option<String>,
    asked: Vec<ContainerId>,
    clock: u64,
}

/// The source. Clones are the same source.
///
/// It keeps the contract by itself: change containers with [`put`](Self::put) and [`remove`](Self::remove), tell edges
/// with [`edge`](Self::edge), be lost and found with [`lose`](Self::lose) and [`find`](Self::find).
/// [`say`](Self::say) sends any item, right or wrong.
#[derive(Clone, Default)]
pub struct FakeContainerSource {
    inner: Arc<Mutex<Inner>>,
}

impl FakeContainerSource {
    /// A source that is there and has these containers.
    pub fn with(containers: impl IntoIterator<Item = Container>) -> Self {
        let source = Self::default();
        source.inner.lock().unwrap().containers = containers.into_iter().map(|c| (c.id.clone(), c)).collect();
        source
    }

    /// Sends an item to everybody who watches.
    pub fn say(&self, event: ContainerEvent) {
        self.inner.lock().unwrap().say(event);
    }

    /// A container is there, or is different now, and was looked at.
    pub fn put(&self, container: Container) {
        let mut inner = self.inner.lock().unwrap();
        inner.containers.insert(container.id.clone(), container.clone());
        if inner.away.is_none() {
            inner.say(ContainerEvent::Inspected(container));
        }
    }

    /// Something happened to a container.
    pub fn edge(&self, id: &ContainerId, edge: LifecycleEvent) {
        let mut inner = self.inner.lock().unwrap();
        if inner.away.is_none() {
            let at = inner.tick();
            inner.say(ContainerEvent::Lifecycle { id: id.clone(), at, event: edge });
        }
    }

    /// A container is gone.
    pub fn remove(&self, id: &ContainerId) {
        self.inner.lock().unwrap().containers.remove(id);
        self.edge(id, LifecycleEvent::Removed);
    }

    /// The source is lost.
    pub fn lose(&self, reason: &str) {
        let mut inner = self.inner.lock().unwrap();
        inner.away = Some(reason.to_owned());
        inner.say(ContainerEvent::Disconnected(reason.to_owned()));
    }

    /// The source is back.
    pub fn find(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.away = None;
        let snapshot = inner.snapshot();
        inner.say(snapshot);
    }

    /// A time later than every one before.
    pub fn now(&self) -> EngineTime {
        self.inner.lock().unwrap().tick()
    }

    /// Whom a fresh look was asked for, in order.
    pub fn asked(&self) -> Vec<ContainerId> {
        self.inner.lock().unwrap().asked.clone()
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        let mut inner = self.inner.lock().unwrap();
        inner.watches.retain(|watch| !watch.is_closed());
        inner.watches.len()
    }
}

impl Inner {
    fn say(&mut self, event: ContainerEvent) {
        self.watches.retain(|watch| watch.send(event.clone()).is_ok());
    }

    fn snapshot(&self) -> ContainerEvent {
        ContainerEvent::Snapshot(self.containers.values().cloned().collect::<Vec<_>>().into())
    }

    fn tick(&mut self) -> EngineTime {
        self.clock = self.clock.max(1_000) + 1;
        EngineTime(self.clock)
    }
}

impl ContainerSource for FakeContainerSource {
    fn name(&self) -> &str {
        "fake"
    }

    fn watch(&self) -> ContainerEvents {
        let mut inner = self.inner.lock().unwrap();
        let (watch, items) = mpsc::unbounded_channel();
        let first = match &inner.away {
            Some(reason) => ContainerEvent::Disconnected(reason.clone()),
            None => inner.snapshot(),
        };
        watch.send(first).unwrap();
        inner.watches.push(watch);
        Box::pin(Items(items))
    }

    fn refresh(&self, id: &ContainerId) {
        let mut inner = self.inner.lock().unwrap();
        inner.asked.push(id.clone());
        if inner.away.is_some() {
            return;
        }
        match inner.containers.get(id).cloned() {
            Some(container) => inner.say(ContainerEvent::Inspected(container)),
            None => {
                let at = inner.tick();
                inner.say(ContainerEvent::Lifecycle { id: id.clone(), at, event: LifecycleEvent::Removed });
            }
        }
    }
}

struct Items(mpsc::UnboundedReceiver<ContainerEvent>);

impl Stream for Items {
    type Item = ContainerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
