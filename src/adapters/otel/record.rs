//! Records one request as spans and metrics.

use std::sync::Arc;

use http::HeaderMap;
use ports::telemetry::{Attempt, RequestFinished, RequestRecord, RequestStart};

use super::Signals;
use super::endpoint::{self, Endpoint};
use super::in_flight::InFlightGuard;
use super::traces::RequestSpans;

pub(super) struct Record {
    signals: Arc<Signals>,
    method: &'static str,
    endpoint: &'static Endpoint,
    spans: Option<RequestSpans>,
    guard: Option<InFlightGuard>,
}

impl Record {
    pub(super) fn begin(signals: &Arc<Signals>, start: &RequestStart<'_>) -> Self {
        let (method, endpoint) = (endpoint::method(start.method), endpoint::endpoint(start.path));
        if let Some(metrics) = &signals.metrics {
            metrics.request_began(method);
        }
        let spans = signals.traces.as_ref().map(|traces| traces.request(start, method, endpoint));
        Self { signals: Arc::clone(signals), method, endpoint, spans, guard: None }
    }
}

impl RequestRecord for Record {
    fn attempt(&mut self, attempt: &Attempt<'_>, headers: &mut HeaderMap) {
        self.guard = self.signals.metrics.as_ref().map(|metrics| metrics.attempt(attempt));
        if let (Some(traces), Some(spans)) = (&self.signals.traces, &mut self.spans) {
            traces.attempt(spans, attempt, self.endpoint, headers);
        }
    }

    fn attempt_failed(&mut self, reason: &str) {
        self.guard = None;
        if let Some(spans) = &mut self.spans {
            spans.attempt_failed(reason);
        }
    }

    fn first_byte(&mut self) {}

    fn finish(self: Box<Self>, finished: &RequestFinished) {
        let Self { signals, method, endpoint, spans, guard } = *self;
        drop(guard);
        if let Some(spans) = spans {
            spans.finish(finished);
        }
        if let Some(metrics) = &signals.metrics {
            metrics.request_over(method, endpoint, finished);
        }
    }

    fn trace_ids(&self) -> Option<(String, String)> {
        self.spans.as_ref().map(RequestSpans::ids)
    }
}
