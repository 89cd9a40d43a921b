//! Spans: one for each request, each attempt at a backend, and each change of the routing table.

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use ports::telemetry::{Attempt, RequestFinished, RequestStart, TableAction, TableChange};

use super::endpoint::Endpoint;
use super::metrics::{name, server_error};
use super::trace_parent;

/// The longest path in a span, in characters.
const SHOWN_PATH_BYTES: usize = 256;
/// The most models in an event.
const SHOWN_MODELS: usize = 64;

/// Starts spans.
pub(super) struct Traces {
    tracer: SdkTracer,
    trace_context: bool,
}

pub(super) struct RequestSpans {
    server: Span,
    attempt: Option<AttemptSpan>,
    attempts: i64,
    backend: Option<(String, String)>,
    method: &'static str,
    path: Option<String>,
}

struct AttemptSpan(Span);

impl Traces {
    pub(super) fn new(provider: &SdkTracerProvider, trace_context: bool) -> Self {
        Self { tracer: provider.tracer_with_scope(super::scope()), trace_context }
    }

    fn start(&self, name: String, kind: SpanKind, parent: Option<SpanContext>) -> Span {
        let context = Context::new();
        let context = match parent {
            Some(parent) => context.with_remote_span_context(parent),
            None => context,
        };
        let builder = SpanBuilder { span_kind: Some(kind), name: name.into(), ..SpanBuilder::default() };
        self.tracer.build_with_context(builder, &context)
    }

    /// Starts the span of a request, as a child of the caller's span if there is one.
    pub(super) fn request(&self, start: &RequestStart<'_>, method: &'static str, endpoint: &Endpoint) -> RequestSpans {
        let parent = if self.trace_context { trace_parent::extract(start.headers) } else { None };
        let verb = if method == "_OTHER" { "HTTP" } else { method };
        let name = endpoint.route.map_or_else(|| verb.to_owned(), |route| format!("{verb} {route}"));
        let mut server = self.start(name, SpanKind::Server, parent);
        let mut path = None;
        if server.is_recording() {
            let mut attributes = vec![
                KeyValue::new("http.request.method", method),
                KeyValue::new("url.scheme", "http"),
                KeyValue::new("url.path", shown(start.path)),
                KeyValue::new("client.address", start.peer.ip().to_canonical().to_string()),
                KeyValue::new("proxy.request_id", start.request_id.to_owned()),
            ];
            attributes.extend(endpoint.route.map(|route| KeyValue::new("http.route", route)));
            server.set_attributes(attributes);
            path = Some(shown(start.path));
        }
        RequestSpans { server, attempt: None, attempts: 0, backend: None, method, path }
    }

    /// Starts the span of an attempt, and makes it the parent of the backend's spans.
    pub(super) fn attempt(
        &self,
        spans: &mut RequestSpans,
        attempt: &Attempt<'_>,
        endpoint: &Endpoint,
        headers: &mut http::HeaderMap,
    ) {
        let name = match endpoint.operation {
            Some(operation) => format!("{operation} {}", attempt.model),
            None => spans.method.to_owned(),
        };
        let mut span = self.start(name, SpanKind::Client, Some(spans.server.span_context().clone()));
        if self.trace_context {
            trace_parent::inject(span.span_context(), headers);
        }
        if span.is_recording() {
            let backend = format!("{}://{}{}", attempt.scheme, attempt.address, attempt.base_path);
            let path = spans.path.as_deref().and_then(|path| path.strip_prefix("/v1")).unwrap_or_default();
            let mut attributes = vec![
                KeyValue::new("http.request.method", spans.method),
                KeyValue::new("server.address", attempt.address.ip().to_string()),
                KeyValue::new("server.port", i64::from(attempt.address.port())),
                KeyValue::new("url.full", format!("{backend}{path}")),
                KeyValue::new("container.name", attempt.container.to_owned()),
                KeyValue::new("gen_ai.request.model", self::name(attempt.model)),
                KeyValue::new("proxy.backend.url", backend.clone()),
            ];
            attributes.extend(operation(endpoint));
            if spans.attempts > 0 {
                attributes.push(KeyValue::new("http.request.resend_count", spans.attempts));
            }
            span.set_attributes(attributes);
            spans.backend = Some((backend, attempt.container.to_owned()));
        }
        spans.attempts += 1;
        spans.attempt = Some(AttemptSpan(span));
    }

