//! What a collector receives of the proxy's work, over gRPC and over HTTP.
#![cfg(feature = "otel")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/otlp_receiver.rs"]
mod otlp_receiver;
#[path = "support/proxy_process.rs"]
mod proxy_process;
#[path = "support/raw_backend.rs"]
#[allow(dead_code)]
mod raw_backend;

use std::time::{Duration, Instant};

use otlp_receiver::Receiver;
use proxy_process::{ProxyProcess, command};
use raw_backend::{Peer, RawBackend, Signal, nobody, soon};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const MODELS: &str = r#"{"object":"list","data":[{"id":"org/model"}]}"#;
const CHAT: &str = r#"{"model":"org/model","messages":[]}"#;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A backend with one model. A request's path says how it answers; `held` streams until `release`.
async fn backend(release: Signal) -> RawBackend {
    RawBackend::start(move |mut peer| {
        let release = release.clone();
        async move {
            loop {
                let request = peer.request().await?;
                match request.line() {
                    line if line.contains("/v1/models") => json_answer(&mut peer, MODELS).await?,
                    line if line.contains("how=stream") => {
                        stream(&mut peer).await?;
                        peer.send_chunk("data: [DONE]\n\n").await?;
                        peer.send("0\r\n\r\n").await?;
                    }
                    line if line.contains("how=held") => {
                        stream(&mut peer).await?;
                        release.given().await;
                    }
                    line if line.contains("how=broken") => {
                        stream(&mut peer).await?;
                        return peer.reset();
                    }
                    _ => json_answer(&mut peer, r#"{"ok":true}"#).await?,
                }
            }
        }
    })
    .await
}

async fn json_answer(peer: &mut Peer, body: &str) -> std::io::Result<()> {
    let length = body.len();
    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"))
        .await
}

async fn stream(peer: &mut Peer) -> std::io::Result<()> {
    peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    peer.send_chunk("data: {}\n\n").await
}

/// Waits for the first event of a stream.
async fn first_event(socket: &mut tokio::net::TcpStream) {
    let mut seen = Vec::new();
    soon("an event", async {
        while !seen.windows(6).any(|bytes| bytes == b"data: ") {
            assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
        }
    })
    .await;
}

/// Exports soon, so that tests need not wait.
const QUICK: [(&str, &str); 2] = [("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_METRIC_EXPORT_INTERVAL", "100")];

fn quick<'a>(endpoint: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&QUICK[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)], more].concat()
}

fn outcomes(receiver: &Receiver) -> Vec<Value> {
    receiver.spans_of("SERVER").iter().map(|span| span["attributes"]["proxy.outcome"].clone()).collect()
}

fn ended(receiver: &Receiver, outcome: &str) -> Value {
    let spans = receiver.spans_of("SERVER");
    let found = spans.iter().find(|span| span["attributes"]["proxy.outcome"] == outcome);
    found.unwrap_or_else(|| panic!("no span of a request that ended {outcome}: {spans:#?}")).clone()
}

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
    let mut proxy = ProxyProcess::start(&[backend.address()], &quick(&endpoint, &env)).await;

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
        ("gen_ai.request.model", json!("org/model")),
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("openai")),
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
    assert_eq!(unknown["attributes"].get("gen_ai.request.model"), None, "a caller's name is not believed");
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

