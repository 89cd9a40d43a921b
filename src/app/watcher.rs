//! The loop that keeps the routing table: its only writer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use domain::container::ContainerId;
use domain::gate::Closed;
use domain::table::{DiscoveryRequest, Generation, SourceId, TableEvent, Transition};
use futures_util::StreamExt;
use ports::container_source::ContainerSource;
use ports::telemetry::Telemetry;
use ports::upstream::UpstreamClient;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Table;
use super::activity::ActivityBook;
use super::discovery::Discovery;
use super::link::Link;
use super::route_store::RouteStore;
use super::transition_log::TransitionLog;

/// How many events one version of the table takes in.
const BATCH: usize = 256;

/// Everything that the loop works with.
pub struct Watcher {
    routes: Arc<RouteStore>,
    queue: mpsc::Receiver<TableEvent<Link>>,
    sources: Vec<Arc<dyn ContainerSource>>,
    source_states: Vec<SourceState>,
    discovery: Discovery,
    asking: HashMap<ContainerId, AbortHandle>,
    refreshing: HashMap<ContainerId, Refreshing>,
    journal: TransitionLog,
    drained: Arc<Notify>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A backend in service that is being asked for its models again.
struct Refreshing {
    generation: Generation,
    task: AbortHandle,
}

/// What is known of a source since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceState {
    Pending,
    Disconnected,
    Synced,
}

impl Watcher {
    /// A loop over these sources. It ends, with every task that it started, when `stop` is cancelled.
    pub fn new(
        routes: Arc<RouteStore>,
        queue: mpsc::Receiver<TableEvent<Link>>,
        sources: Vec<Arc<dyn ContainerSource>>,
        upstream: Arc<dyn UpstreamClient>,
        telemetry: Arc<dyn Telemetry>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let drained = Arc::new(Notify::new());
        Self {
            discovery: Discovery::new(upstream, routes.events().clone(), Arc::clone(&drained)),
            source_states: vec![SourceState::Pending; sources.len()],
            asking: HashMap::new(),
            refreshing: HashMap::new(),
            journal: TransitionLog::new(telemetry),
            routes,
            queue,
            sources,
            drained,
            tasks,
            stop,
        }
    }

    /// The same, with what is in flight noted there.
    #[must_use]
    pub fn with_activity(mut self, activity: Arc<ActivityBook>) -> Self {
        self.discovery = self.discovery.with_activity(activity);
        self
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self) {
        self.watch_sources();
        let stop = self.stop.clone();
        let mut batch = Vec::with_capacity(BATCH);
        while stop.run_until_cancelled(self.next_batch(&mut batch)).await.is_some() {
            self.take_in(&mut batch);
        }
        self.asking.drain().for_each(|(_, task)| task.abort());
        self.refreshing.drain().for_each(|(_, refreshing)| refreshing.task.abort());
    }

    /// Hands what each source reports to the queue, in order.
    fn watch_sources(&self) {
        for (number, source) in self.sources.iter().enumerate() {
            let id = SourceId(u8::try_from(number).unwrap_or(u8::MAX));
            let (mut reports, events) = (source.watch(), self.routes.events().clone());
            let forward = async move {
                while let Some(event) = reports.next().await {
                    if events.send(TableEvent::Source(id, event)).await.is_err() {
                        return;
                    }
                }
            };
            let stop = self.stop.clone();
            self.tasks.spawn(async move { stop.run_until_cancelled(forward).await });
        }
    }

