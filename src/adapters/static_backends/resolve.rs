//! Name resolution.

use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

/// A resolver of host names.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Returns the addresses of a name in the resolver's order, or the address itself.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver: the hosts file and DNS.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect())
    }
}
