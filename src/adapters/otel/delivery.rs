//! The way to a collector that may be slow, hang or be away: bounded in time and in memory, and one line of log for
//! each change between good and bad.

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

/// How the deliveries of one signal go.
#[derive(Debug)]
pub(super) struct Deliveries {
    signal: &'static str,
    failing: AtomicBool,
    /// Spans that wait or are being sent.
    pending: AtomicUsize,
    /// The most that may be so.
    most_pending: usize,
    full: AtomicBool,
    dropped: AtomicU64,
}

impl Deliveries {
    pub(super) fn new(signal: &'static str, most_pending: usize) -> Arc<Self> {
        Arc::new(Self {
            signal,
            failing: AtomicBool::new(false),
            pending: AtomicUsize::new(0),
            most_pending,
            full: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        })
    }

    /// Takes a place in the queue, or counts a span as dropped.
    fn admit(&self) -> bool {
        if self.pending.fetch_add(1, Ordering::Relaxed) < self.most_pending {
            return true;
        }
        self.pending.fetch_sub(1, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if !self.full.swap(true, Ordering::Relaxed) {
            warn!(queue = self.most_pending, "spans come faster than the collector takes them: they are dropped");
        }
        false
    }

    /// Notes what became of an export of so many spans.
    fn note(&self, result: &OTelSdkResult, spans: usize) {
        self.pending.fetch_sub(spans, Ordering::Relaxed);
        match result {
            Ok(()) => {
                let (failed, full) = (self.failing.swap(false, Ordering::Relaxed), self.full.load(Ordering::Relaxed));
                let room = full && self.pending.load(Ordering::Relaxed) < self.most_pending / 2;
                if failed || room {
                    self.full.store(false, Ordering::Relaxed);
                    let dropped_spans = self.dropped.swap(0, Ordering::Relaxed);
                    info!(signal = self.signal, dropped_spans, "telemetry is delivered again");
                }
            }
            Err(error) => {
                self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    warn!(signal = self.signal, reason = %error,
                        "telemetry cannot be delivered; what cannot wait is dropped, and the next lines are left out");
                }
            }
        }
    }

    /// How many spans were lost since the last line that said so. Said at the end, if there were any.
    pub(super) fn conclude(&self) {
        let dropped_spans = self.dropped.swap(0, Ordering::Relaxed);
        if dropped_spans > 0 {
            warn!(signal = self.signal, dropped_spans, "telemetry was lost");
        }
    }
}

/// Runs an export on the proxy's runtime, from a thread that has none, within a bound.
async fn bounded(
    runtime: &Handle,
    bound: Duration,
    export: impl Future<Output = OTelSdkResult> + Send,
) -> OTelSdkResult {
    let timed = async { tokio::time::timeout(bound, export).await.unwrap_or(Err(OTelSdkError::Timeout(bound))) };
    TokioContext::new(timed, runtime.clone()).await
}

/// Sends spans.
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
        self.deliveries.note(&result, spans);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Sends metrics.
pub(super) struct MetricDelivery<E> {
    pub(super) exporter: E,
    pub(super) runtime: Handle,
    pub(super) bound: Duration,
    pub(super) deliveries: Arc<Deliveries>,
}

impl<E: PushMetricExporter> PushMetricExporter for MetricDelivery<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = bounded(&self.runtime, self.bound, self.exporter.export(metrics)).await;
        self.deliveries.note(&result, 0);
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

/// The queue before the exporter: spans that find no room are dropped and counted.
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
