//! Delivery to a collector that may be slow, hang or be down: bounded in time and memory, with one log line for each
//! change between success and failure.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Handle;
use tokio_util::context::TokioContext;
use tracing::{info, warn};

/// The state of one signal's deliveries.
#[derive(Debug)]
pub(super) struct Deliveries {
    signal: &'static str,
    failing: AtomicBool,
    /// The spans that wait or are being exported.
    pending: AtomicUsize,
    /// The limit of `pending`.
    max_pending: usize,
    full: AtomicBool,
    dropped: AtomicU64,
}

impl Deliveries {
    pub(super) fn new(signal: &'static str, max_pending: usize) -> Arc<Self> {
        Arc::new(Self {
            signal,
            failing: AtomicBool::new(false),
            pending: AtomicUsize::new(0),
            max_pending,
            full: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        })
    }

    /// Admits a span to the queue, or counts it as dropped.
    fn admit(&self) -> bool {
        if self.pending.fetch_add(1, Ordering::Relaxed) < self.max_pending {
            return true;
        }
        self.pending.fetch_sub(1, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if !self.full.swap(true, Ordering::Relaxed) {
            warn!(queue = self.max_pending, "span queue full, dropping spans");
        }
        false
    }

    /// Records the result of an export of so many spans.
    fn record(&self, result: &OTelSdkResult, spans: usize) {
        self.pending.fetch_sub(spans, Ordering::Relaxed);
        match result {
            Ok(()) => {
                let (failed, full) = (self.failing.swap(false, Ordering::Relaxed), self.full.load(Ordering::Relaxed));
                let room = full && self.pending.load(Ordering::Relaxed) < self.max_pending / 2;
                if failed || room {
                    self.full.store(false, Ordering::Relaxed);
                    let dropped_spans = self.dropped.swap(0, Ordering::Relaxed);
                    info!(signal = self.signal, dropped_spans, "telemetry export recovered");
                }
            }
            Err(error) => {
                self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    warn!(signal = self.signal, reason = %error,
                        "telemetry export failed, further failures not logged");
                }
            }
        }
    }

    /// Logs how many spans were dropped since the last log line about it, if any.
    pub(super) fn report_dropped(&self) {
        let dropped_spans = self.dropped.swap(0, Ordering::Relaxed);
        if dropped_spans > 0 {
            warn!(signal = self.signal, dropped_spans, "telemetry dropped");
        }
    }
}

/// Runs an export on the proxy's runtime within a bound. Called on threads without a runtime.
async fn bounded(
    runtime: &Handle,
    bound: Duration,
    export: impl Future<Output = OTelSdkResult> + Send,
) -> OTelSdkResult {
    let timed = async { tokio::time::timeout(bound, export).await.unwrap_or(Err(OTelSdkError::Timeout(bound))) };
    TokioContext::new(timed, runtime.clone()).await
}

/// Delivers spans.
pub(super) struct SpanDelivery<E> {
    pub(super) exporter: E,
    pub(super) runtime: Handle,
    pub(super) bound: Duration,
    pub(super) deliveries: Arc<Deliveries>,
}

impl<E> fmt::Debug for SpanDelivery<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanDelivery").finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for SpanDelivery<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = bounded(&self.runtime, self.bound, self.exporter.export(batch)).await;
        self.deliveries.record(&result, spans);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Delivers metrics.
pub(super) struct MetricDelivery<E> {
    pub(super) exporter: E,
    pub(super) runtime: Handle,
    pub(super) bound: Duration,
    pub(super) deliveries: Arc<Deliveries>,
}

impl<E: PushMetricExporter> PushMetricExporter for MetricDelivery<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = bounded(&self.runtime, self.bound, self.exporter.export(metrics)).await;
        self.deliveries.record(&result, 0);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// The queue before the exporter. Spans that exceed it are dropped and counted.
#[derive(Debug)]
pub(super) struct SpanQueue {
    pub(super) batches: BatchSpanProcessor,
    pub(super) deliveries: Arc<Deliveries>,
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.deliveries.admit() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}
