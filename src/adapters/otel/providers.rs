//! The providers that batch spans and metrics for the exporters: one thread for each exported signal.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::warn;

use super::delivery::{Deliveries, MetricDelivery, SpanDelivery, SpanQueue};
use super::exporters::{self, OtelError};
use super::instance;
use super::settings::{INSTANCE_KEY, OtelSettings, SamplerSetting};

/// The providers of the exported signals.
pub(super) struct Providers {
    pub(super) tracer: Option<SdkTracerProvider>,
    pub(super) meter: Option<SdkMeterProvider>,
    /// The id of this proxy among those that report to the same collector.
    pub(super) instance: String,
    deliveries: Vec<Arc<Deliveries>>,
}

impl Providers {
    /// Must be called on the runtime that runs exports.
    pub(super) fn build(settings: &OtelSettings) -> Result<Self, OtelError> {
        let runtime = Handle::current();
        let instance = settings.instance().map_or_else(instance::id, str::to_owned);
        let resource = resource(settings, instance.clone());
        let mut providers = Self { tracer: None, meter: None, instance, deliveries: Vec::new() };
        if let Some(signal) = &settings.traces {
            let deliveries = Deliveries::new("traces", settings.batch.queue);
            let exporter = SpanDelivery {
                exporter: exporters::spans(signal)?,
                runtime: runtime.clone(),
                bound: settings.batch.timeout,
                deliveries: Arc::clone(&deliveries),
            };
            providers.deliveries.push(Arc::clone(&deliveries));
            providers.tracer = Some(tracer(settings, resource.clone(), exporter, deliveries));
        }
        if let Some(signal) = &settings.metrics {
            let deliveries = Deliveries::new("metrics", 0);
            let exporter = MetricDelivery {
                exporter: exporters::metrics(signal, settings.delta)?,
                runtime,
                bound: settings.metric_timeout,
                deliveries: Arc::clone(&deliveries),
            };
            providers.deliveries.push(deliveries);
            let reader = PeriodicReader::builder(exporter).with_interval(settings.metric_interval).build();
            providers.meter = Some(SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build());
        }
        Ok(providers)
    }

    /// Exports what is left, both signals side by side, and shuts down within `bound`. A thread that still waits for
    /// the collector is left behind.
    pub(super) async fn flush(&self, bound: Duration) {
        let (tracer, meter) = (self.tracer.clone(), self.meter.clone());
        let spans = tokio::task::spawn_blocking(move || tracer.map(|tracer| tracer.shutdown_with_timeout(bound)));
        let metrics = tokio::task::spawn_blocking(move || meter.map(|meter| meter.shutdown_with_timeout(bound)));
        let both = async { tokio::join!(spans, metrics) };
        if tokio::time::timeout(bound, both).await.is_err() {
            warn!(?bound, "telemetry flush timed out");
        }
        self.deliveries.iter().for_each(|deliveries| deliveries.report_dropped());
    }
}

fn tracer(
    settings: &OtelSettings,
    resource: Resource,
    exporter: SpanDelivery<opentelemetry_otlp::SpanExporter>,
    deliveries: Arc<Deliveries>,
) -> SdkTracerProvider {
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(settings.batch.queue)
        .with_max_export_batch_size(settings.batch.batch)
        .with_scheduled_delay(settings.batch.delay)
        .build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler(settings.sampler))
        .with_span_processor(SpanQueue { batches, deliveries })
        .build()
}

fn sampler(setting: SamplerSetting) -> Sampler {
    let own = match setting.ratio {
        all if all >= 1.0 => Sampler::AlwaysOn,
        none if none <= 0.0 => Sampler::AlwaysOff,
        some => Sampler::TraceIdRatioBased(some),
    };
    match setting.parent_based {
        true => Sampler::ParentBased(Box::new(own)),
        false => own,
    }
}

fn resource(settings: &OtelSettings, instance: String) -> Resource {
    let given = settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new(INSTANCE_KEY, instance),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("telemetry.sdk.language", "rust"),
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        ])
        .with_attributes(given)
        .build()
}
