//! The way to backends over HTTP/1.1: reqwest asks for their models, hyper carries requests.
//!
//! Two libraries, because they are good at different things. Asking wants a client that does everything, rarely.
//! Carrying wants the bytes as they are, cheaply: nothing rewritten, nothing added, and no task beside the request's.

mod body;
mod channel;
mod connection;
mod exchange;
mod failure;
mod framing;
mod model_list;
mod models_client;
mod models_over_tls;
mod pool;
mod probation;
mod socket;
mod tls;
mod tunnel;
mod upstream_io;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use ports::upstream::{Channel, ListModelsError, ListedModel, Target, UpstreamClient};

use self::channel::HttpChannel;
use self::models_client::ModelsClient;
use self::pool::{Pool, Tls};
pub use self::tls::{BackendTls, TlsError};

/// The limits of the way to backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// How long asking for models may take as a whole.
    pub ask_timeout: Duration,
    /// How long connecting may take when a request is carried.
    pub connect_timeout: Duration,
    /// How long a connection may wait for its next request. Inference servers close theirs after 5 s; a shorter time
    /// here means that it is never they who close first.
    pub idle_timeout: Duration,
    /// How long a connection has to stay open before connections of its backend are used again at once after the same
    /// kind of response. Zero: always, until one is closed without a word.
    pub probation: Duration,
    /// How many connections to one registration of a backend may wait for their next request.
    pub max_idle: usize,
    /// How many connections to one registration of a backend may be open.
    pub max_connections: usize,
    /// What this process calls itself when it asks. Where its own server reads it, the proxy has asked itself.
    pub user_agent: HeaderValue,
}

impl UpstreamSettings {
    /// The default of [`ask_timeout`](Self::ask_timeout).
    pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of [`connect_timeout`](Self::connect_timeout).
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of [`idle_timeout`](Self::idle_timeout).
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
    /// The default of [`probation`](Self::probation).
    pub const PROBATION: Duration = Duration::from_millis(500);
    /// The default of [`max_idle`](Self::max_idle).
    pub const MAX_IDLE: usize = 128;
    /// The default of [`max_connections`](Self::max_connections).
    pub const MAX_CONNECTIONS: usize = 4096;
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            ask_timeout: Self::ASK_TIMEOUT,
            connect_timeout: Self::CONNECT_TIMEOUT,
            idle_timeout: Self::IDLE_TIMEOUT,
            probation: Self::PROBATION,
            max_idle: Self::MAX_IDLE,
            max_connections: Self::MAX_CONNECTIONS,
            user_agent: HeaderValue::from_static("lw-inference-proxy"),
        }
    }
}

/// The HTTP client for asking could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client that asks backends for their models could not be built: {0}")]
pub struct BuildError(String);

/// The way to backends.
pub struct HttpUpstream {
    models_client: ModelsClient,
    tls: Option<BackendTls>,
    settings: UpstreamSettings,
}

impl HttpUpstream {
    /// Makes it. Does no I/O.
    ///
    /// # Errors
    /// The library refuses to be set up.
    pub fn new(settings: UpstreamSettings) -> Result<Self, BuildError> {
        let models_client = ModelsClient::new(settings.ask_timeout, settings.user_agent.clone())?;
        Ok(Self { models_client, tls: None, settings })
    }

    /// Reaches backends whose URL asks for TLS. Without this they cannot be reached.
    #[must_use]
    pub fn with_tls(mut self, tls: BackendTls) -> Self {
        self.tls = Some(tls);
        self
    }
}

#[async_trait]
impl UpstreamClient for HttpUpstream {
    async fn models(&self, target: &Target) -> Result<Vec<ListedModel>, ListModelsError> {
        if target.origin.as_ref().is_none_or(|origin| origin.tls.is_none()) {
            return self.models_client.models(target).await;
        }
        let UpstreamSettings { user_agent, ask_timeout, .. } = &self.settings;
        models_over_tls::models(&*self.open(target), target, user_agent, *ask_timeout).await
    }

    fn open(&self, target: &Target) -> Arc<dyn Channel> {
        let name = target.origin.as_ref().and_then(|origin| origin.tls.as_deref());
        let tls = match (name, &self.tls) {
            (None, _) => Tls::None,
            (Some(name), Some(tls)) => tls.to(name).map_or(Tls::Impossible, Tls::To),
            (Some(_), None) => Tls::Impossible,
        };
        Arc::new(HttpChannel::new(Pool::new(target.address, tls, self.settings.clone())))
    }
}
