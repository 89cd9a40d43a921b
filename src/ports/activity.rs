//! What the requests in flight say of the server that works on them.

use std::net::SocketAddr;

use async_trait::async_trait;

/// The requests in flight at one server, of all backends at its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// How many there are.
    pub in_flight: usize,
    /// Another number whenever one of them has received bytes since the last look.
    pub progress: u64,
}

impl Activity {
    /// Returns true if a request in flight has received bytes since `earlier`: then the server lives.
    pub fn is_progress_since(&self, earlier: &Self) -> bool {
        self.in_flight > 0 && self.progress != earlier.progress
    }
}

/// Tells whether servers are at work on requests of the proxy. Asking a server that is may end what it generates: some
/// generate on one thread, and stop when another request wants the model.
#[async_trait]
pub trait ServerActivity: Send + Sync {
    /// The requests in flight at this address now.
    fn at(&self, address: SocketAddr) -> Activity;

    /// Waits until nothing is in flight at this address, or nothing has come from it for so long that it has to be asked.
    async fn until_askable(&self, address: SocketAddr);
}

/// No request is ever in flight.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoActivity;

#[async_trait]
impl ServerActivity for NoActivity {
    fn at(&self, _: SocketAddr) -> Activity {
        Activity::default()
    }

    async fn until_askable(&self, _: SocketAddr) {}
}
