//! The five requests to the engine, and their errors.
//!
//! bollard sends them; [`super::api_types`] reads the responses. Bodies are never logged: an inspection holds the
//! container's environment.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use bytes::{Bytes, BytesMut};
use domain::container::EngineTime;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::api_types::{Inspect, Summary, Version};
use super::settings::{Address, DockerSettings, LabelFilter};
use super::time::{http_date, since};
use super::transport::{ConnectFailed, HeadSlot, Transport};
use super::{event, inspect};
use crate::adapters::shared::printable::printable;

/// The longest response. A list of a thousand containers has about two million bytes.
const RESPONSE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// bollard's timeout for the head of any response. The proxy's own are shorter, but Podman 5.2 sends the head of the
/// event stream only with the first event.
const BOLLARD_TIMEOUT_SECONDS: u64 = 365 * 24 * 60 * 60;
/// The timeout of past signals, for which the first snapshot waits.
const PAST_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest text of an error, in characters.
const ERROR_CHARS: usize = 200;
const ID_MAX_CHARS: usize = 128;

/// Everything but the unreserved characters of RFC 3986.
const QUERY_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a request to the engine failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("connect failed: {1}")]
    Connect(io::ErrorKind, String),
    /// The response was not complete in time.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The status, and the engine's message.
    #[error("refused with {0}: {1}")]
    Refused(u16, String),
    #[error("connection broke: {0}")]
    Broken(String),
    /// The response is not one of an engine.
    #[error("unexpected response: {0}")]
    UnexpectedResponse(String),
    #[error("the event stream ended")]
    EventsEnded,
}

impl EngineError {
    /// Returns the reason and what to do, for the operator.
    pub fn reason(&self, address: &Address) -> String {
        match (self, address) {
            (Self::Connect(kind, text), Address::Unix(path)) => {
                let path = path.display();
                match kind {
                    io::ErrorKind::NotFound => format!(
                        "there is no socket at {path}: start the engine, mount its socket there, or set DOCKER_HOST"
                    ),
                    io::ErrorKind::PermissionDenied => format!(
                        "no permission to open {path}: give the proxy the group that owns the socket (in Compose: \
                         group_add, with the number that `stat -c %g {path}` prints on the host)"
                    ),
                    io::ErrorKind::ConnectionRefused => format!(
                        "nothing listens on the socket {path}: the engine is down, or it has made a new socket file \
                         since this one was mounted; if it is up, restart the proxy, and mount the socket's folder in \
                         place of the file, or use a socket proxy"
                    ),
                    _ => format!("cannot connect to the socket {path}: {text}"),
                }
            }
            (Self::Connect(_, text), Address::Tcp(host) | Address::Tls(host)) => {
                format!("cannot connect to the engine at {host}: {text}; check DOCKER_HOST and that the engine is up")
            }
            (Self::Timeout(limit), _) => format!("the engine at {address} did not answer within {limit:?}"),
            (Self::Refused(403, text), _) => format!(
                "{address} refused with 403 ({text}): a socket proxy must allow GET on /_ping, /version, /events, \
                 /containers/json and /containers/<id>/json"
            ),
            (Self::Refused(status, text), _) => format!("the engine at {address} refused with {status}: {text}"),
            (Self::Broken(text), _) => format!("the connection to {address} broke: {text}"),
            (Self::UnexpectedResponse(text), _) => {
                format!(
                    "{address} does not answer as an engine does: {text}; check that DOCKER_HOST names a Docker engine"
                )
            }
            (Self::EventsEnded, _) => format!("the engine at {address} ended the event stream; it may be restarting"),
        }
    }

    /// Returns true if the engine as a whole is unreachable, rather than one response wrong.
    pub fn is_connect_failure(&self) -> bool {
        matches!(self, Self::Connect(..))
    }
}

/// The engine's response to a ping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ping {
    /// The engine's clock, in whole seconds, rounded down.
    pub date: Option<EngineTime>,
    pub podman: bool,
}

/// A client of one engine. Clones share it.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    timeout: Duration,
    list_timeout: Duration,
    only: Option<Arc<LabelFilter>>,
}