    /// Waits until there is something to take in: events, the time for something, or the end of a drain.
    async fn next_batch(&mut self, batch: &mut Vec<TableEvent<Link>>) {
        let wake = self.routes.load().table.next_wake();
        let time = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.queue.recv_many(batch, BATCH) => {}
            () = self.drained.notified() => {}
            () = time => {}
        }
    }

    /// One new version of the table, published before anything is done about it.
    fn take_in(&mut self, batch: &mut Vec<TableEvent<Link>>) {
        let now = tokio::time::Instant::now().into_std();
        let published = self.routes.load();
        let mut table: Table = published.table.clone();
        drop(published);
        batch.extend(finished_drains(&table));
        if table.next_wake().is_some_and(|at| at <= now) {
            batch.push(TableEvent::Tick);
        }
        let mut transitions = Vec::new();
        let mut events: VecDeque<_> = batch.drain(..).collect();
        while let Some(event) = events.pop_front() {
            let (next, follows) = table.apply(event, now);
            table = next;
            for transition in follows {
                match transition {
                    // In this same version, so that no request falls into a gap.
                    Transition::Resume(question) => events.push_front(self.discovery.resume(question)),
                    other => transitions.push(other),
                }
            }
        }
        let (active, settled) = (table.active(), table.is_settled());
        self.routes.publish(table);
        self.journal.contested(&transitions);
        for transition in transitions {
            self.perform(transition);
        }
        self.journal.active(active);
        if settled && !self.routes.has_settled() && self.has_synced() {
            self.routes.settled();
        }
    }

    fn perform(&mut self, transition: Transition<Link>) {
        self.journal.note(&transition, &self.sources);
        match transition {
            Transition::Discover(question) => {
                let container = question.container.clone();
                let task = self.tasks.spawn(self.discovery.clone().discover(question));
                if let Some(before) = self.asking.insert(container, task.abort_handle()) {
                    before.abort();
                }
                self.asking.retain(|_, task| !task.is_finished());
            }
            Transition::RefreshModels(question) => self.refresh(question),
            Transition::Abandon(container) => {
                if let Some(task) = self.asking.remove(&container) {
                    task.abort();
                }
            }
            Transition::RefreshContainer(source, container) => {
                if let Some(source) = self.sources.get(usize::from(source.0)) {
                    source.refresh(&container);
                }
            }
            Transition::LeftService { backend, .. } => {
                if let Some(refreshing) = self.refreshing.remove(&backend.container) {
                    refreshing.task.abort();
                }
                backend.link.channel().retire();
                match backend.gate.close() {
                    Closed::Empty => self.drained.notify_one(),
                    // Those for which there is no connection yet may go elsewhere.
                    Closed::InFlight(_) => backend.link.look(),
                    Closed::Already => {}
                }
            }
            Transition::FailWaiting(backend) => backend.link.fail_waiting(),
            Transition::ForceClose(backend) => {
                let cut = backend.link.cut();
                self.journal.cut(&backend, cut);
            }
            Transition::SourceDisconnected(source, reason) => {
                self.set_source_state(source, SourceState::Disconnected, Some(&reason))
            }
            Transition::SourceSynced(source, _) => self.set_source_state(source, SourceState::Synced, None),
            Transition::Resume(_)
            | Transition::Registered(..)
            | Transition::ModelsChanged { .. }
            | Transition::ListsAgain { .. }
            | Transition::Removed { .. }
            | Transition::Collision { .. }
            | Transition::TookOver { .. }
            | Transition::RunEnded { .. }
            | Transition::Warn { .. } => {}
        }
    }

    /// Asks once. A question that still waits for a moment in which it does no harm is not asked twice.
    fn refresh(&mut self, question: DiscoveryRequest) {
        self.refreshing.retain(|_, refreshing| !refreshing.task.is_finished());
        let (container, generation) = (question.container.clone(), question.generation);
        if self.refreshing.get(&container).is_some_and(|waits| waits.generation == generation) {
            return;
        }
        let task = self.tasks.spawn(self.discovery.clone().refresh(question)).abort_handle();
        if let Some(before) = self.refreshing.insert(container, Refreshing { generation, task }) {
            before.task.abort();
        }
    }

    fn set_source_state(&mut self, source: SourceId, state: SourceState, lost: Option<&str>) {
        if let Some(source) = self.sources.get(usize::from(source.0)) {
            self.routes.note_source(source.name(), lost);
        }
        if let Some(known) = self.source_states.get_mut(usize::from(source.0))
            && *known != SourceState::Synced
        {
            *known = state;
        }
    }

    /// Whether one source was seen and none is still to be heard of: an engine that is away does not keep backends of
    /// another source from being served.
    fn has_synced(&self) -> bool {
        self.source_states.contains(&SourceState::Synced) && !self.source_states.contains(&SourceState::Pending)
    }
}

/// The retired backends whose last request has left. Looked up rather than sent, so that no end can be lost.
fn finished_drains(table: &Table) -> Vec<TableEvent<Link>> {
    let empty = |gate: &domain::gate::Gate| gate.is_closed() && gate.in_flight() == 0;
    table
        .draining()
        .iter()
        .filter(|draining| empty(&draining.backend.gate))
        .map(|draining| TableEvent::DrainFinished(draining.backend.registration))
        .collect()
}

/// The present moment, which tests may stop.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
