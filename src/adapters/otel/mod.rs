//! Telemetry over OTLP: traces and metrics, as the standard `OTEL_*` variables ask for them.
//!
//! Without an endpoint nothing here exists at run time: no provider, no thread, no work for a request.

mod delivery;
mod endpoint;
mod exporters;
mod http_client;
mod in_flight;
mod instance;
mod metrics;
mod providers;
mod record;
mod settings;
mod trace_parent;
mod traces;
mod values;

use std::sync::Arc;
use std::time::Duration;

pub use exporters::OtelError;
use metrics::Metrics;
use opentelemetry::InstrumentationScope;
use ports::telemetry::{NoTelemetry, RequestRecord, RequestStart, TableChange, Telemetry};
use providers::Providers;
use record::Record;
pub use settings::{BatchSettings, OtelSettings, SamplerSetting, SignalSettings};
use traces::Traces;
use tracing::info;
pub use values::{OtelSettingError, Protocol};

/// The instrumentation scope of everything that is recorded.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
}

/// The recorders of what is on.
struct Signals {
    traces: Option<Traces>,
    metrics: Option<Metrics>,
}

/// Reports through OpenTelemetry.
struct OtelTelemetry(Arc<Signals>);

/// What has been recorded and must be sent before the process ends.
#[must_use = "what was recorded last is lost without a flush"]
pub struct Flush(Option<Providers>);

impl Flush {
    /// Sends what is left, within `bound`, whatever the collector does. Nothing is recorded after it.
    pub async fn flush(self, bound: Duration) {
        if let Some(providers) = &self.0 {
            providers.flush(bound).await;
        }
    }
}

/// Begins telemetry; with no settings, the telemetry that is off. Must be called on the proxy's runtime.
///
/// # Errors
/// An exporter cannot be built, for instance because a certificate cannot be read.
pub fn start(settings: Option<&OtelSettings>) -> Result<(Arc<dyn Telemetry>, Flush), OtelError> {
    let Some(settings) = settings else { return Ok((Arc::new(NoTelemetry), Flush(None))) };
    let providers = Providers::build(settings)?;
    let shown = |signal: &Option<SignalSettings>| signal.as_ref().map(|signal| signal.to_string());
    info!(
        traces = shown(&settings.traces),
        metrics = shown(&settings.metrics),
        instance = providers.instance,
        "telemetry is on"
    );
    let signals = Signals {
        traces: providers.tracer.as_ref().map(|tracer| Traces::new(tracer, settings.trace_context)),
        metrics: providers.meter.as_ref().map(Metrics::new),
    };
    Ok((Arc::new(OtelTelemetry(Arc::new(signals))), Flush(Some(providers))))
}

impl Telemetry for OtelTelemetry {
    fn request(&self, arrival: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>> {
        if endpoint::is_probe(arrival.path) {
            return None;
        }
        Some(Box::new(Record::begin(&self.0, arrival)))
    }

    fn table_changed(&self, change: &TableChange) {
        if let Some(traces) = &self.0.traces {
            traces.table_changed(change);
        }
        if let Some(metrics) = &self.0.metrics {
            metrics.table_changed(change);
        }
    }

    fn backends_active(&self, count: usize) {
        if let Some(metrics) = &self.0.metrics {
            metrics.backends_active(count);
        }
    }
}
