//! What happens to the table, and what follows from it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::entry::SourceId;
use crate::backend::{Backend, OfferedModel, Registration};
use crate::backend_url::Origin;
use crate::container::{ContainerEvent, ContainerId, RunEnd};
use crate::drain::{Drain, LeaveReason};
use crate::labels::BasePath;
use crate::model_name::ModelName;

/// Tells the jobs for one container apart: an answer to an earlier one is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

/// What happens.
#[derive(Debug)]
pub enum TableEvent<L> {
    /// A container source reports.
    Source(SourceId, ContainerEvent),
    /// A backend answered with its models, and this is the way to it.
    Discovered {
        /// Which container was asked.
        container: ContainerId,
        /// For which generation.
        generation: Generation,
        /// The address at which it answered.
        address: SocketAddr,
        /// What it listed: id and description, as they came.
        models: Vec<(String, Arc<str>)>,
        /// The application's way to it.
        link: L,
    },
    /// The way to a backend that is taken back with the models it listed before, see [`Transition::Resume`].
    Resumed {
        /// Which container.
        container: ContainerId,
        /// For which generation.
        generation: Generation,
        /// The application's way to it.
        link: L,
    },
    /// A backend in service answered with its models anew.
    Refreshed {
        /// Which container was asked.
        container: ContainerId,
        /// For which generation.
        generation: Generation,
        /// What it listed.
        models: Vec<(String, Arc<str>)>,
    },
    /// A backend did not answer with its models.
    DiscoveryFailed {
        /// Which container was asked.
        container: ContainerId,
        /// For which generation.
        generation: Generation,
        /// Why, in words.
        failure: Arc<str>,
        /// Whether it seems gone rather than busy or at fault.
        looks_dead: bool,
    },
    /// The last request of a retired backend ended.
    DrainFinished(Registration),
    /// A request could not reach a backend, or its connection broke before an answer.
    Ejected {
        /// Which one.
        registration: Registration,
        /// What happened, in words.
        why: String,
    },
    /// Time has passed; see [`super::RoutingTable::next_wake`].
    Tick,
}

/// What follows. The application performs these in order, after the table was published.
#[derive(Debug)]
pub enum Transition<L> {
    /// Ask this container for its models, again and again until it answers or a later transition says otherwise.
    Discover(DiscoveryRequest),
    /// Open the way to this backend and answer with [`TableEvent::Resumed`], before the next version is published: the
    /// same run is back, and serves what it listed before.
    Resume(DiscoveryRequest),
    /// Ask this backend for its models once.
    RefreshModels(DiscoveryRequest),
    /// Stop asking this container.
    Abandon(ContainerId),
    /// Have the source look at this container.
    RefreshContainer(SourceId, ContainerId),
    /// A backend came into service with these models.
    Registered(Arc<Backend<L>>, Arc<[OfferedModel]>),
    /// The models of a backend in service changed.
    ModelsChanged {
        /// The backend.
        backend: Arc<Backend<L>>,
        /// What it lists now and did not before.
        added: Vec<ModelName>,
        /// What it listed before.
        removed: Vec<ModelName>,
    },
    /// A backend in service lists its models again, after this time.
    ListsAgain {
        /// The backend.
        backend: Arc<Backend<L>>,
        /// How long it did not.
        after: Duration,
    },
    /// Close the gate of a backend; its requests in flight go on as the drain says.
    LeftService {
        /// The backend.
        backend: Arc<Backend<L>>,
        /// Its models.
        models: Arc<[ModelName]>,
        /// Why.
        reason: LeaveReason,
        /// How.
        drain: Drain,
    },
    /// End the requests that wait for a byte of this dead backend.
    FailWaiting(Arc<Backend<L>>),
    /// Cut every request in flight of this backend: its drain deadline has come.
    ForceClose(Arc<Backend<L>>),
    /// A retired backend's last request ended.
    Removed {
        /// The backend.
        backend: Arc<Backend<L>>,
        /// The models that it served.
        models: Arc<[ModelName]>,
        /// Why it had gone.
        reason: LeaveReason,
        /// How long the drain took.
        after: Duration,
    },
    /// Two backends claim one model.
    Collision {
        /// The model.
        model: ModelName,
        /// Who serves it.
        winner: Arc<Backend<L>>,
        /// Who would, if the winner went.
        displaced: Arc<Backend<L>>,
    },
    /// A backend that was displaced serves a model again.
    TookOver {
        /// The model.
        model: ModelName,
        /// Who serves it now.
        backend: Arc<Backend<L>>,
    },
    /// A run of a container ended. Told once for each run that is seen to end.
    RunEnded {
        /// Its id.
        container: ContainerId,
        /// Its name.
        name: Arc<str>,
        /// How.
        end: RunEnd,
        /// How often its restart policy had started it by then.
        restarts: u64,
        /// Whether it ended by a fault of its own, and is ours to look after.
        crashed: bool,
    },
    /// Something the operator should know of a container. Told once per change.
    Warn {
        /// Its id.
        container: ContainerId,
        /// Its name.
        name: Arc<str>,
        /// What.
        warning: Warning,
    },
    /// A source lost its containers from sight.
    SourceLost(SourceId, String),
    /// A source showed all its containers.
    SourceSeen(SourceId, usize),
}

