//! A container source on a Docker engine, or on Podman's compatible API.

mod api_types;
mod backoff;
mod cache;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod event;
mod inspect;
mod inspections;
mod networks;
#[doc(hidden)]
pub mod reader;
mod requests;
mod session;
pub mod settings;
mod time;
mod tls;
mod transport;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cache::ContainerCache;
use domain::container::{ContainerEvent, ContainerId};
use engine::Engine;
pub use networks::OwnAddress;
use ports::container_source::{ContainerEvents, ContainerSource};
use requests::Requests;
use session::{End, Session};
pub use settings::{Address, DockerSettings, DockerSettingsError, LabelFilter};
pub use tls::TlsError;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::adapters::shared::watches::Watches;

/// The capacity of the stream. If its reader falls behind, events wait in a larger queue of their own.
const ITEMS_WAITING: usize = 1024;
/// How long a connection must last to reset the backoff.
const STEADY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error(transparent)]
    Settings(#[from] DockerSettingsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A source of the containers of one engine.
pub struct DockerSource {
    name: String,
    address: Address,
    tls: Option<TlsConnector>,
    settings: Arc<DockerSettings>,
    watches: Watches<Requests>,
}

impl DockerSource {
    /// Creates a source for the engine in the settings, which need not be running. Nothing is opened yet.
    ///
    /// # Errors
    /// The settings name no usable address, or TLS without its files.
    pub fn new(settings: DockerSettings) -> Result<Self, DockerError> {
        let address = settings.address()?;
        let tls = match &address {
            Address::Tls(_) => Some(tls::connector(settings.cert_path.as_deref().unwrap_or(Path::new("")))?),
            Address::Unix(_) | Address::Tcp(_) => None,
        };
        Ok(Self {
            name: format!("docker {address}"),
            address,
            tls,
            settings: Arc::new(settings),
            watches: Watches::default(),
        })
    }
}

impl ContainerSource for DockerSource {
    fn name(&self) -> &str {
        &self.name
    }

    /// Must be called within a tokio runtime.
    fn watch(&self) -> ContainerEvents {
        self.watches.start(ITEMS_WAITING, Arc::default(), |requests, out| {
            supervise(Arc::clone(&self.settings), self.address.clone(), self.tls.clone(), requests, out)
        })
    }

    fn refresh(&self, id: &ContainerId) {
        self.watches.request(|requests| requests.add(id));
    }
}

/// Connects until the stream is dropped, with a backoff between failures.
async fn supervise(
    settings: Arc<DockerSettings>,
    address: Address,
    tls: Option<TlsConnector>,
    requests: Arc<Requests>,
    out: mpsc::Sender<ContainerEvent>,
) {
    let mut cache = ContainerCache::default();
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let (had_snapshot, end) = connection(&settings, &address, tls.clone(), &mut cache, &requests, &out).await;
        let error = match end {
            End::Unwatched => return,
            End::Renew => continue,
            End::Lost(error) => error,
        };
        if had_snapshot && began.elapsed() > STEADY_AFTER {
            failures = 0;
        }
        tracing::debug!(%error, failures, "engine connection lost");
        if let Some(loss) = cache.loss(error.reason(&address))
            && out.send(loss).await.is_err()
        {
            return;
        }
        let pause = backoff::pause((settings.retry_first, settings.retry_max), failures);
        failures = failures.saturating_add(1);
        tokio::select! {
            () = out.closed() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Runs one connection. Returns whether it sent a snapshot, and how it ended.
async fn connection(
    settings: &DockerSettings,
    address: &Address,
    tls: Option<TlsConnector>,
    cache: &mut ContainerCache,
    requests: &Requests,
    out: &mpsc::Sender<ContainerEvent>,
) -> (bool, End) {
    let engine = match Engine::new(address.clone(), tls, settings) {
        Ok(engine) => engine,
        Err(error) => return (false, End::Lost(error)),
    };
    match Session::open(engine, settings, address, cache, out).await {
        Ok(mut session) => {
            let end = session.run(requests).await;
            (session.has_snapshot(), end)
        }
        Err(end) => (false, end),
    }
}
