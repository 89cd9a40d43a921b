//! What comes and goes while the proxy runs: series of backends, cut requests, unrecorded traces, lines of log, TLS.

use serde_json::{Value, json};

use super::otlp_receiver::Receiver;
use super::proxy::Proxy;
use super::support::raw_backend::Signal;
use super::{CALLER, CHAT, QUICK, TRACE, backend, ended, first_event, outcomes, quick};

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
    let proxy = Proxy::start(&[backend.address()], &[&QUICK[..], &env].concat()).await;
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
    let proxy = Proxy::start(&[backend.address()], &quick(&endpoint, &[])).await;
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
async fn a_request_that_the_end_of_a_drain_cuts_says_so() {
    let Some(mut receiver) = Receiver::start(None).await else { return };
    let backend = backend(Signal::new()).await;
    let endpoint = format!("http://127.0.0.1:{}", receiver.http);
    let mut proxy = Proxy::start(&[backend.address()], &quick(&endpoint, &[("PROXY_DRAIN_TIMEOUT", "100ms")])).await;
    let mut client = proxy.send("/v1/chat/completions?how=held", "", CHAT).await;
    first_event(&mut client).await;
    proxy.stop().await;
    receiver.until("the cut", |r| outcomes(r).contains(&json!("cut_by_drain"))).await;
}

#[tokio::test]
async fn a_trace_that_the_caller_does_not_record_is_passed_on_unrecorded_and_metrics_go_on() {
    let Some(mut receiver) = Receiver::start(None).await else { return };
    let backend = backend(Signal::new()).await;
    let endpoint = format!("http://127.0.0.1:{}", receiver.http);
    let proxy = Proxy::start(&[backend.address()], &quick(&endpoint, &[])).await;
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
    let proxy = Proxy::start(&[backend.address()], &quick(&endpoint, &[])).await;
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

#[tokio::test]
async fn two_proxies_are_two_instances_unless_they_are_named() {
    let backend = backend(Signal::new()).await;
    let mut instances = Vec::new();
    for named in [None, None, Some("service.instance.id=mine")] {
        let Some(mut receiver) = Receiver::start(None).await else { return };
        let endpoint = format!("http://127.0.0.1:{}", receiver.http);
        let given = named.map(|attributes| ("OTEL_RESOURCE_ATTRIBUTES", attributes));
        let proxy = Proxy::start(&[backend.address()], &quick(&endpoint, given.as_slice())).await;
        receiver.until("metrics", |r| r.metric("proxy.backends.active").is_some()).await;
        instances.push(receiver.resource("metrics")["service.instance.id"].clone());
        drop(proxy);
    }
    assert!(instances[0].is_string() && instances[0] != instances[1], "{instances:?}");
    assert_eq!(instances[2], "mine");
}

#[tokio::test]
async fn the_start_says_where_telemetry_goes_and_no_secret() {
    let backend = backend(Signal::new()).await;
    let env = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:hunter2@127.0.0.1:9/in?token=hunter2"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
    ];
    let proxy = Proxy::start(&[backend.address()], &env).await;
    let line = proxy.logged(|line| line.contains("telemetry started")).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["traces"], "http://127.0.0.1:9/in over http/protobuf");
    assert_eq!(line["metrics"], "http://127.0.0.1:4317 over grpc");
    assert!(line["instance"].is_string() && !proxy.log().iter().any(|line| line.contains("hunter2")), "{line}");
}
