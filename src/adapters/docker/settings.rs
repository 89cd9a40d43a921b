//! The address of the engine, and the adapter's timeouts and limits.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::networks::OwnAddress;

/// The socket of the docker command.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const DEFAULT_TCP_PORT: u16 = 2375;
const DEFAULT_TLS_PORT: u16 = 2376;

/// The timeout of one request, from connect to the last byte. The event stream has none.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of the list while the engine answers pings: a host with many containers is slow under load.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an inspection may take before the container counts as not inspected and a snapshot is sent without it. It
/// goes on until [`REQUEST_TIMEOUT`].
pub const INSPECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an inspection is put off after an out-of-memory kill. If that was the container's main process, its end
/// comes a third of a second later.
pub const OUT_OF_MEMORY_REST: Duration = Duration::from_secs(1);
/// The interval of the list. It finds what no event showed, and an engine that hangs.
pub const CHECK_EVERY: Duration = Duration::from_secs(30);
/// The delay of the first list after a snapshot, and the least time between two lists.
pub const SETTLE: Duration = Duration::from_secs(1);
/// The interval of the list on Podman, which shows a stop nowhere else.
pub const PODMAN_CHECK_EVERY: Duration = Duration::from_secs(1);
/// The first backoff after a failure.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest backoff.
pub const RETRY_MAX: Duration = Duration::from_secs(5);
/// How many inspections run at once.
pub const INSPECTS_AT_ONCE: usize = 8;
/// The capacity of the event queue. On overflow every container is inspected.
pub const EVENTS_WAITING: usize = 65_536;

#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// `DOCKER_HOST`: `unix://`, `tcp://`, `http://` or `https://`. Absent: [`DEFAULT_SOCKET`].
    pub host: Option<String>,
    /// `DOCKER_TLS_VERIFY` is set, so `tcp://` means TLS.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`: the folder of `ca.pem`, `cert.pem` and `key.pem`.
    pub cert_path: Option<PathBuf>,
    /// See [`REQUEST_TIMEOUT`].
    pub request_timeout: Duration,
    /// See [`LIST_TIMEOUT`].
    pub list_timeout: Duration,
    /// See [`INSPECT_TIMEOUT`].
    pub inspect_timeout: Duration,
    /// See [`OUT_OF_MEMORY_REST`].
    pub out_of_memory_rest: Duration,
    /// See [`CHECK_EVERY`].
    pub check_every: Duration,
    /// See [`SETTLE`].
    pub settle: Duration,
    /// See [`PODMAN_CHECK_EVERY`].
    pub podman_check_every: Duration,
    /// See [`RETRY_FIRST`].
    pub retry_first: Duration,
    /// See [`RETRY_MAX`].
    pub retry_max: Duration,
    /// See [`INSPECTS_AT_ONCE`].
    pub inspects_at_once: usize,
    /// See [`EVENTS_WAITING`].
    pub events_waiting: usize,
    /// The proxy's addresses, instead of those of this machine's interfaces.
    pub own_addresses: Option<Vec<OwnAddress>>,
    /// The label of the containers to use; absent: all that opt in.
    pub label_filter: Option<LabelFilter>,
    /// The container that the proxy runs in, if any.
    pub own_container: Option<String>,
}

/// A label that a container must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFilter {
    pub key: String,
    pub value: String,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            host: None,
            tls_verify: false,
            cert_path: None,
            request_timeout: REQUEST_TIMEOUT,
            list_timeout: LIST_TIMEOUT,
            inspect_timeout: INSPECT_TIMEOUT,
            out_of_memory_rest: OUT_OF_MEMORY_REST,
            check_every: CHECK_EVERY,
            settle: SETTLE,
            podman_check_every: PODMAN_CHECK_EVERY,
            retry_first: RETRY_FIRST,
            retry_max: RETRY_MAX,
            inspects_at_once: INSPECTS_AT_ONCE,
            events_waiting: EVENTS_WAITING,
            own_addresses: None,
            label_filter: None,
            own_container: None,
        }
    }
}

/// An environment variable with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettingsError {
    pub variable: &'static str,
    pub value: String,
    pub problem: &'static str,
    /// A valid value.
    pub example: &'static str,
}

impl fmt::Display for DockerSettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is \"{}\": {}; for example {}", self.variable, self.value, self.problem, self.example)
    }
}

impl std::error::Error for DockerSettingsError {}

