//! Telemetry that is off, and settings that cannot be read.

use super::proxy::Proxy;
use super::support::proxy_process::command;
use super::support::raw_backend::Signal;
use super::{backend, mute};

#[tokio::test]
async fn without_an_endpoint_there_is_no_thread_more() {
    let backend = backend(Signal::new()).await;
    let threads = async |env: &[(&str, &str)]| {
        let proxy = Proxy::start(&[backend.address()], env).await;
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
        let ended =
            command(&[]).envs([(variable, value), ("DOCKER_HOST", "tcp://127.0.0.1:1")]).output().await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{said}");
        assert!(said.starts_with(variable) && said.trim_end().lines().count() == 1, "{said}");
    }
    let missing =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/none.pem")];
    let ended = command(&[]).envs(missing).output().await.unwrap();
    assert_eq!(ended.status.code(), Some(64));
    assert!(String::from_utf8(ended.stderr).unwrap().starts_with("/none.pem: "));
}
