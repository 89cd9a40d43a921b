//! What runs the proxy: the loop that keeps the routing table, the use case that carries a request, and the drains.

pub mod activity;
pub mod answer;
pub mod discovery;
pub mod exchange;
pub mod interrupt;
pub mod journal;
pub mod lease;
pub mod link;
pub mod proxy;
pub mod settings;
pub mod shared;
pub mod status;
pub mod stop;
pub mod target;
pub mod watch;

use domain::table::RoutingTable;

/// The routing table as the application uses it.
pub type Table = RoutingTable<link::Link>;
/// A backend as the application uses it.
pub type Backend = domain::backend::Backend<link::Link>;