#[tokio::test]
async fn https_collectors_are_reached_both_ways() {
    let folder = std::env::temp_dir().join(format!("lw-otlp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let Some(mut receiver) = Receiver::start(Some(&folder)).await else { return };
    let root = folder.join("root.pem").display().to_string();
    let (traces, metrics) =
        (format!("https://127.0.0.1:{}", receiver.grpc), format!("https://127.0.0.1:{}/v1/metrics", receiver.http));
    let backend = backend(Signal::new()).await;
    let env = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*traces),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &*metrics),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*root),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("https_proxy", "http://127.0.0.1:1"),
    ];
    let proxy = ProxyProcess::start(&[backend.address()], &[&QUICK[..], &env].concat()).await;
    receiver.until("both signals", |r| !r.spans().is_empty() && r.metric("proxy.backends.active").is_some()).await;
    assert_eq!(receiver.exports_of("traces").next().unwrap()["via"], "grpc");
    assert_eq!(receiver.exports_of("metrics").next().unwrap()["via"], "http");
    drop(proxy);
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn the_series_of_a_backend_that_is_gone_end() {
    let Some(mut receiver) = Receiver::start(None).await else { return };
    let backend = backend(Signal::new()).await;
    let endpoint = format!("http://127.0.0.1:{}", receiver.http);
    let proxy = ProxyProcess::start(&[backend.address()], &quick(&endpoint, &[])).await;
    receiver.until("its series", |r| !r.points("proxy.backend.inflight").is_empty()).await;
    backend.stop().await;
    proxy.post("/v1/chat/completions", "", CHAT).await;
    receiver.until("their end", |r| r.points("proxy.backend.inflight").is_empty()).await;
    let none = |r: &Receiver| r.points("proxy.backends.active").first().is_some_and(|p| p["asInt"] == "0");
    receiver.until("no backend", none).await;
    receiver
        .until("the reason", |r| {
            let removed = r.spans_of("INTERNAL").into_iter().find(|span| span["name"] == "routing_table removed");
            removed.is_some_and(|span| span["events"][0]["attributes"]["proxy.reason"].as_str().unwrap().len() > 3)
        })
        .await;
}

