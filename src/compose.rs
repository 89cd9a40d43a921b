//! Builds the adapters that the settings call for.

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use app::activity::ActivityBook;
use app::settings::{MAX_CONNECTIONS, Settings};
use app::shutdown;
use domain::backend_url::BackendUrl;
use domain::pool::Replicas;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use lw_inference_proxy::adapters::cli::{self, descriptors};
use lw_inference_proxy::adapters::docker::{DockerSettings, DockerSource, LabelFilter};
use lw_inference_proxy::adapters::samples::Sample;
use lw_inference_proxy::adapters::shared::own_container;
use lw_inference_proxy::adapters::static_backends::{StaticSettings, StaticSource};
use lw_inference_proxy::adapters::upstream::{BackendTls, HttpUpstream, UpstreamSettings};
use ports::container_source::ContainerSource;
use ports::upstream::UpstreamClient;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// The models of the demo, each on a sample server of its own.
const DEMO_MODELS: [&str; 2] = ["sample/small", "sample/large"];
/// The longest drain when the demo stops.
const DEMO_DRAIN: Duration = Duration::from_secs(2);

pub struct Adapters {
    pub upstream: Arc<dyn UpstreamClient>,
    pub sources: Vec<Arc<dyn ContainerSource>>,
    pub activity: Arc<ActivityBook>,
    /// The `User-Agent` of the proxy's own requests to backends.
    pub user_agent: HeaderValue,
}

/// Builds the adapters. Nothing is opened yet.
pub fn build_adapters(settings: &Settings) -> Result<Adapters, Box<dyn Error>> {
    settings.check_sources()?;
    let user_agent = user_agent()?;
    let upstream_settings = UpstreamSettings { user_agent: user_agent.clone(), ..upstream_settings(settings) };
    let mut upstream = HttpUpstream::new(upstream_settings)?;
    // An unusable file aborts startup even if no backend needs it.
    if settings.backends_ca_file.is_some() || settings.backends.iter().any(|url| url.tls) {
        upstream = upstream.with_tls(BackendTls::new(settings.backends_ca_file.as_deref())?);
    }
    let upstream: Arc<dyn UpstreamClient> = Arc::new(upstream);
    let mut sources: Vec<Arc<dyn ContainerSource>> = Vec::new();
    let activity = Arc::<ActivityBook>::default();
    if settings.docker {
        let engine = settings.engine.clone();
        sources.push(Arc::new(DockerSource::new(DockerSettings {
            host: engine.host,
            tls_verify: engine.tls_verify,
            cert_path: engine
                .cert_path
                .or_else(|| cli::variable("HOME").map(|home| PathBuf::from(home).join(".docker"))),
            label_filter: settings.label_filter.clone().map(|(key, value)| LabelFilter { key, value }),
            own_container: own_container::id(),
            ..DockerSettings::default()
        })?));
    }
    if !settings.backends.is_empty() {
        let (backends, upstream) = (settings.backends.clone(), Arc::clone(&upstream));
        let source = StaticSource::new(backends, upstream, StaticSettings::default());
        sources.push(Arc::new(source.with_activity(Arc::clone(&activity) as _)));
    }
    Ok(Adapters { upstream, sources, activity, user_agent })
}

/// Returns program and version, with a random number of this process. By that the proxy recognizes its own requests, if a
/// backend's address leads back to it.
fn user_agent() -> Result<HeaderValue, InvalidHeaderValue> {
    let process = RandomState::new().build_hasher().finish();
    HeaderValue::from_str(&format!("lw-inference-proxy/{} ({process:016x})", env!("CARGO_PKG_VERSION")))
}

/// Allows one backend as many connections as there are clients: each carries one request at a time.
fn upstream_settings(settings: &Settings) -> UpstreamSettings {
    UpstreamSettings {
        max_connections: settings.max_connections.unwrap_or(MAX_CONNECTIONS),
        ..UpstreamSettings::default()
    }
}

pub struct Demo {
    servers: TaskTracker,
    stop: CancellationToken,
}

impl Demo {
    /// Starts the sample servers on free local ports, and makes them the only backends of the settings.
    pub async fn start(settings: &mut Settings, replicas: usize) -> Result<Self, Box<dyn Error>> {
        let demo = Self { servers: TaskTracker::new(), stop: CancellationToken::new() };
        settings.docker = false;
        settings.backends.clear();
        settings.drain_timeout = settings.drain_timeout.min(DEMO_DRAIN);
        settings.log_filter.get_or_insert_with(|| "warn".to_owned());
        if replicas > 1 {
            settings.replicas = Replicas::All;
        }
        for model in DEMO_MODELS.into_iter().flat_map(|model| std::iter::repeat_n(model, replicas)) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let sample = Sample::bind(address, vec![model.to_owned()]).await?;
            let url = format!("http://{}/v1", sample.address()?);
            settings.backends.push(BackendUrl::parse(&url).map_err(|error| format!("{url}: {error}"))?);
            demo.servers.spawn(sample.serve(demo.stop.clone()));
        }
        Ok(demo)
    }

    pub fn models() -> Vec<String> {
        DEMO_MODELS.map(str::to_owned).to_vec()
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.servers.close();
        self.servers.wait().await;
    }
}

/// Runs one sample server until a signal.
pub async fn sample(port: u16, models: Vec<String>) -> io::Result<()> {
    let sample = Sample::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), models).await?;
    cli::out::print(&format!("sample server listening on {}\n", sample.address()?))?;
    sample.serve(shutdown::on_signal()?).await
}

/// Returns how many client connections the proxy accepts: as configured, or as the limit of open files allows. Logs a
/// warning only if a configured number does not fit.
pub fn connections(configured: Option<usize>) -> usize {
    let wanted = configured.unwrap_or(MAX_CONNECTIONS);
    let limit = match descriptors::raise_limit() {
        Ok(limit) => limit,
        Err(error) => {
            warn!(%error, "cannot raise limit of open files");
            return wanted;
        }
    };
    let at_most = descriptors::connections_within(limit, wanted);
    if configured.is_some() && at_most < wanted {
        let variable = "PROXY_MAX_CONNECTIONS";
        warn!(variable, wanted, at_most, open_files = limit, "open files limit client connections, see ulimit -n");
    } else {
        info!(at_most, open_files = limit, "client connections limited");
    }
    at_most
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_backend_may_have_a_connection_for_every_client() {
        for (value, expected) in [(None, MAX_CONNECTIONS), (Some("20000"), 20_000)] {
            let settings = Settings::read(|name| value.filter(|_| name == "PROXY_MAX_CONNECTIONS").map(str::to_owned));
            assert_eq!(upstream_settings(&settings.unwrap()).max_connections, expected);
        }
    }
}
