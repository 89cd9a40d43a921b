//! The activity of servers: their requests in flight, as the proxy sees them.

use std::net::SocketAddr;

use async_trait::async_trait;

/// The requests in flight at one address, of all backends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// The number of requests in flight.
    pub in_flight: usize,
    /// A number that changes whenever one of them receives bytes.
    pub progress: u64,
}

impl Activity {
    /// Returns true if a request in flight has received bytes since `earlier`: then the server is alive.
    pub fn is_progress_since(&self, earlier: &Self) -> bool {
        self.in_flight > 0 && self.progress != earlier.progress
    }
}

/// The activity of the servers. Listing the models of a busy server may interrupt it: some servers generate on one
/// thread, and stop when another request comes.
#[async_trait]
pub trait ServerActivity: Send + Sync {
    /// Returns the activity at this address.
    fn at(&self, address: SocketAddr) -> Activity;

    /// Waits until no request is in flight at this address, or none has received a byte for so long that a probe is
    /// due.
    async fn until_idle(&self, address: SocketAddr);
}

/// The activity of servers that are always idle.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoActivity;

#[async_trait]
impl ServerActivity for NoActivity {
    fn at(&self, _: SocketAddr) -> Activity {
        Activity::default()
    }

    async fn until_idle(&self, _: SocketAddr) {}
}
