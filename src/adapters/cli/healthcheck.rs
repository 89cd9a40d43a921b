//! The `healthcheck` command, for the `HEALTHCHECK` of an image.

use std::net::{Ipv4Addr, SocketAddr};

use app::settings::Settings;
use clap::{Args, value_parser};

use super::local_client;

/// The server to probe.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ProbeTarget {
    /// Port on this machine; unset: the proxy's own
    #[arg(long, value_parser = value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Path that returns 200 if the server is healthy
    #[arg(long, default_value = "/healthz", value_parser = request_path)]
    pub path: String,
}

/// Probes the server once.
///
/// # Errors
/// The reason why it is not healthy, in one sentence.
pub fn healthcheck(settings: &Settings, target: &ProbeTarget) -> Result<(), String> {
    let address = match target.port {
        Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        None => local_client::proxy_address(settings),
    };
    let path = &target.path;
    match local_client::get(address, path) {
        Err(error) => Err(format!("nothing responds at http://{address}{path}: {error}")),
        Ok(response) if response.has_status(200) => Ok(()),
        Ok(response) => Err(format!("http://{address}{path} is not healthy: {}", response.status_line)),
    }
}

/// Accepts a path that needs no escaping in a request line.
fn request_path(text: &str) -> Result<String, &'static str> {
    match text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("it must begin with / and contain no spaces"),
    }
}
