//! The events that the table takes in, and the transitions that follow.
#![allow(missing_docs, reason = "most fields are named after their types")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ids::{Generation, SourceId};
use super::warning::Warning;
use crate::backend::{Backend, OfferedModel, Registration};
use crate::backend_url::Origin;
use crate::container::{ContainerEvent, ContainerId, RunEnd};
use crate::drain::{Drain, LeaveReason};
use crate::labels::BasePath;
use crate::model_name::ModelName;

/// An event that the table takes in.
#[expect(clippy::large_enum_variant, reason = "most events are the large one, and none lives long")]
#[derive(Debug)]
pub enum TableEvent<L> {
    /// A container source reported something.
    Source(SourceId, ContainerEvent),
    /// A backend listed its models.
    Discovered {
        container: ContainerId,
        generation: Generation,
        /// The address that responded.
        address: SocketAddr,
        /// The listed models: id and description, unchanged.
        models: Vec<(String, Arc<str>)>,
        /// The application's link to the backend.
        link: L,
    },
    /// The link to a backend that resumes service with the models it listed before; see [`Transition::Resume`].
    Resumed {
        container: ContainerId,
        generation: Generation,
        /// The application's link to the backend.
        link: L,
    },
    /// A backend in service listed its models again.
    Refreshed {
        container: ContainerId,
        generation: Generation,
        /// The listed models: id and description, unchanged.
        models: Vec<(String, Arc<str>)>,
    },
    /// A backend did not list its models.
    DiscoveryFailed {
        container: ContainerId,
        generation: Generation,
        /// The cause, in words.
        failure: Arc<str>,
        /// Whether the backend seems gone, rather than busy or faulty.
        unreachable: bool,
    },
    /// The last request of a draining backend ended.
    DrainFinished(Registration),
    /// A request could not reach a backend, or the connection broke before a response.
    Ejected {
        registration: Registration,
        /// The cause, in words.
        why: String,
    },
    /// Time has passed; see [`super::RoutingTable::next_wake`].
    Tick,
}

/// A consequence of an event. The application performs transitions in order, after it has published the table.
#[derive(Debug)]
pub enum Transition<L> {
    /// List the models of this container, and retry until it responds or a later transition supersedes this one.
    Discover(DiscoveryRequest),
    /// Open the link to this backend and apply [`TableEvent::Resumed`] before publishing: the same run is back and
    /// serves the models that it listed before.
    Resume(DiscoveryRequest),
    /// List the models of this backend once.
    RefreshModels(DiscoveryRequest),
    /// Stop discovering this container.
    Abandon(ContainerId),
    /// Have the source inspect this container.
    RefreshContainer(SourceId, ContainerId),
    /// A backend entered service with these models.
    Registered(Arc<Backend<L>>, Arc<[OfferedModel]>),
    /// The models of a backend in service changed.
    ModelsChanged {
        backend: Arc<Backend<L>>,
        /// The models that are new in its list.
        added: Vec<ModelName>,
        /// The models that its list no longer has.
        removed: Vec<ModelName>,
    },
    /// A backend in service lists its models again.
    ListsAgain {
        backend: Arc<Backend<L>>,
        /// How long its list had failed.
        after: Duration,
    },
    /// A backend left service: close its gate. The drain says what becomes of its requests in flight.
    LeftService {
        backend: Arc<Backend<L>>,
        models: Arc<[ModelName]>,
        /// Why it left.
        reason: LeaveReason,
        drain: Drain,
    },
    /// Fail the requests that wait for a byte of this dead backend.
    FailWaiting(Arc<Backend<L>>),
    /// Close every request in flight of this backend: its drain timeout is reached.
    ForceClose(Arc<Backend<L>>),
    /// The last request of a draining backend ended.
    Removed {
        backend: Arc<Backend<L>>,
        models: Arc<[ModelName]>,
        reason: LeaveReason,
        /// How long the drain took.
        after: Duration,
    },
    /// Two backends claim one model.
    Collision {
        model: ModelName,
        /// The backend that serves it.
        winner: Arc<Backend<L>>,
        /// The backend that takes over if the winner leaves.
        displaced: Arc<Backend<L>>,
    },
    /// A displaced backend serves a model again.
    TookOver { model: ModelName, backend: Arc<Backend<L>> },
    /// A run of a container ended. Emitted once for each run whose end is seen.
    RunEnded {
        container: ContainerId,
        name: Arc<str>,
        end: RunEnd,
        /// How often the restart policy had restarted the container by then.
        restarts: u64,
        /// Whether the run failed by itself, in a container that this proxy serves.
        crashed: bool,
    },
    /// A warning about a container. Emitted once per change.
    Warn { container: ContainerId, name: Arc<str>, warning: Warning },
    /// A source is disconnected, for this reason.
    SourceDisconnected(SourceId, String),
    /// A source synced: its snapshot has this many containers.
    SourceSynced(SourceId, usize),
}

/// A request for the list of a container's models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryRequest {
    pub container: ContainerId,
    /// The container's name, for logs.
    pub name: Arc<str>,
    pub generation: Generation,
    /// The address to connect to.
    pub address: SocketAddr,
    /// Further addresses, in order, for when no connection is accepted there.
    pub others: Vec<SocketAddr>,
    pub base_path: BasePath,
    /// The scheme and authority, if the backend is named by a URL.
    pub origin: Option<Arc<Origin>>,
}