#[tokio::test]
async fn a_request_that_a_backends_drain_cuts_says_so() {
    let Some(mut receiver) = Receiver::start(None).await else { return };
    let ill = Signal::new();
    let backend = {
        let ill = ill.clone();
        RawBackend::start(move |mut peer| {
            let ill = ill.clone();
            async move {
                loop {
                    match peer.request().await?.line() {
                        line if line.contains("/v1/models") && ill.is_given() => {
                            peer.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await?;
                        }
                        line if line.contains("/v1/models") => json_answer(&mut peer, MODELS).await?,
                        _ => {
                            stream(&mut peer).await?;
                            std::future::pending::<()>().await;
                        }
                    }
                }
            }
        })
        .await
    };
    let endpoint = format!("http://127.0.0.1:{}", receiver.http);
    let proxy = ProxyProcess::start(&[backend.address()], &quick(&endpoint, &[("PROXY_DRAIN_TIMEOUT", "100ms")])).await;
    let mut client = proxy.send("/v1/chat/completions", "", CHAT).await;
    first_event(&mut client).await;
    ill.give();
    receiver.until("the cut", |r| outcomes(r).contains(&json!("cut_by_drain"))).await;
    receiver.until("the end of its series", |r| r.points("proxy.backend.inflight").is_empty()).await;
    let action = |action: &str| json!({"action": action});
    for name in ["registered", "draining", "removed"] {
        assert!(receiver.point("proxy.routing_table.updates", action(name)).is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_trace_that_the_caller_does_not_record_is_passed_on_unrecorded_and_metrics_go_on() {
    let Some(mut receiver) = Receiver::start(None).await else { return };
    let backend = backend(Signal::new()).await;
    let endpoint = format!("http://127.0.0.1:{}", receiver.http);
    let proxy = ProxyProcess::start(&[backend.address()], &quick(&endpoint, &[])).await;
    let parent = format!("traceparent: 00-{TRACE}-{CALLER}-00\r\n");
    proxy.post("/v1/chat/completions", &parent, CHAT).await;
    receiver.until("the count", |r| !r.points("proxy.requests.total").is_empty()).await;
    assert!(receiver.spans_of("SERVER").is_empty());
    let requests = backend.requests();
    let passed = requests.iter().find_map(|request| request.header("traceparent")).unwrap();
    assert!(passed.starts_with(&format!("00-{TRACE}-")) && passed.ends_with("-00") && !passed.contains(CALLER));
}

#[tokio::test]
async fn lines_of_log_name_trace_and_span() {
    let Some(mut receiver) = Receiver::start(None).await else { return };
    let backend = backend(Signal::new()).await;
    let endpoint = format!("http://127.0.0.1:{}", receiver.http);
    let proxy = ProxyProcess::start(&[backend.address()], &quick(&endpoint, &[])).await;
    proxy.post("/v1/messages?how=broken", "", CHAT).await;
    receiver.until("the span", |r| !r.spans_of("SERVER").is_empty()).await;
    let span = ended(&receiver, "backend_broke");
    for text in ["broke off in the middle", "request finished"] {
        let line =
            proxy.logged(|line| line.contains(text) && line.contains("backend_broke") | line.contains("broke off"));
        let line: Value = serde_json::from_str(&line.await).unwrap();
        assert_eq!((&line["trace_id"], &line["span_id"]), (&span["traceId"], &span["spanId"]));
    }
}

/// A collector that takes connections and never says a word.
async fn mute() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}

#[tokio::test]
async fn a_collector_that_hangs_or_is_away_costs_no_request_and_not_the_stop() {
    let (hanging, _listener) = mute().await;
    let away = format!("http://{}", nobody());
    for endpoint in [hanging, away] {
        for protocol in ["grpc", "http/protobuf"] {
            let backend = backend(Signal::new()).await;
            let env = [
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
                ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ];
            let mut proxy = ProxyProcess::start(&[backend.address()], &quick(&endpoint, &env)).await;
            for _ in 0..40 {
                let began = Instant::now();
                assert!(proxy.post("/v1/chat/completions", "", CHAT).await.contains(" 200 "));
                assert!(began.elapsed() < Duration::from_secs(2), "{endpoint} {protocol}");
            }
            let began = Instant::now();
            assert!(proxy.stop().await.success());
            assert!(began.elapsed() < Duration::from_secs(6), "{endpoint} {protocol}: {:?}", began.elapsed());
            let log = proxy.log();
            let said = |text: &str| log.iter().filter(|line| line.contains(text)).count();
            assert!(said("telemetry cannot be delivered") <= 2, "once for a signal: {log:#?}");
            assert!(said("they are dropped") <= 1, "{log:#?}");
            assert!(said("telemetry was lost") == 1 || said("did not take the last") == 1, "{log:#?}");
        }
    }
}

#[tokio::test]
async fn without_an_endpoint_there_is_no_thread_more() {
    let backend = backend(Signal::new()).await;
    let threads = async |env: &[(&str, &str)]| {
        let proxy = ProxyProcess::start(&[backend.address()], env).await;
        let names: Vec<_> = proxy.thread_names();
        names.into_iter().filter(|name| name.starts_with("OpenTelemetry")).count()
    };
    assert_eq!(threads(&[]).await, 0);
    assert_eq!(threads(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "always_on")]).await, 0);
    let (hanging, _listener) = mute().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*hanging);
    assert_eq!(threads(&[endpoint, ("OTEL_SDK_DISABLED", "true")]).await, 0);
    assert_eq!(threads(&[endpoint]).await, 2);
    assert_eq!(threads(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]).await, 1);
}

#[tokio::test]
async fn a_value_that_cannot_be_read_stops_the_start() {
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
    ] {
        let ended = command(&[(variable, value), ("DOCKER_HOST", "tcp://127.0.0.1:1")]).output().await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{said}");
        assert!(said.starts_with(variable) && said.trim_end().lines().count() == 1, "{said}");
    }
    let missing =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/none.pem")];
    let ended = command(&missing).output().await.unwrap();
    assert_eq!(ended.status.code(), Some(64));
    assert!(String::from_utf8(ended.stderr).unwrap().starts_with("/none.pem: "));
}
