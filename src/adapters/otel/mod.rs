//! Telemetry over OTLP: traces and metrics, configured by the standard `OTEL_*` variables.
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

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
}

/// The recorders of the exported signals.
struct Signals {
    traces: Option<Traces>,
    metrics: Option<Metrics>,
}

struct OtelTelemetry(Arc<Signals>);

/// The providers to flush before the process ends.
#[must_use = "what was recorded last is lost without a flush"]
pub struct Flush(Option<Providers>);

impl Flush {
    /// Exports what is left within `bound`. Nothing is recorded after it.
    pub async fn flush(self, bound: Duration) {
        if let Some(providers) = &self.0 {
            providers.flush(bound).await;
        }
    }
}

/// Starts telemetry, or returns one that records nothing if there are no settings. Must be called on the proxy's
/// runtime.
///
/// # Errors
/// An exporter cannot be built, for instance because a certificate cannot be read.
pub fn start(settings: Option<&OtelSettings>) -> Result<(Arc<dyn Telemetry>, Flush), OtelError> {
    let Some(settings) = settings else { return Ok((Arc::new(NoTelemetry), Flush(None))) };
    let providers = Providers::build(settings)?;
    let target = |signal: &Option<SignalSettings>| signal.as_ref().map(|signal| signal.to_string());
    info!(
        traces = target(&settings.traces),
        metrics = target(&settings.metrics),
        instance = providers.instance,
        "telemetry started"
    );
    let signals = Signals {
        traces: providers.tracer.as_ref().map(|tracer| Traces::new(tracer, settings.trace_context)),
        metrics: providers.meter.as_ref().map(Metrics::new),
    };
    Ok((Arc::new(OtelTelemetry(Arc::new(signals))), Flush(Some(providers))))
}

impl Telemetry for OtelTelemetry {
    fn request(&self, start: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>> {
        if endpoint::is_probe(start.path) {
            return None;
        }
        Some(Box::new(Record::begin(&self.0, start)))
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