impl DockerSettings {
    /// Reads the variables of the docker command: `DOCKER_HOST`, `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`.
    ///
    /// An empty `DOCKER_HOST` or `DOCKER_TLS_VERIFY` counts as unset, as it does for the docker command.
    pub fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Result<Self, DockerSettingsError> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let settings = Self {
            host: set("DOCKER_HOST"),
            tls_verify: set("DOCKER_TLS_VERIFY").is_some(),
            cert_path: set("DOCKER_CERT_PATH").map(PathBuf::from),
            ..Self::default()
        };
        settings.address()?;
        Ok(settings)
    }

    /// Returns the address in these settings.
    ///
    /// # Errors
    /// `DOCKER_HOST` has an unsupported scheme, or no host.
    pub fn address(&self) -> Result<Address, DockerSettingsError> {
        let Some(host) = self.host.as_deref() else {
            return Ok(Address::Unix(PathBuf::from(DEFAULT_SOCKET)));
        };
        let error = |problem, example| DockerSettingsError {
            variable: "DOCKER_HOST",
            value: host.to_owned(),
            problem,
            example,
        };
        let (scheme, rest) =
            host.split_once("://").ok_or_else(|| error("it has no scheme", "unix:///var/run/docker.sock"))?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
            "unix" => Err(error("the path of the socket must begin with a slash", "unix:///var/run/docker.sock")),
            "tcp" | "http" | "https" => {
                let tls = scheme == "https" || (scheme == "tcp" && self.tls_verify);
                let authority = tcp_authority(rest, if tls { DEFAULT_TLS_PORT } else { DEFAULT_TCP_PORT })
                    .ok_or_else(|| error("it names no host and port", "tcp://docker-proxy:2375"))?;
                Ok(if tls { Address::Tls(authority) } else { Address::Tcp(authority) })
            }
            "ssh" => Err(error("ssh is not spoken here", "unix:///var/run/docker.sock, or a forwarded tcp port")),
            _ => Err(error("its scheme is not one of unix, tcp, http", "tcp://docker-proxy:2375")),
        }
    }
}

/// The address of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// `host:port`, with TLS.
    Tls(String),
}

impl Address {
    /// Returns true if the address is on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(authority) | Self::Tls(authority) => {
                let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
                let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
                host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Tls(authority) => write!(f, "https://{authority}"),
        }
    }
}

/// Parses what follows the scheme into `host:port`, without a slash at the end, and with a default port.
fn tcp_authority(rest: &str, default_port: u16) -> Option<String> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority: http::uri::Authority = rest.parse().ok()?;
    if authority.host().is_empty() || rest.contains('@') {
        return None;
    }
    // An invalid port is not the same as none.
    let port = match rest.strip_prefix(authority.host())? {
        "" => default_port,
        _ => authority.port_u16()?,
    };
    Some(format!("{}:{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Address, DockerSettingsError> {
        let get = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        DockerSettings::from_lookup(get)?.address()
    }

    #[test]
    fn the_address_is_the_one_that_the_docker_command_takes() {
        for (pairs, expected) in [
            (&[][..], "unix:///var/run/docker.sock"),
            (&[("DOCKER_HOST", "")], "unix:///var/run/docker.sock"),
            (&[("DOCKER_HOST", "unix:///run/user/1000/docker.sock")], "unix:///run/user/1000/docker.sock"),
            (&[("DOCKER_HOST", "tcp://proxy:2375")], "tcp://proxy:2375"),
            (&[("DOCKER_HOST", "tcp://proxy")], "tcp://proxy:2375"),
            (&[("DOCKER_HOST", "http://[::1]:99/")], "tcp://[::1]:99"),
            (&[("DOCKER_HOST", "tcp://proxy"), ("DOCKER_TLS_VERIFY", "")], "tcp://proxy:2375"),
            (&[("DOCKER_HOST", "tcp://proxy"), ("DOCKER_TLS_VERIFY", "1")], "https://proxy:2376"),
            (&[("DOCKER_HOST", "https://proxy:99")], "https://proxy:99"),
        ] {
            assert_eq!(read(pairs).unwrap().to_string(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_name_value_and_example() {
        for pairs in [
            &[("DOCKER_HOST", "/var/run/docker.sock")][..],
            &[("DOCKER_HOST", "unix://docker.sock")],
            &[("DOCKER_HOST", "tcp://")],
            &[("DOCKER_HOST", "tcp://user@host:1")],
            &[("DOCKER_HOST", "tcp://host:99999")],
            &[("DOCKER_HOST", "ssh://me@host")],
            &[("DOCKER_HOST", "npipe:////./pipe/docker_engine")],
        ] {
            let text = read(pairs).unwrap_err().to_string();
            assert!(text.contains("DOCKER_HOST is"), "{text}");
            assert!(text.contains(pairs[0].1), "{text}");
            assert!(text.contains("for example"), "{text}");
        }
    }

    #[test]
    fn an_engine_on_this_machine_is_known_by_its_address() {
        for (host, local) in [
            ("unix:///x", true),
            ("tcp://127.0.0.1:2375", true),
            ("tcp://[::1]:2375", true),
            ("tcp://localhost", true),
            ("tcp://10.0.0.1", false),
            ("tcp://proxy", false),
        ] {
            assert_eq!(read(&[("DOCKER_HOST", host)]).unwrap().is_local(), local, "{host}");
        }
    }
}
