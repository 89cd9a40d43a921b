//! What the writer of the table and the carriers of requests share.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use domain::backend::Registration;
use domain::balance::{Policy, mix};
use domain::model_name::ModelName;
use domain::table::TableEvent;
use tokio::sync::{Notify, mpsc};

use super::Table;
use super::link::Link;
use super::replicas::Clock;
use super::status::{Phase, Report, SourceLine, Standing, report};
use super::watcher::now;

/// How many events may wait for the writer. Sources wait for room; a suspicion that finds none is dropped, because
/// the next request will have it again.
const EVENT_QUEUE: usize = 4096;

/// The most models that a refusal names.
const MODELS_NAMED: usize = 20;

/// One published version of the table.
#[derive(Debug)]
pub struct RouteSnapshot {
    /// The table.
    pub table: Table,
    /// The list of models as the http side answers it, made when it is first asked for.
    pub models_response: OnceLock<Bytes>,
    /// What a refusal names of it, made when the first unknown model is asked for.
    first_names: OnceLock<(Vec<ModelName>, usize)>,
    /// How many containers may still turn out to serve a model.
    starting: OnceLock<usize>,
    /// The models for which there is no room.
    left_out: OnceLock<HashSet<ModelName>>,
}

impl RouteSnapshot {
    pub(super) fn new(table: Table) -> Self {
        Self {
            table,
            models_response: OnceLock::new(),
            first_names: OnceLock::new(),
            starting: OnceLock::new(),
            left_out: OnceLock::new(),
        }
    }

    /// The first names of what is served, sorted, and how many more there are.
    pub(super) fn first_names(&self) -> &(Vec<ModelName>, usize) {
        self.first_names.get_or_init(|| self.table.first_names(MODELS_NAMED))
    }

    /// How many containers may still turn out to serve a model.
    pub(super) fn starting(&self) -> usize {
        *self.starting.get_or_init(|| self.table.starting())
    }

    /// Returns true if a server lists this model and there is no room for it.
    pub(super) fn is_left_out(&self, model: &str) -> bool {
        self.left_out.get_or_init(|| self.table.left_out().cloned().collect()).contains(model)
    }
}

/// The present table and the way to its writer.
#[derive(Debug)]
pub struct RouteStore {
    published: ArcSwap<RouteSnapshot>,
    events: mpsc::Sender<TableEvent<Link>>,
    has_replicas: AtomicBool,
    has_affinity: AtomicBool,
    ready: AtomicBool,
    now_ready: Notify,
    stopping: AtomicBool,
    sources: ArcSwap<Vec<SourceLine>>,
    pub(super) clock: Clock,
    chances: AtomicU64,
}

impl RouteStore {
    /// Begins with this table. The receiver is the writer's.
    pub fn new(table: Table) -> (Arc<Self>, mpsc::Receiver<TableEvent<Link>>) {
        let (events, queue) = mpsc::channel(EVENT_QUEUE);
        let routes = Self {
            published: ArcSwap::from_pointee(RouteSnapshot::new(table)),
            events,
            has_replicas: AtomicBool::new(false),
            has_affinity: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            now_ready: Notify::new(),
            stopping: AtomicBool::new(false),
            sources: ArcSwap::default(),
            clock: Clock::start(),
            chances: AtomicU64::new(RandomState::new().build_hasher().finish()),
        };
        (Arc::new(routes), queue)
    }

    /// The present version. A request decides by one version, and takes another only if that one refused it.
    pub fn load(&self) -> Guard<Arc<RouteSnapshot>> {
        self.published.load()
    }

    /// A number by chance.
    pub(super) fn chance(&self) -> u64 {
        mix(self.chances.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns by which policy backends are chosen, the one that needs more of a request if there are several; `None` if
    /// no model has more than one backend to choose from.
    pub fn choice(&self) -> Option<Policy> {
        if !self.has_replicas.load(Ordering::Relaxed) {
            return None;
        }
        Some(if self.has_affinity.load(Ordering::Relaxed) { Policy::PrefixAffinity } else { Policy::LeastRequests })
    }

    pub(super) fn publish(&self, table: Table) {
        let choice = table.choice();
        self.has_affinity.store(choice == Some(Policy::PrefixAffinity), Ordering::Relaxed);
        self.has_replicas.store(choice.is_some(), Ordering::Relaxed);
        self.published.store(Arc::new(RouteSnapshot::new(table)));
    }

    pub(super) fn events(&self) -> &mpsc::Sender<TableEvent<Link>> {
        &self.events
    }

    /// Reports that a backend did not take a request.
    pub(super) fn eject(&self, registration: Registration, why: String) {
        // A full queue means that the writer has much to learn already; the next failure tells it again.
        let _ = self.events.try_send(TableEvent::Ejected { registration, why });
    }

    /// Whether the containers that there are have been listed and asked.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// Whether the containers were listed once; stays so while the proxy stops.
    pub fn has_settled(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Waits until the containers were listed once.
    pub(super) async fn until_settled(&self) {
        let told = self.now_ready.notified();
        if !self.has_settled() {
            told.await;
        }
    }

    pub(super) fn settled(&self) {
        self.ready.store(true, Ordering::Release);
        self.now_ready.notify_waiters();
    }

    /// What is known of a source now: that it is lost, for this reason, or that it is seen.
    pub(super) fn note_source(&self, name: &str, lost: Option<&str>) {
        let mut sources = Vec::clone(&self.sources.load());
        sources.retain(|source| source.name != name);
        sources.push(SourceLine { name: name.to_owned(), lost: lost.map(str::to_owned) });
        self.sources.store(Arc::new(sources));
    }

    /// How the proxy stands now, in words.
    pub fn report(&self) -> Report {
        let phase = match (self.is_stopping(), self.has_settled()) {
            (true, _) => Phase::Stopping,
            (false, true) => Phase::Ready,
            (false, false) => Phase::Starting,
        };
        let now_millis = self.clock.millis(now());
        let standing = Standing { phase, sources: Vec::clone(&self.sources.load()), now_millis };
        report(&self.load().table, standing, now())
    }

    /// Whether the proxy has been told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The proxy was told to stop: not ready from here on.
    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}
