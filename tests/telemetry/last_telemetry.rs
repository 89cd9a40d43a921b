//! The end of the process: what was recorded last is sent, within a bound of its own.

use std::time::{Duration, Instant};

use super::proxy::Proxy;
use super::support::raw_backend::{RawBackend, Signal, soon};
use super::{CHAT, backend, first_event, mute};

/// The bound that the program sets (`TELEMETRY_FLUSH` in `src/main.rs`).
const FLUSH: Duration = Duration::from_millis(2500);
/// What a loaded machine may take besides.
const SLACK: Duration = Duration::from_secs(12);
/// Nothing is exported before the end, and an export that hangs does so for longer than any bound of these tests.
const LAZY: [(&str, &str); 5] = [
    ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "600000"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "60000"),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "60000"),
];

/// A collector that takes whatever comes over HTTP.
async fn takes_all() -> RawBackend {
    RawBackend::answering("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").await
}

fn lazy(endpoint: &str) -> Vec<(&str, &str)> {
    [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)][..], &LAZY].concat()
}

/// Whether an export to this path holds the text: protobuf leaves texts as they are.
fn holds(collector: &RawBackend, path: &str, text: &str) -> bool {
    let exports = collector.requests().into_iter().filter(|request| request.line().contains(path));
    exports.into_iter().any(|export| String::from_utf8_lossy(&export.body).contains(text))
}

#[tokio::test]
async fn rule_25_a_collector_gets_the_last_request_before_the_exit() {
    let (collector, release) = (takes_all().await, Signal::new());
    let backend = backend(release.clone()).await;
    let endpoint = format!("http://{}", collector.address());
    let mut proxy = Proxy::start(&[backend.address()], &lazy(&endpoint)).await;
    let mut last = proxy.send("/v1/chat/completions?how=held", "x-request-id: the-last-one\r\n", CHAT).await;
    first_event(&mut last).await;
    assert_eq!(collector.connections(), 0, "nothing is exported yet");
    proxy.tell_to_stop();
    proxy.logged(|line| line.contains("stopping")).await;
    // In flight when the stop begins, and over before it ends.
    drop(last);
    assert!(proxy.ended().await.success());
    assert!(holds(&collector, "/v1/traces", "the-last-one"), "{:?}", collector.requests());
    assert!(holds(&collector, "/v1/metrics", "proxy.requests.total"), "{:?}", collector.requests());
}

#[tokio::test]
async fn rule_25_a_collector_that_hangs_holds_the_exit_up_for_the_flush_alone() {
    for protocol in ["grpc", "http/protobuf"] {
        let (hanging, listener) = mute().await;
        let backend = backend(Signal::new()).await;
        let env = [&lazy(&hanging)[..], &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]].concat();
        let mut proxy = Proxy::start(&[backend.address()], &env).await;
        assert!(proxy.post("/v1/chat/completions", "", CHAT).await.contains(" 200 "));
        let told = Instant::now();
        proxy.tell_to_stop();
        let _asked = soon("an export at the end", listener.accept()).await.unwrap();
        assert!(proxy.ended().await.success());
        let took = told.elapsed();
        println!("rule 25: a collector that hangs over {protocol}: exit {took:?} after the signal");
        assert!(took < FLUSH + SLACK, "{took:?}");
        let log = proxy.log();
        assert!(log.iter().any(|line| line.contains("telemetry flush timed out")), "{log:#?}");
    }
}
