//! The base URL of a static backend.

use std::fmt;
use std::sync::Arc;

use super::labels::BasePath;

/// The ports of URLs that name none.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// The longest name of a host, in bytes (RFC 1035, section 2.3.4).
const HOST_MAX_BYTES: usize = 253;
/// The longest URL, in bytes.
const URL_MAX_BYTES: usize = 1024;

/// A base URL as OpenAI clients have it, such as `http://localhost:8080/v1`: a host, a port, and the prefix of the API.
///
/// If it has no path, or `/` alone, the prefix is `/v1`, as it is for containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackendUrl {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// A DNS name in lower case, or an address; an IPv6 address without its brackets.
    pub host: Arc<str>,
    /// The port; if the URL names none, 80, or 443 with TLS.
    pub port: u16,
    /// The prefix of the API.
    pub base_path: BasePath,
}

/// The scheme and authority of a base URL, whatever the address of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The `Host` that a client of the URL sends: without the port if that is the default of the scheme.
    pub authority: Arc<str>,
    /// With TLS, the name or the address that the certificate has to match.
    pub tls: Option<Arc<str>>,
}

impl Origin {
    /// Returns the scheme of the URL.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// The reason why a text is not a base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendUrlError {
    /// It begins with neither `http://` nor `https://`.
    Scheme,
    /// It carries a user name or a password.
    Credentials,
    /// It names no host, or an invalid one.
    Host,
    /// Its port is not a number from 1 to 65535.
    Port,
    /// Its path cannot be the prefix of an API: it has a query, a fragment, a dot segment or an escape.
    Path,
    /// It is too long.
    TooLong,
}

impl BackendUrlError {
    /// Returns what a valid URL looks like.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Scheme => "a URL that begins with http:// or https://",
            Self::Credentials => "a URL without a user name or password",
            Self::Host => "a URL with a host name or an address",
            Self::Port => "a URL with a port from 1 to 65535, or none for 80 (443 with https)",
            Self::Path => "a URL whose path is plain, such as /v1, without a query",
            Self::TooLong => "a URL of at most 1024 bytes",
        }
    }
}

impl fmt::Display for BackendUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it must be {}", self.expected())
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, base_path } = self;
        let scheme = if *tls { "https" } else { "http" };
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}{}", base_path.as_str()),
            false => write!(f, "{scheme}://{host}:{port}{}", base_path.as_str()),
        }
    }
}

impl BackendUrl {
    /// Returns its scheme and authority.
    pub fn origin(&self) -> Origin {
        let Self { tls, host, port, .. } = self;
        let name = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        let authority = if *port == default_port(*tls) { name } else { format!("{name}:{port}") };
        Origin { authority: authority.into(), tls: tls.then(|| Arc::clone(host)) }
    }

    /// Parses a base URL.
    ///
    /// # Errors
    /// Returns the first fault.
    pub fn parse(text: &str) -> Result<Self, BackendUrlError> {
        if text.len() > URL_MAX_BYTES {
            return Err(BackendUrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BackendUrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(BackendUrlError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BackendUrlError::Credentials);
        }
        let (host, port) = host_and_port(authority, default_port(tls))?;
        let base_path = match path {
            "" | "/" => BasePath::default(),
            path => BasePath::parse(path).ok_or(BackendUrlError::Path)?,
        };
        Ok(Self { tls, host, port, base_path })
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { HTTPS_PORT } else { HTTP_PORT }
}

fn host_and_port(authority: &str, default_port: u16) -> Result<(Arc<str>, u16), BackendUrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']').ok_or(BackendUrlError::Host)?;
            let address: std::net::Ipv6Addr = address.parse().map_err(|_| BackendUrlError::Host)?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or(BackendUrlError::Port)?),
            };
            (address.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p)));
            let sane = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if host.is_empty() || host.len() > HOST_MAX_BYTES || !host.bytes().all(sane) {
                return Err(BackendUrlError::Host);
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = match port {
        None => default_port,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or(BackendUrlError::Port)?
        }
        Some(_) => return Err(BackendUrlError::Port),
    };
    Ok((Arc::from(host), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_what_a_client_of_the_url_sends() {
        for (text, expected) in [
            ("http://Box.example:8080/v1", "box.example:8080"),
            ("http://box.example:80/v1", "box.example"),
            ("http://10.0.0.2", "10.0.0.2"),
            ("http://[fd00::2]:8000", "[fd00::2]:8000"),
            ("https://box.example/v1", "box.example"),
            ("https://Box.example:443", "box.example"),
            ("https://box.example:80", "box.example:80"),
        ] {
            let origin = BackendUrl::parse(text).map(|url| url.origin());
            let tls = text.starts_with("https").then(|| Arc::from("box.example"));
            assert_eq!(origin, Ok(Origin { authority: Arc::from(expected), tls }), "{text}");
        }
    }

    #[test]
    fn urls_are_read_as_openai_clients_have_them() {
        for (text, expected) in [
            ("http://localhost:8080/v1", "http://localhost:8080/v1"),
            ("http://localhost:8080/v1/", "http://localhost:8080/v1"),
            ("http://Host.Docker.Internal:11434/v1", "http://host.docker.internal:11434/v1"),
            ("HTTP://desktop/v1", "http://desktop:80/v1"),
            ("http://desktop", "http://desktop:80/v1"),
            ("http://desktop:8000/", "http://desktop:8000/v1"),
            ("http://10.0.0.7:8000/api/openai/v1", "http://10.0.0.7:8000/api/openai/v1"),
            ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
            ("http://[FD00:0::1]", "http://[fd00::1]:80/v1"),
            ("http://my_box:1", "http://my_box:1/v1"),
            ("https://api.example.com/v1", "https://api.example.com:443/v1"),
        ] {
            assert_eq!(BackendUrl::parse(text).map(|url| url.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_for_what_is_wrong() {
        let long = format!("http://{}/v1", "a".repeat(300));
        let longer = format!("http://a/{}", "a".repeat(2000));
        for (text, expected) in [
            ("ftp://api.example.com/v1", BackendUrlError::Scheme),
            ("localhost:8080", BackendUrlError::Scheme),
            ("unix:///run/x.sock", BackendUrlError::Scheme),
            ("", BackendUrlError::Scheme),
            ("http://user:secret@host/v1", BackendUrlError::Credentials),
            ("http://", BackendUrlError::Host),
            ("http://:8080/v1", BackendUrlError::Host),
            ("http://ho st/v1", BackendUrlError::Host),
            ("http://ho\nst/v1", BackendUrlError::Host),
            ("http://[::1/v1", BackendUrlError::Host),
            ("http://[nonsense]/v1", BackendUrlError::Host),
            (long.as_str(), BackendUrlError::Host),
            ("http://host:/v1", BackendUrlError::Port),
            ("http://host:0/v1", BackendUrlError::Port),
            ("http://host:+80/v1", BackendUrlError::Port),
            ("http://host:65536/v1", BackendUrlError::Port),
            ("http://::1:8000/v1", BackendUrlError::Host),
            ("http://[::1]8000", BackendUrlError::Port),
            ("http://host/../v1", BackendUrlError::Path),
            ("http://host?x=1", BackendUrlError::Path),
            ("http://host/v1#x", BackendUrlError::Path),
            (longer.as_str(), BackendUrlError::TooLong),
        ] {
            assert_eq!(BackendUrl::parse(text), Err(expected), "{text:?}");
        }
    }
}
