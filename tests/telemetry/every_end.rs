//! Every way in which a request can end, as spans and metrics, over gRPC and over HTTP.

use serde_json::{Value, json};

use super::otlp_receiver::{self, Receiver};
use super::proxy::Proxy;
use super::support::raw_backend::{RawBackend, Signal};
use super::{CALLER, CHAT, TRACE, backend, ended, first_event, outcomes, quick};

fn attempt_of<'a>(spans: &'a [Value], server: &Value) -> &'a Value {
    spans.iter().find(|span| span["parentSpanId"] == server["spanId"]).expect("an attempt")
}

/// Every way in which a request can end, as the collector sees it.
async fn tells_of_every_end(protocol: &str, port: fn(&Receiver) -> u64) {
    let Some(mut receiver) = Receiver::start(None).await else { return };
    let backend = backend(Signal::new()).await;
    let endpoint = format!("http://127.0.0.1:{}", port(&receiver));
    let env = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=m%6C"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("PROXY_DRAIN_TIMEOUT", "200ms"),
    ];
    let mut proxy = Proxy::start(&[backend.address()], &quick(&endpoint, &env)).await;

    let parent =
        format!("traceparent: 00-{TRACE}-{CALLER}-01\r\ntracestate: a=1\r\nbaggage: k=v\r\nx-request-id: plain-1\r\n");
    assert!(proxy.post("/v1/chat/completions", &parent, CHAT).await.contains(" 200 "));
    assert!(proxy.post("/v1/chat/completions?how=stream", "", CHAT).await.contains("[DONE]"));
    assert!(proxy.post("/v1/embeddings", "", r#"{"model":"nobody/has"}"#).await.contains(" 404 "));
    proxy.post("/v1/messages?how=broken", "", CHAT).await;
    let mut left = proxy.send("/v1/completions?how=held", "", CHAT).await;
    first_event(&mut left).await;
    receiver
        .until("the request in flight", |receiver| {
            let backend = receiver.points("proxy.backend.inflight").into_iter().next();
            backend.is_some_and(|point| point["asInt"] == "1" && point["attributes"]["model"] == "org/model")
        })
        .await;
    drop(left);
    receiver.until("the client's leaving", |receiver| outcomes(receiver).contains(&json!("client_left"))).await;
    let mut cut = proxy.send("/v1/chat/completions?how=held", "", CHAT).await;
    first_event(&mut cut).await;
    assert!(proxy.stop().await.success());
    receiver
        .until("the last of it", |r| {
            r.spans_of("SERVER").len() == 6 && r.points("http.server.active_requests").iter().all(|p| p["asInt"] == "0")
        })
        .await;

    spans_are_right(&receiver, &backend);
    metrics_are_right(&receiver);
    for signal in ["traces", "metrics"] {
        let export = receiver.exports_of(signal).next().unwrap();
        assert_eq!(export["via"], if protocol == "grpc" { "grpc" } else { "http" });
        assert_eq!(export["headers"]["x-team"], "ml");
        let encoding = if protocol == "grpc" { "grpc-encoding" } else { "content-encoding" };
        assert_eq!(export["headers"].get(encoding).unwrap_or(&json!("gzip")), "gzip");
        let resource = receiver.resource(signal);
        assert_eq!(resource["service.name"], "inference-proxy");
        assert_eq!(resource["deployment.environment.name"], "test");
        assert_eq!(resource["telemetry.sdk.name"], "opentelemetry");
        assert!(resource["service.instance.id"].as_str().is_some_and(|id| id.len() >= 32), "{resource}");
        let scope = receiver.scope(signal);
        assert_eq!(
            (&scope["name"], &scope["version"]),
            (&json!("lw-inference-proxy"), &json!(env!("CARGO_PKG_VERSION")))
        );
    }
}

fn spans_are_right(receiver: &Receiver, backend: &RawBackend) {
    let (attempts, url) = (receiver.spans_of("CLIENT"), format!("http://{}/v1", backend.address()));
    let plain = ended_with_id(receiver, "plain-1");
    assert_eq!(plain["name"], "POST /v1/chat/completions");
    assert_eq!((plain["traceId"].as_str(), plain["parentSpanId"].as_str()), (Some(TRACE), Some(CALLER)));
    let attributes = &plain["attributes"];
    for (name, value) in [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/v1/chat/completions")),
        ("http.response.status_code", json!(200)),
        ("url.path", json!("/v1/chat/completions")),
        ("url.scheme", json!("http")),
        ("client.address", json!("127.0.0.1")),
        ("proxy.model", json!("org/model")),
        ("proxy.backend.url", json!(url)),
        ("proxy.streamed", json!(false)),
        ("proxy.outcome", json!("complete")),
        ("proxy.request_id", json!("plain-1")),
        ("http.response.body.size", json!(11)),
    ] {
        assert_eq!(attributes[name], value, "{name} of {plain:#}");
    }
    assert!(attributes["proxy.time_to_first_byte"].as_f64().unwrap() > 0.0 && attributes["container.name"].is_string());

    let attempt = attempt_of(&attempts, &plain);
    assert_eq!((&attempt["name"], &attempt["traceId"]), (&json!("chat org/model"), &json!(TRACE)));
    assert_eq!(attempt["attributes"]["url.full"], format!("{url}/chat/completions"));
    for (name, value) in
        [("gen_ai.request.model", "org/model"), ("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "openai")]
    {
        assert_eq!(attempt["attributes"][name], value, "{name} of {attempt:#}");
    }
    for server in receiver.spans_of("SERVER") {
        let named = server["attributes"].as_object().unwrap().keys().find(|name| name.starts_with("gen_ai."));
        assert_eq!(named, None, "a viewer would count one generation twice: {server:#}");
    }
    assert_eq!(attempt["attributes"]["server.port"], backend.address().port());
    assert_eq!(attempt["attributes"]["http.response.status_code"], 200);
    let seen = backend.requests().into_iter().find(|r| r.header("x-request-id") == Some("plain-1")).unwrap();
    let ours = format!("00-{TRACE}-{}-01", attempt["spanId"].as_str().unwrap());
    assert_eq!(seen.header("traceparent"), Some(&*ours));
    assert_eq!((seen.header("tracestate"), seen.header("baggage")), (Some("a=1"), Some("k=v")));

    let streams: Vec<_> =
        receiver.spans_of("SERVER").into_iter().filter(|s| s["attributes"]["proxy.streamed"] == true).collect();
    let complete = streams.iter().find(|span| span["attributes"]["proxy.outcome"] == "complete").unwrap();
    assert_eq!(complete["attributes"]["http.response.status_code"], 200);
    assert_eq!(complete.get("parentSpanId"), None, "a trace of its own");

    let unknown = ended(receiver, "answered_by_proxy");
    assert_eq!(unknown["attributes"]["http.response.status_code"], 404);
    assert_eq!(unknown["attributes"].get("proxy.model"), None, "a caller's name is not believed");
    assert!(!attempts.iter().any(|span| span["parentSpanId"] == unknown["spanId"]));

    for (outcome, error) in [("client_left", false), ("backend_broke", true), ("cut_by_drain", true)] {
        let server = ended(receiver, outcome);
        assert_eq!(server["status"]["code"] == "STATUS_CODE_ERROR", error, "{server:#}");
        assert_eq!(server["attributes"].get("error.type").is_some(), error, "{server:#}");
        assert_eq!(attempt_of(&attempts, &server)["attributes"]["proxy.outcome"], outcome);
    }

    let changes = receiver.spans_of("INTERNAL");
    let registered = changes.iter().find(|span| span["name"] == "routing_table registered").unwrap();
    let event = &registered["events"][0];
    assert_eq!(event["name"], "proxy.backend.registered");
    assert_eq!(event["attributes"]["proxy.models"], json!(["org/model"]));
    assert!(event["attributes"]["proxy.reason"].is_string() && event["attributes"]["container.name"].is_string());
}

fn ended_with_id(receiver: &Receiver, id: &str) -> Value {
    receiver.spans_of("SERVER").into_iter().find(|span| span["attributes"]["proxy.request_id"] == id).expect("the span")
}

fn metrics_are_right(receiver: &Receiver) {
    for (name, kind, unit, monotonic) in [
        ("proxy.requests.total", "sum", "{request}", Some(true)),
        ("proxy.request.duration", "histogram", "s", None),
        ("proxy.backend.inflight", "sum", "{request}", Some(false)),
        ("proxy.backends.active", "gauge", "{backend}", None),
        ("proxy.routing_table.updates", "sum", "{update}", Some(true)),
        ("http.server.request.duration", "histogram", "s", None),
        ("http.server.active_requests", "sum", "{request}", Some(false)),
        ("gen_ai.server.request.duration", "histogram", "s", None),
        ("gen_ai.server.time_to_first_token", "histogram", "s", None),
    ] {
        let metric = receiver.metric(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(metric["unit"], unit, "{name}");
        assert!(metric[kind].is_object(), "{metric:#}");
        assert_eq!(metric[kind].get("isMonotonic").and_then(Value::as_bool).unwrap_or(false), monotonic == Some(true));
        if kind == "histogram" {
            assert_eq!(otlp_receiver::points(&metric)[0]["explicitBounds"].as_array().unwrap().len(), 18, "{name}");
        }
    }
    let bounds =
        otlp_receiver::points(&receiver.metric("proxy.request.duration").unwrap())[0]["explicitBounds"].clone();
    assert_eq!(bounds.as_array().unwrap().last(), Some(&json!(1800.0)));

    let total = |attributes: Value| receiver.point("proxy.requests.total", attributes).map(|p| p["asInt"].clone());
    assert_eq!(total(json!({"model": "org/model", "status_code": 200})), Some(json!("5")));
    assert_eq!(total(json!({"model": "unknown", "status_code": 404})), Some(json!("1")));
    assert_eq!(receiver.points("proxy.requests.total").len(), 2, "each request once");
    let count = |name: &str, attributes: Value| receiver.point(name, attributes).map(|p| p["count"].clone());
    assert_eq!(count("proxy.request.duration", json!({"model": "org/model"})), Some(json!("5")));
    let http = |more: Value| {
        let mut all = json!({"http.request.method": "POST", "url.scheme": "http", "http.response.status_code": 200});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        count("http.server.request.duration", all)
    };
    assert_eq!(http(json!({"http.route": "/v1/chat/completions"})), Some(json!("2")));
    assert_eq!(http(json!({"http.route": "/v1/messages", "error.type": "backend_broke"})), Some(json!("1")));
    assert_eq!(http(json!({"http.route": "/v1/chat/completions", "error.type": "cut_by_drain"})), Some(json!("1")));
    let chat =
        json!({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "org/model"});
    assert_eq!(count("gen_ai.server.request.duration", chat.clone()), Some(json!("2")));
    assert_eq!(count("gen_ai.server.time_to_first_token", chat), Some(json!("2")), "a stream, and one that was cut");
    assert!(receiver.point("proxy.routing_table.updates", json!({"action": "registered"})).is_some());
    let active = json!({"http.request.method": "POST", "url.scheme": "http"});
    assert_eq!(receiver.point("http.server.active_requests", active).unwrap()["asInt"], "0");
}

#[tokio::test]
async fn a_collector_hears_of_every_end_over_grpc() {
    tells_of_every_end("grpc", |receiver| receiver.grpc).await;
}

#[tokio::test]
async fn a_collector_hears_of_every_end_over_http() {
    tells_of_every_end("http/protobuf", |receiver| receiver.http).await;
}
