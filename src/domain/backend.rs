//! A backend: one registration of one container's inference server.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::backend_url::Origin;
use super::container::{ContainerId, EngineTime};
use super::gate::Gate;
use super::labels::BasePath;
use super::model_name::ModelName;
use super::pool::Replica;

/// The number of a registration, unique for the life of the process and growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registration(pub u64);

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A model that a backend lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedModel {
    /// The name that routes to it.
    pub name: ModelName,
    /// The backend's own description: a JSON object, kept as it was written.
    pub object: Arc<str>,
}

/// One registration of a container as a backend.
///
/// It is a container, a start of it, and a registration; never an address. Whatever returns is a new backend, with a new
/// gate and a new link. `L` is what the application needs to reach it; the domain never looks inside.
#[derive(Debug)]
pub struct Backend<L> {
    /// Which registration this is.
    pub registration: Registration,
    /// The container.
    pub container: ContainerId,
    /// The container's name.
    pub name: Arc<str>,
    /// The run of the container.
    pub started_at: EngineTime,
    /// Where its server listens.
    pub address: SocketAddr,
    /// The prefix of its API.
    pub base_path: BasePath,
    /// How it is spoken to, where a URL says so. `None`: plain HTTP, with the `Host` that clients send.
    pub origin: Option<Arc<Origin>>,
    /// Counts its requests in flight.
    pub gate: Arc<Gate>,
    /// The application's way to it.
    pub link: Arc<L>,
    /// Its place among the replicas of its models.
    pub replica: Replica,
}

impl<L> Backend<L> {
    /// The scheme of its URL.
    pub fn scheme(&self) -> &'static str {
        self.origin.as_ref().map_or("http", |origin| origin.scheme())
    }
}