impl Engine {
    /// Creates a client. Nothing is sent yet.
    pub fn new(address: Address, tls: Option<TlsConnector>, settings: &DockerSettings) -> Result<Self, EngineError> {
        let transport = Transport::new(address, tls);
        let docker = Docker::connect_with_custom_transport(
            move |request| transport.clone().send(request),
            Some("http://docker"),
            BOLLARD_TIMEOUT_SECONDS,
            API_DEFAULT_VERSION,
        )
        .map_err(read_error)?;
        let (timeout, list_timeout) = (settings.request_timeout, settings.list_timeout);
        Ok(Self { docker, timeout, list_timeout, only: settings.label_filter.clone().map(Arc::new) })
    }

    /// Sends `GET /_ping`. An engine that refuses it may still answer the other requests.
    pub async fn ping(&self) -> Result<Ping, EngineError> {
        let (slot, head) = head_slot();
        match self.fetch("/_ping".to_owned(), slot, self.timeout).await {
            Ok(_) | Err(EngineError::Refused(..)) => {}
            Err(error) => return Err(error),
        }
        let head = head.borrow();
        let header = |name: &str| head.as_ref().and_then(|head| head.get(name)).and_then(|value| value.to_str().ok());
        Ok(Ping {
            date: header("date").and_then(http_date),
            podman: header("libpod-api-version").is_some() || header("server").is_some_and(|s| s.starts_with("Libpod")),
        })
    }

    /// Sends `GET /version`.
    pub async fn version(&self) -> Result<Version, EngineError> {
        self.fetch_json("/version".to_owned(), self.timeout).await
    }

    /// Sends `GET /containers/json`, and returns the containers that are selected, running or not. A response that is
    /// no list is an error, never an empty list.
    pub async fn list(&self) -> Result<Vec<Summary>, EngineError> {
        let only = self.only.as_deref();
        let target = target("/containers/json", &[("all", "1"), ("filters", &event::list_filter(only))]);
        let mut list: Vec<Summary> = self.fetch_json(target, self.list_timeout).await?;
        list.retain(|summary| summary.labels.as_ref().is_none_or(|labels| inspect::is_selected(labels, only)));
        Ok(list)
    }

    /// Sends `GET /containers/{id}/json`. Returns `None` if there is no such container.
    pub async fn inspect(&self, id: &str) -> Result<Option<Inspect>, EngineError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if id.is_empty() || id.len() > ID_MAX_CHARS || !id.chars().all(plain) || id.starts_with('.') {
            return Ok(None);
        }
        match self.fetch_json(format!("/containers/{id}/json"), self.timeout).await {
            Ok(inspect) => Ok(Some(inspect)),
            Err(EngineError::Refused(404, _)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends `GET /events`, replayed from `from` on as far as the engine remembers. The receiver gets the head of the
    /// response.
    pub fn events(
        &self,
        from: Option<EngineTime>,
    ) -> (impl Stream<Item = Result<Bytes, EngineError>> + Send + use<>, watch::Receiver<Option<HeaderMap>>) {
        let filter = event::filter();
        let from = from.map(since);
        let mut query = vec![("filters", filter.as_str())];
        query.extend(from.as_deref().map(|from| ("since", from)));
        let (slot, head) = head_slot();
        (self.stream(target("/events", &query), slot), head)
    }

    /// Sends `GET /events` for a period in the past, and returns the signals that the engine remembers, one line each.
    pub async fn past_signals(&self, from: EngineTime, until: EngineTime) -> Result<Bytes, EngineError> {
        let (from, until) = (since(from), since(until));
        let query = [("filters", event::signals_filter()), ("since", from), ("until", until)];
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.fetch(target("/events", &query), head_slot().0, PAST_TIMEOUT.min(self.timeout)).await
    }

    async fn fetch_json<T: DeserializeOwned>(&self, target: String, timeout: Duration) -> Result<T, EngineError> {
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let body = self.fetch(target, head_slot().0, timeout).await?;
        // The error itself may quote a value, such as a secret.
        serde_json::from_slice(&body).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "JSON of another shape",
                _ => "no JSON",
            };
            EngineError::UnexpectedResponse(format!("GET {path} returned {what}", path = generic(&path)))
        })
    }

    async fn fetch(&self, target: String, slot: HeadSlot, timeout: Duration) -> Result<Bytes, EngineError> {
        let collect = async {
            let mut stream = std::pin::pin!(self.stream(target, slot));
            let mut body = BytesMut::new();
            while let Some(chunk) = stream.next().await {
                body.extend_from_slice(&chunk?);
                if body.len() > RESPONSE_MAX_BYTES {
                    return Err(EngineError::UnexpectedResponse(format!("more than {RESPONSE_MAX_BYTES} bytes")));
                }
            }
            Ok(body.freeze())
        };
        tokio::time::timeout(timeout, collect).await.unwrap_or(Err(EngineError::Timeout(timeout)))
    }

    /// Sends `GET target` through bollard, and returns the raw body.
    ///
    /// bollard offers raw bodies for exports only, so this starts an export and replaces its target.
    fn stream(&self, target: String, slot: HeadSlot) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + use<> {
        let docker = self.docker.clone().with_request_modifier(move |mut request| {
            if let Ok(uri) = target.parse::<Uri>() {
                *request.uri_mut() = uri;
            }
            request.extensions_mut().insert(Arc::clone(&slot));
            request
        });
        docker.export_container("-").map(|chunk| chunk.map_err(read_error))
    }
}

