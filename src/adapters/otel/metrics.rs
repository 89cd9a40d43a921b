//! Metrics: names, units, buckets and attributes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::model_name::ModelName;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider, UpDownCounter};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use ports::telemetry::{Attempt, Outcome, RequestFinished, TableChange};

use super::endpoint::Endpoint;
use super::in_flight::{InFlight, InFlightGuard};

/// The buckets of durations in seconds: from an immediate error to a generation of half an hour.
const SECONDS: [f64; 18] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0];
/// The buckets of the time to the first token, in seconds.
const FIRST_TOKEN_SECONDS: [f64; 18] =
    [0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 300.0];
/// The model of requests without a known one: callers cannot create series.
const UNKNOWN_MODEL: &str = "unknown";
/// The status of a request whose client left before there was one, as in nginx.
const CLIENT_LEFT_STATUS: u16 = 499;

pub(super) struct Metrics {
    requests: Counter<u64>,
    duration: Histogram<f64>,
    table_updates: Counter<u64>,
    http_duration: Histogram<f64>,
    http_active: UpDownCounter<i64>,
    gen_ai_duration: Histogram<f64>,
    gen_ai_first_token: Histogram<f64>,
    in_flight: Arc<InFlight>,
    backends_active: Arc<AtomicU64>,
}

impl Metrics {
    pub(super) fn new(provider: &SdkMeterProvider) -> Self {
        let meter = provider.meter_with_scope(super::scope());
        let (in_flight, backends_active) = (Arc::new(InFlight::default()), Arc::new(AtomicU64::new(0)));
        observe_in_flight(&meter, Arc::clone(&in_flight));
        observe_active(&meter, Arc::clone(&backends_active));
        let seconds = |name: &'static str, what: &'static str, bounds: &[f64]| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(bounds.to_vec()).build()
        };
        Self {
            requests: meter
                .u64_counter("proxy.requests.total")
                .with_unit("{request}")
                .with_description("Requests that are over, each counted once, whatever became of it")
                .build(),
            duration: seconds("proxy.request.duration", "From a request's head to the end of its answer", &SECONDS),
            table_updates: meter
                .u64_counter("proxy.routing_table.updates")
                .with_unit("{update}")
                .with_description("Changes of the routing table")
                .build(),
            http_duration: seconds("http.server.request.duration", "Duration of HTTP server requests", &SECONDS),
            http_active: meter
                .i64_up_down_counter("http.server.active_requests")
                .with_unit("{request}")
                .with_description("HTTP server requests that are not over")
                .build(),
            gen_ai_duration: seconds(
                "gen_ai.server.request.duration",
                "Generative AI server request duration such as time-to-last byte or last output token",
                &SECONDS,
            ),
            gen_ai_first_token: seconds(
                "gen_ai.server.time_to_first_token",
                "From a request's head to the first byte of its stream, for streams that succeeded",
                &FIRST_TOKEN_SECONDS,
            ),
            in_flight,
            backends_active,
        }
    }

    pub(super) fn request_began(&self, method: &'static str) {
        self.http_active.add(1, &active(method));
    }

    pub(super) fn attempt(&self, attempt: &Attempt<'_>) -> InFlightGuard {
        self.in_flight.enter(attempt.registration, attempt.container, attempt.model)
    }

    pub(super) fn request_over(&self, method: &'static str, endpoint: &Endpoint, finished: &RequestFinished) {
        let seconds = finished.duration.as_secs_f64();
        self.http_active.add(-1, &active(method));

        let model = KeyValue::new("model", finished.model.as_ref().map_or_else(|| UNKNOWN_MODEL.into(), name));
        let status = finished.status.map_or(CLIENT_LEFT_STATUS, |status| status.as_u16());
        self.duration.record(seconds, std::slice::from_ref(&model));
        self.requests.add(1, &[model, KeyValue::new("status_code", i64::from(status))]);

        let mut http = Vec::with_capacity(5);
        http.extend(active(method));
        http.extend(finished.status.map(|s| KeyValue::new("http.response.status_code", i64::from(s.as_u16()))));
        http.extend(endpoint.route.map(|route| KeyValue::new("http.route", route)));
        http.extend(server_error(finished).map(|error| KeyValue::new("error.type", error)));
        self.http_duration.record(seconds, &http);

        if let (Some(model), Some(operation)) = (&finished.model, endpoint.operation) {
            self.generation_over(model, operation, endpoint.provider, finished);
        }
    }

    fn generation_over(
        &self,
        model: &ModelName,
        operation: &'static str,
        provider: &'static str,
        finished: &RequestFinished,
    ) {
        let attributes = [
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.provider.name", provider),
            KeyValue::new("gen_ai.request.model", name(model)),
        ];
        let succeeded = finished.status.is_some_and(|status| status.is_success());
        if let Some(first) = finished.first_byte.filter(|_| finished.streamed && succeeded) {
            self.gen_ai_first_token.record(first.as_secs_f64(), &attributes);
        }
        let mut attributes = Vec::from(attributes);
        attributes.extend(error_type(finished).map(|error| KeyValue::new("error.type", error)));
        self.gen_ai_duration.record(finished.duration.as_secs_f64(), &attributes);
    }

    pub(super) fn table_changed(&self, change: &TableChange) {
        self.table_updates.add(1, &[KeyValue::new("action", change.action.as_str())]);
        self.in_flight.table_changed(change);
    }

    pub(super) fn backends_active(&self, count: usize) {
        self.backends_active.store(count as u64, Ordering::Relaxed);
    }
}

/// Observes the counts at each export, so that the series of a removed backend end.
fn observe_in_flight(meter: &Meter, in_flight: Arc<InFlight>) {
    meter
        .i64_observable_up_down_counter("proxy.backend.inflight")
        .with_unit("{request}")
        .with_description("Requests at a backend, from the attempt to the end of the answer")
        .with_callback(move |observer| {
            for ((container, model), count) in in_flight.counts() {
                observer.observe(count, &[KeyValue::new("model", name(&model)), KeyValue::new("backend", container)]);
            }
        })
        .build();
}

fn observe_active(meter: &Meter, active: Arc<AtomicU64>) {
    meter
        .u64_observable_gauge("proxy.backends.active")
        .with_unit("{backend}")
        .with_description("Backends that take requests")
        .with_callback(move |observer| observer.observe(active.load(Ordering::Relaxed), &[]))
        .build();
}

pub(super) fn name(model: &ModelName) -> opentelemetry::Value {
    opentelemetry::Value::from(Arc::<str>::from(model))
}

fn active(method: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("http.request.method", method), KeyValue::new("url.scheme", "http")]
}

/// Returns `error.type` for an error of the proxy or a backend.
pub(super) fn server_error(finished: &RequestFinished) -> Option<String> {
    match (finished.outcome, finished.status) {
        (Outcome::BackendBroke | Outcome::ForceClosed, _) => Some(finished.outcome.as_str().to_owned()),
        (_, Some(status)) if status.is_server_error() => Some(status.as_str().to_owned()),
        _ => None,
    }
}

/// Returns `error.type` for any reason that kept a generation from its end.
fn error_type(finished: &RequestFinished) -> Option<String> {
    server_error(finished).or_else(|| match (finished.outcome, finished.status) {
        (Outcome::ClientLeft, _) => Some(finished.outcome.as_str().to_owned()),
        (_, Some(status)) if status.is_client_error() => Some(status.as_str().to_owned()),
        _ => None,
    })
}
