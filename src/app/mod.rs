//! What runs the proxy: the loop that keeps the routing table, the use case that carries a request, and the drains.

pub mod activity;
pub mod cancel;
pub mod discovery;
pub mod lease;
pub mod leased_body;
pub mod link;
mod original;
pub mod proxy;
mod proxy_error;
pub mod replay;
mod replicas;
pub mod request_tracker;
pub mod route_store;
pub mod settings;
pub mod shutdown;
pub mod status;
pub mod target;
pub mod transition_log;
pub mod watcher;

use domain::table::RoutingTable;

/// The routing table as the application uses it.
pub type Table = RoutingTable<link::Link>;
/// A backend as the application uses it.
pub type Backend = domain::backend::Backend<link::Link>;
