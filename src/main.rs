//! Composes the proxy and runs it until a signal stops it.

mod compose;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use app::Table;
use app::proxy::Proxy;
use app::route_store::RouteStore;
use app::settings::Settings;
use app::shutdown::Stop;
use app::watcher::Watcher;
use compose::{Adapters, Demo, build_adapters};
use lw_inference_proxy::adapters::cli::demo::DemoLines;
use lw_inference_proxy::adapters::cli::report_text::Style;
use lw_inference_proxy::adapters::cli::{self, EX_USAGE, Task, doctor, healthcheck, logging, status};
use lw_inference_proxy::adapters::http::{Bound, HttpSettings, Server};
use lw_inference_proxy::adapters::otel::{self, OtelSettings};
use ports::telemetry::Telemetry;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

/// The longest wait for a collector after everything else has ended.
const TELEMETRY_FLUSH: Duration = Duration::from_millis(2500);

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let task = match cli::task() {
        Ok(task) => task,
        Err(code) => return code,
    };
    let settings = match Settings::read(cli::variable) {
        Ok(settings) => settings,
        Err(error) => return usage_error(&error),
    };
    let style = Style::of_stdout(cli::variable);
    match task {
        Task::Serve => match build_adapters(&settings) {
            Ok(adapters) => on_runtime(serve(settings, adapters)),
            Err(error) => usage_error(&*error),
        },
        Task::Healthcheck(target) => exit_code(healthcheck::healthcheck(&settings, &target)),
        Task::Status => status::status(&settings, style),
        Task::Doctor => match build_adapters(&settings) {
            Ok(adapters) => on_runtime(async move { doctor::doctor(&settings, &adapters.sources, style).await }),
            Err(error) => usage_error(&*error),
        },
        Task::Demo { replicas } => on_runtime(demo(settings, usize::from(replicas), style)),
        Task::Sample { port, models } => on_runtime(async move {
            let failure =
                |error| format!("the sample server cannot run on port {port}: {error}; choose another with --port");
            exit_code(compose::sample(port, models).await.map_err(failure))
        }),
    }
}

/// Prints one line, and returns the exit code for an invalid command line or setting.
fn usage_error(error: &dyn Error) -> ExitCode {
    cli::out::complain(error);
    ExitCode::from(EX_USAGE)
}

/// Prints an error as one line, and returns the exit code.
fn exit_code(result: Result<(), impl std::fmt::Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::out::complain(error);
            ExitCode::FAILURE
        }
    }
}

fn on_runtime(task: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(Err(format!("the runtime cannot start: {error}"))),
    };
    let code = runtime.block_on(task);
    runtime.shutdown_background();
    code
}

async fn serve(settings: Settings, adapters: Adapters) -> ExitCode {
    let otel = match OtelSettings::read(cli::variable) {
        Ok(otel) => otel,
        Err(error) => return usage_error(&error),
    };
    if let Err(error) = logging::start(&settings) {
        return usage_error(&error);
    }
    let (telemetry, last_telemetry) = match otel::start(otel.as_ref()) {
        Ok(started) => started,
        Err(error) => return usage_error(&error),
    };
    let result = run(settings, adapters, telemetry).await;
    last_telemetry.flush(TELEMETRY_FLUSH).await;
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "proxy failed");
            ExitCode::FAILURE
        }
    }
}

/// Runs the proxy in front of sample servers, which need neither Docker nor a GPU.
async fn demo(mut settings: Settings, replicas: usize, style: Style) -> ExitCode {
    let lines = Arc::new(DemoLines::new(settings.port, Demo::models(), replicas, style));
    let result = async {
        let demo = Demo::start(&mut settings, replicas).await?;
        logging::start(&settings)?;
        let adapters = build_adapters(&settings)?;
        run(settings, adapters, lines).await?;
        demo.end().await;
        cli::out::print("The demo is over.\n")?;
        Ok::<_, Box<dyn Error>>(())
    };
    exit_code(result.await)
}

async fn run(settings: Settings, adapters: Adapters, telemetry: Arc<dyn Telemetry>) -> Result<(), Box<dyn Error>> {
    let stop = Stop::on_signals(settings.stop_delay, settings.drain_timeout)?;
    let bound = Bound::bind(SocketAddr::new(settings.bind, settings.port))?;
    info!(address = %bound.address()?, version = env!("CARGO_PKG_VERSION"), "listening");

    let (shared, queue) = RouteStore::new(Table::new(settings.table_rules()));
    let tasks = TaskTracker::new();
    let watcher = Watcher::new(
        Arc::clone(&shared),
        queue,
        adapters.sources,
        adapters.upstream,
        Arc::clone(&telemetry),
        tasks.clone(),
        stop.finished.clone(),
    )
    .with_activity(adapters.activity);
    tasks.spawn(watcher.run());
    let http = HttpSettings {
        max_buffered_body: settings.max_buffered_body,
        max_buffered_total: settings.max_buffered_total,
        max_connections: compose::connections(settings.max_connections),
        stop_delay: settings.stop_delay,
        status: settings.status,
        own_user_agent: Some(adapters.user_agent),
        ..HttpSettings::default()
    };
    let server = Server::new(Proxy::new(Arc::clone(&shared), telemetry), http, stop.abort.clone());
    let serving = async {
        let unfinished = bound.serve(server, stop.stop_accepting.clone()).await;
        stop.finished.cancel();
        unfinished
    };
    let (unfinished, ()) = tokio::join!(serving, stop.conduct(&shared));

    tasks.close();
    tasks.wait().await;
    info!(unfinished, "proxy stopped");
    Ok(())
}