    /// Records a change of the routing table as a span of its own, with an event.
    pub(super) fn table_changed(&self, change: &TableChange) {
        let mut span = self.start(format!("routing_table {}", change.action.as_str()), SpanKind::Internal, None);
        if !span.is_recording() {
            return;
        }
        let models = change.models.iter().take(SHOWN_MODELS).map(|model| StringValue::from(model.as_str().to_owned()));
        let subject = if change.action == TableAction::Collision { "model" } else { "backend" };
        let attributes = vec![
            KeyValue::new("container.name", change.container.clone()),
            KeyValue::new("proxy.backend.url", format!("{}://{}", change.scheme, change.address)),
            KeyValue::new("proxy.models", Value::Array(Array::String(models.collect()))),
            KeyValue::new("proxy.reason", change.reason.clone()),
        ];
        span.add_event(format!("proxy.{subject}.{}", change.action.as_str()), attributes);
        span.end();
    }
}

impl RequestSpans {
    /// Returns the trace id and span id of the request.
    pub(super) fn ids(&self) -> (String, String) {
        let context = self.server.span_context();
        (context.trace_id().to_string(), context.span_id().to_string())
    }

    /// Ends the last attempt, which got no response.
    pub(super) fn attempt_failed(&mut self, reason: &str) {
        if let Some(AttemptSpan(mut span)) = self.attempt.take() {
            span.set_attribute(KeyValue::new("error.type", "no_answer"));
            span.set_status(Status::error(reason.to_owned()));
            span.end();
        }
    }

    /// Ends the spans of the request.
    pub(super) fn finish(mut self, finished: &RequestFinished) {
        let error = server_error(finished);
        if let Some(AttemptSpan(span)) = &mut self.attempt {
            end(span, finished, error.clone(), Vec::new());
        }
        let mut attributes = Vec::with_capacity(10);
        if let Some((backend, container)) = self.backend.take() {
            attributes.push(KeyValue::new("proxy.backend.url", backend));
            attributes.push(KeyValue::new("container.name", container));
        }
        // Viewers would count one generation twice with `gen_ai.request.model`, which the attempt has.
        attributes.extend(finished.model.as_ref().map(|model| KeyValue::new("proxy.model", name(model))));
        end(&mut self.server, finished, error, attributes);
    }
}

/// Sets the attributes that the spans of a request and of its last attempt share, and ends the span.
fn end(span: &mut Span, finished: &RequestFinished, error: Option<String>, mut attributes: Vec<KeyValue>) {
    if !span.is_recording() {
        return;
    }
    attributes.extend(finished.status.map(|s| KeyValue::new("http.response.status_code", i64::from(s.as_u16()))));
    attributes.push(KeyValue::new("proxy.streamed", finished.streamed));
    attributes.push(KeyValue::new("proxy.outcome", finished.outcome.as_str()));
    attributes
        .push(KeyValue::new("http.response.body.size", i64::try_from(finished.response_bytes).unwrap_or(i64::MAX)));
    if let Some(first) = finished.first_byte {
        attributes.push(KeyValue::new("proxy.time_to_first_byte", first.as_secs_f64()));
    }
    if let Some(error) = error {
        attributes.push(KeyValue::new("error.type", error));
        span.set_status(Status::error(finished.outcome.as_str()));
    }
    span.set_attributes(attributes);
    span.end();
}

fn operation(endpoint: &Endpoint) -> Vec<KeyValue> {
    let named = |operation| {
        vec![
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.provider.name", endpoint.provider),
        ]
    };
    endpoint.operation.map(named).unwrap_or_default()
}

fn shown(path: &str) -> String {
    path.chars().take(SHOWN_PATH_BYTES).collect()
}
