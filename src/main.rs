//! Composes the proxy and runs it until it is told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use lw_inference_proxy::adapters::cli::{self, EX_USAGE, Task, descriptors, healthcheck::healthcheck, logging};
use lw_inference_proxy::adapters::docker::{DockerSettings, DockerSource};
use lw_inference_proxy::adapters::fixed::{FixedSettings, FixedSource};
use lw_inference_proxy::adapters::http::{Bound, HttpSettings, Server};
use lw_inference_proxy::adapters::upstream::{HttpUpstream, UpstreamSettings};
use lw_inference_proxy::app::Table;
use lw_inference_proxy::app::proxy::Proxy;
use lw_inference_proxy::app::settings::Settings;
use lw_inference_proxy::app::shared::Shared;
use lw_inference_proxy::app::stop::Stop;
use lw_inference_proxy::app::watch::Watch;
use lw_inference_proxy::ports::container_source::ContainerSource;
use lw_inference_proxy::ports::telemetry::{NoTelemetry, Telemetry};
use lw_inference_proxy::ports::upstream::UpstreamClient;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

fn main() -> ExitCode {
    let task = match cli::task() {
        Ok(task) => task,
        Err(code) => return code,
    };
    let settings = match Settings::read(cli::variable) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    match task {
        Task::Healthcheck => match healthcheck(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        },
        Task::Serve => serve(settings),
    }
}

/// One line, and the exit code for what cannot be read.
fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(EX_USAGE)
}

fn serve(settings: Settings) -> ExitCode {
    let upstream: Arc<dyn UpstreamClient> = match HttpUpstream::new(UpstreamSettings::default()) {
        Ok(upstream) => Arc::new(upstream),
        Err(error) => return refuse(&error),
    };
    let sources = match sources(&settings, &upstream) {
        Ok(sources) => sources,
        Err(error) => return refuse(&*error),
    };
    if let Err(error) = logging::start(&settings) {
        return refuse(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the system gives no threads or no event queue");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(run(settings, sources, upstream)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "the proxy cannot run");
            ExitCode::FAILURE
        }
    };
    runtime.shutdown_background();
    code
}

/// Where backends are learnt from.
fn sources(
    settings: &Settings,
    upstream: &Arc<dyn UpstreamClient>,
) -> Result<Vec<Arc<dyn ContainerSource>>, Box<dyn std::error::Error>> {
    settings.check_sources()?;
    let mut sources: Vec<Arc<dyn ContainerSource>> = Vec::new();
    if settings.docker {
        let engine = settings.engine.clone();
        sources.push(Arc::new(DockerSource::new(DockerSettings {
            host: engine.host,
            tls_verify: engine.tls_verify,
            cert_path: engine.cert_path,
            ..DockerSettings::default()
        })?));
    }
    if !settings.backends.is_empty() {
        let (backends, upstream) = (settings.backends.clone(), Arc::clone(upstream));
        sources.push(Arc::new(FixedSource::new(backends, upstream, FixedSettings::default())));
    }
    Ok(sources)
}

/// As many connections as are wanted, or as there are descriptors for.
fn connections(wanted: usize) -> usize {
    let limit = match descriptors::raise_limit() {
        Ok(limit) => limit,
        Err(error) => {
            warn!(%error, "the limit of open files is not known and stays as it is");
            return wanted;
        }
    };
    let most = descriptors::connections_within(limit, wanted);
    if most < wanted {
        warn!(limit, wanted, most, "fewer connections than wanted; raise the limit of open files (ulimit -n)");
    }
    most
}

async fn run(
    settings: Settings,
    sources: Vec<Arc<dyn ContainerSource>>,
    upstream: Arc<dyn UpstreamClient>,
) -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::on_signals(settings.stop_delay, settings.drain_timeout)?;
    let telemetry: Arc<dyn Telemetry> = Arc::new(NoTelemetry);
    let bound = Bound::bind(SocketAddr::new(settings.bind, settings.port))?;
    info!(address = %bound.address()?, version = env!("CARGO_PKG_VERSION"), "listening");

    let (shared, queue) = Shared::new(Table::new(settings.table_rules()));
    let tasks = TaskTracker::new();
    let watch = Watch::new(
        Arc::clone(&shared),
        queue,
        sources,
        upstream,
        Arc::clone(&telemetry),
        tasks.clone(),
        stop.all_over.clone(),
    );
    tasks.spawn(watch.run());
    let http = HttpSettings {
        max_held_body: settings.max_held_body,
        max_held_total: settings.max_held_total,
        max_connections: connections(settings.max_connections),
        ..HttpSettings::default()
    };
    let server = Server::new(Proxy::new(Arc::clone(&shared), telemetry), http, stop.abort.clone());
    let serving = async {
        let left = bound.serve(server, stop.stop_accepting.clone()).await;
        stop.all_over.cancel();
        left
    };
    let (left, ()) = tokio::join!(serving, stop.conduct(&shared));

    tasks.close();
    tasks.wait().await;
    info!(cut = left, "stopped");
    Ok(())
}
