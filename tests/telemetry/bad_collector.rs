//! Collectors that hang or are away: no request waits for them, and the log says it once.

use super::proxy::Proxy;
use super::support::raw_backend::{Signal, nobody};
use super::{CHAT, backend, mute, quick};

/// How many requests are made: more than fit into the queue of spans.
const REQUESTS: usize = 40;
/// Little room, so that it is full soon.
const SMALL_QUEUE: [(&str, &str); 2] = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
/// Longer than any wait of these tests: a request or an end that waits for an export does not come in time.
const PATIENT: [(&str, &str); 3] = [
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "60000"),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "60000"),
];

async fn asks(proxy: &Proxy) {
    for _ in 0..REQUESTS {
        assert!(proxy.post("/v1/chat/completions", "", CHAT).await.contains(" 200 "));
    }
}

fn said(proxy: &Proxy, text: &str) -> usize {
    proxy.log().iter().filter(|line| line.contains(text)).count()
}

#[tokio::test]
async fn a_collector_that_hangs_or_is_away_costs_no_request_and_not_the_stop() {
    let (hanging, _listener) = mute().await;
    let away = format!("http://{}", nobody());
    for endpoint in [hanging, away] {
        for protocol in ["grpc", "http/protobuf"] {
            let backend = backend(Signal::new()).await;
            let env = [&[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)][..], &SMALL_QUEUE, &PATIENT].concat();
            let mut proxy = Proxy::start(&[backend.address()], &quick(&endpoint, &env)).await;
            asks(&proxy).await;
            assert!(proxy.stop().await.success());
            let lost = said(&proxy, "telemetry dropped") + said(&proxy, "telemetry flush timed out");
            assert!(lost >= 1, "{endpoint} {protocol}: {:#?}", proxy.log());
        }
    }
}

#[tokio::test]
async fn the_log_says_once_for_a_signal_that_a_collector_hangs() {
    let (hanging, _listener) = mute().await;
    let backend = backend(Signal::new()).await;
    let env = [&[("OTEL_EXPORTER_OTLP_TIMEOUT", "100")][..], &SMALL_QUEUE].concat();
    let mut proxy = Proxy::start(&[backend.address()], &quick(&hanging, &env)).await;
    for signal in ["traces", "metrics"] {
        asks(&proxy).await;
        proxy.logged(|line| line.contains("telemetry export failed") && line.contains(signal)).await;
    }
    asks(&proxy).await;
    assert!(proxy.stop().await.success());
    assert_eq!(said(&proxy, "telemetry export failed"), 2, "{:#?}", proxy.log());
    assert!(said(&proxy, "dropping spans") <= 1, "{:#?}", proxy.log());
}