/// A question for models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryRequest {
    /// Whom.
    pub container: ContainerId,
    /// The container's name, for logs.
    pub name: Arc<str>,
    /// For which generation.
    pub generation: Generation,
    /// Where.
    pub address: SocketAddr,
    /// Where else, in order, if no connection is taken there.
    pub others: Vec<SocketAddr>,
    /// Under which prefix.
    pub base_path: BasePath,
    /// How the server is spoken to, where a URL says so.
    pub origin: Option<Arc<Origin>>,
}

/// What keeps a container, or a part of it, out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// It has no health check.
    NoHealthcheck,
    /// A label cannot be read; the whole sentence.
    BadLabel(String),
    /// There is no way to it; the whole sentence.
    NoAddress(String),
    /// There is no way to it, and it is another Compose project's; the whole sentence. Nobody need do anything.
    OtherProject(String),
    /// Its health check has not passed since it was started; the whole sentence.
    NotHealthy(String),
    /// Its models could not be discovered; why.
    DiscoveryFailed(Arc<str>),
    /// It serves, but its models could not be listed again; why.
    NotRefreshed(Arc<str>),
    /// An id that it lists is no name for a model; why.
    BadModelName(String),
    /// It lists more models than one backend may have; how many are left out.
    TooManyModels(usize),
    /// The table is full.
    TableFull,
    /// It ignored its stop signal and is taken back.
    TakenBack,
    /// The source cannot inspect it; why.
    Uninspected(Arc<str>),
}

impl Warning {
    /// Whether it is about what a backend lists, rather than about what keeps it out of service.
    pub(super) fn is_of_the_list(&self) -> bool {
        match self {
            Self::BadModelName(_) | Self::TooManyModels(_) => true,
            Self::NoHealthcheck
            | Self::BadLabel(_)
            | Self::NoAddress(_)
            | Self::OtherProject(_)
            | Self::NotHealthy(_)
            | Self::DiscoveryFailed(_)
            | Self::NotRefreshed(_)
            | Self::TableFull
            | Self::TakenBack
            | Self::Uninspected(_) => false,
        }
    }

    /// Whether it holds for the whole life of a container: labels and health checks never change.
    pub(super) fn is_for_life(&self) -> bool {
        match self {
            Self::NoHealthcheck | Self::BadLabel(_) | Self::OtherProject(_) => true,
            Self::NoAddress(_)
            | Self::NotHealthy(_)
            | Self::DiscoveryFailed(_)
            | Self::NotRefreshed(_)
            | Self::BadModelName(_)
            | Self::TooManyModels(_)
            | Self::TableFull
            | Self::TakenBack
            | Self::Uninspected(_) => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHealthcheck => f.write_str(
                "it has no HEALTHCHECK and is left out; add one to its image or to its Compose service, such as: \
                 healthcheck: {test: [\"CMD\", \"curl\", \"-f\", \"http://localhost:8000/health\"], interval: 5s}",
            ),
            Self::BadLabel(error) => write!(f, "it is left out: {error}"),
            Self::NoAddress(why) => write!(f, "it is left out: {why}"),
            Self::OtherProject(why) => write!(f, "it is left alone: {why}"),
            Self::NotHealthy(why) => f.write_str(why),
            Self::DiscoveryFailed(why) => write!(f, "its models are not known yet, it is asked again: {why}"),
            Self::NotRefreshed(why) => {
                write!(f, "its models could not be listed again; what it listed before is served: {why}")
            }
            Self::BadModelName(why) => write!(f, "it lists an id that cannot be used as a model's name: {why}"),
            Self::TooManyModels(over) => write!(f, "it lists too many models; {over} of them are left out"),
            Self::TableFull => f.write_str("the routing table is full; what is over is left out"),
            Self::Uninspected(why) => write!(f, "it cannot be inspected, trying again: {why}"),
            Self::TakenBack => f.write_str(
                "it was told to stop some time ago, still runs and is healthy: it is taken back into service",
            ),
        }
    }
}