fn head_slot() -> (HeadSlot, watch::Receiver<Option<HeaderMap>>) {
    let (slot, head) = watch::channel(None);
    (Arc::new(slot), head)
}

/// Joins a path and a query, with escaped values.
fn target(path: &str, query: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (at, (name, value)) in query.iter().enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.extend(utf8_percent_encode(value, QUERY_ESCAPED));
    }
    target
}

/// Returns the path without an id, so that the same error of two containers reads the same.
fn generic(path: &str) -> &str {
    match path.starts_with("/containers/") && path != "/containers/json" {
        true => "/containers/<id>/json",
        false => path,
    }
}

fn read_error(error: bollard::errors::Error) -> EngineError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            EngineError::Refused(status_code, shortened(&message))
        }
        Error::IOError { err } => match err.get_ref().and_then(|inner| inner.downcast_ref::<ConnectFailed>()) {
            Some(connect) => EngineError::Connect(err.kind(), shortened(&connect.to_string())),
            None => EngineError::Broken(shortened(&err.to_string())),
        },
        Error::HyperResponseError { err } if err.is_parse() => {
            EngineError::UnexpectedResponse("it speaks no HTTP".to_owned())
        }
        other => EngineError::Broken(shortened(&other.to_string())),
    }
}

/// Makes foreign text one short line for a log.
fn shortened(text: &str) -> String {
    printable(text.trim(), ' ').chars().take(ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_fail_says_what_to_do() {
        let socket = Address::Unix("/run/docker.sock".into());
        let proxy = Address::Tcp("proxy:2375".to_owned());
        let connect = |kind| EngineError::Connect(kind, "text".to_owned());
        for (error, address, words) in [
            (connect(io::ErrorKind::NotFound), &socket, ["/run/docker.sock", "DOCKER_HOST"]),
            (connect(io::ErrorKind::PermissionDenied), &socket, ["group_add", "stat -c %g /run/docker.sock"]),
            (connect(io::ErrorKind::ConnectionRefused), &socket, ["restart the proxy", "folder"]),
            (connect(io::ErrorKind::ConnectionRefused), &proxy, ["proxy:2375", "DOCKER_HOST"]),
            (EngineError::Timeout(Duration::from_secs(10)), &proxy, ["proxy:2375", "10s"]),
            (EngineError::Refused(403, "no".to_owned()), &proxy, ["403", "/containers/json"]),
            (EngineError::Refused(400, "client is too new".to_owned()), &proxy, ["400", "client is too new"]),
            (EngineError::UnexpectedResponse("no JSON".to_owned()), &proxy, ["no JSON", "DOCKER_HOST"]),
            (EngineError::EventsEnded, &socket, ["ended", "restarting"]),
        ] {
            let reason = error.reason(address);
            assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
        }
    }

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(target("/x", &[("a", "{\"b\":[1]}"), ("c", "1.5")]), "/x?a=%7B%22b%22%3A%5B1%5D%7D&c=1.5");
    }
}
