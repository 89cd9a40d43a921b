//! Asks a running server whether it is well; for the `HEALTHCHECK` of an image.

use std::net::{Ipv4Addr, SocketAddr};

use app::settings::Settings;

use super::ask;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    /// The port on this machine; where it is unset, the proxy's own.
    pub port: Option<u16>,
    /// The path that answers 200 where all is well.
    pub path: String,
}

/// Asks once.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn healthcheck(settings: &Settings, target: &ProbeTarget) -> Result<(), String> {
    let address = match target.port {
        Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        None => ask::proxy(settings),
    };
    let path = &target.path;
    match ask::get(address, path) {
        Err(error) => Err(format!("nothing answers at http://{address}{path}: {error}")),
        Ok(answer) if answer.is(200) => Ok(()),
        Ok(answer) => Err(format!("http://{address}{path} is not well: {}", answer.status_line)),
    }
}
