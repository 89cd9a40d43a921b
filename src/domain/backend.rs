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

/// The number of a registration, unique in the process and growing.
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
/// Its identity is a container, a run of it, and a registration; never an address. A container that returns is a new
/// backend, with a new gate and a new link. `L` is the application's link to the server, which is opaque to the domain.
#[derive(Debug, Clone)]
pub struct Backend<L> {
    /// The registration.
    pub registration: Registration,
    /// The container.
    pub container: ContainerId,
    /// The container's name.
    pub name: Arc<str>,
    /// The run of the container.
    pub started_at: EngineTime,
    /// The address that its server listens on.
    pub address: SocketAddr,
    /// The prefix of its API.
    pub base_path: BasePath,
    /// The scheme and authority, if the backend is named by a URL. `None`: plain HTTP, with the `Host` that clients
    /// send.
    pub origin: Option<Arc<Origin>>,
    /// The gate that counts its requests in flight.
    pub gate: Arc<Gate>,
    /// The application's link to it.
    pub link: Arc<L>,
    /// Its place among the replicas of its models.
    pub replica: Replica,
}

impl<L> Backend<L> {
    /// Returns the scheme of its URL.
    pub fn scheme(&self) -> &'static str {
        self.origin.as_ref().map_or("http", |origin| origin.scheme())
    }
}
