//! Which adapters the proxy is made of, by its settings.

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

/// What the sample servers of the demonstration serve, each its own model.
const DEMO_MODELS: [&str; 2] = ["sample/small", "sample/large"];
/// How long the demonstration waits for answers when it is told to stop.
const DEMO_DRAIN: Duration = Duration::from_secs(2);

/// What the proxy reaches the world through.
pub struct Adapters {
    /// The way to backends.
    pub upstream: Arc<dyn UpstreamClient>,
    /// Where backends are discovered from.
    pub sources: Vec<Arc<dyn ContainerSource>>,
    /// The servers that are at work on requests.
    pub activity: Arc<ActivityBook>,
    /// What the proxy calls itself when it asks backends for their models.
    pub user_agent: HeaderValue,
}

/// Makes it. Opens nothing yet.
pub fn build_adapters(settings: &Settings) -> Result<Adapters, Box<dyn Error>> {
    settings.check_sources()?;
    let user_agent = user_agent()?;
    let ways = UpstreamSettings { user_agent: user_agent.clone(), ..upstream_settings(settings) };
    let mut upstream = HttpUpstream::new(ways)?;
    // A file that cannot be used stops the start, also where no backend needs it.
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

/// The program and its version, and a number that no other process has: by it the proxy knows its own questions, whatever
/// address it has been given as a backend's.
fn user_agent() -> Result<HeaderValue, InvalidHeaderValue> {
    let process = RandomState::new().build_hasher().finish();
    HeaderValue::from_str(&format!("lw-inference-proxy/{} ({process:016x})", env!("CARGO_PKG_VERSION")))
}

/// One backend may have as many connections as there are clients, each of which carries one request at a time.
fn upstream_settings(settings: &Settings) -> UpstreamSettings {
    UpstreamSettings {
        max_connections: settings.max_connections.unwrap_or(MAX_CONNECTIONS),
        ..UpstreamSettings::default()
    }
}

/// The sample servers of the demonstration.
pub struct Demo {
    servers: TaskTracker,
    stop: CancellationToken,
}

impl Demo {
    /// Starts them on free ports of this machine, and has the settings name them and nothing else.
    pub async fn start(settings: &mut Settings) -> Result<Self, Box<dyn Error>> {
        let demo = Self { servers: TaskTracker::new(), stop: CancellationToken::new() };
        settings.docker = false;
        settings.backends.clear();
        settings.drain_timeout = settings.drain_timeout.min(DEMO_DRAIN);
        settings.log_filter.get_or_insert_with(|| "warn".to_owned());
        for model in DEMO_MODELS {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let sample = Sample::bind(address, vec![model.to_owned()]).await?;
            let url = format!("http://{}/v1", sample.address()?);
            settings.backends.push(BackendUrl::parse(&url).map_err(|wrong| format!("{url}: {wrong}"))?);
            demo.servers.spawn(sample.serve(demo.stop.clone()));
        }
        Ok(demo)
    }

    /// What they serve.
    pub fn models() -> Vec<String> {
        DEMO_MODELS.map(str::to_owned).to_vec()
    }

    /// Ends them.
    pub async fn end(self) {
        self.stop.cancel();
        self.servers.close();
        self.servers.wait().await;
    }
}

/// A sample server alone, until a signal.
pub async fn sample(port: u16, models: Vec<String>) -> io::Result<()> {
    let sample = Sample::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), models).await?;
    cli::out::print(&format!("a sample server listens on {}\n", sample.address()?))?;
    sample.serve(shutdown::on_signal()?).await
}

/// As many client connections as are wanted, or as there are descriptors for. Only who asked for more is warned: a
/// default that does not fit is nobody's wish.
pub fn connections(asked: Option<usize>) -> usize {
    let wanted = asked.unwrap_or(MAX_CONNECTIONS);
    let limit = match descriptors::raise_limit() {
        Ok(limit) => limit,
        Err(error) => {
            warn!(%error, "the limit of open files is not known and stays as it is");
            return wanted;
        }
    };
    let at_most = descriptors::connections_within(limit, wanted);
    if asked.is_some() && at_most < wanted {
        let variable = "PROXY_MAX_CONNECTIONS";
        warn!(
            variable,
            wanted,
            at_most,
            open_files = limit,
            "fewer client connections than asked for; raise the limit of open files (ulimit -n)"
        );
    } else {
        info!(at_most, open_files = limit, "client connections are bounded");
    }
    at_most
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_backend_may_have_a_connection_for_every_client() {
        for (asked, expected) in [(None, MAX_CONNECTIONS), (Some("20000"), 20_000)] {
            let settings = Settings::read(|name| asked.filter(|_| name == "PROXY_MAX_CONNECTIONS").map(str::to_owned));
            assert_eq!(upstream_settings(&settings.unwrap()).max_connections, expected);
        }
    }
}
