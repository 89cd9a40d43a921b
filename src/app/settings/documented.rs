//! Every setting in words, for `--help` and for the README.

/// One setting, for `--help` and for the README.
pub struct Documented {
    /// The variable.
    pub variable: &'static str,
    /// What holds where it is unset.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

const fn documented(variable: &'static str, default: &'static str, meaning: &'static str) -> Documented {
    Documented { variable, default, meaning }
}

/// Every setting that there is.
pub const SETTINGS: &[Documented] = &[
    documented("PROXY_PORT", "8080", "port to listen on"),
    documented("PROXY_BIND", "::", "address to listen on; :: includes IPv4"),
    documented(
        "PROXY_DRAIN_TIMEOUT",
        "60s",
        "longest wait for requests in flight when a backend leaves service or the proxy stops",
    ),
    documented("PROXY_STOP_DELAY", "0s", "time to keep accepting requests after a stop signal, with /readyz at 503"),
    documented(
        "PROXY_READMIT_AFTER",
        "5m",
        "time after the drain until a healthy container that ignored its stop is readmitted",
    ),
    documented("PROXY_MODELS_REFRESH", "30s", "interval at which the models of an idle backend are listed again"),
    documented(
        "PROXY_REPLICAS",
        "service",
        "which containers share a model: service (those of one service), off or all",
    ),
    documented("PROXY_BALANCE", "prefix_affinity", "balancing policy of replicas: prefix_affinity or least_requests"),
    documented(
        "PROXY_MAX_BUFFERED_BODY",
        "64MiB",
        "maximum bytes of one body to buffer or decode while looking for model",
    ),
    documented(
        "PROXY_MAX_BUFFERED_TOTAL",
        "512MiB",
        "maximum bytes to buffer for all requests together, decoders included",
    ),
    documented("PROXY_MAX_CONNECTIONS", "16384", "maximum number of client connections; more are answered 503"),
    documented("PROXY_STATUS", "on", "on or off: whether /status shows the status, as a page and as JSON"),
    documented("PROXY_LOG_FORMAT", "auto", "json, text, or auto: text on a terminal, JSON elsewhere"),
    documented("RUST_LOG", "info", "log filter, such as debug or lw_inference_proxy=debug"),
    documented(
        "PROXY_BACKENDS",
        "none",
        "base URLs of static backends, comma-separated, such as http://localhost:8000/v1",
    ),
    documented("PROXY_BACKENDS_CA_FILE", "none", "PEM file of further certificates to trust at https:// backends"),
    documented("PROXY_DOCKER", "auto", "auto or on: watch a Docker engine; off: serve PROXY_BACKENDS only"),
    documented(
        "PROXY_LABEL_FILTER",
        "none",
        "watch only containers with this label, such as com.docker.compose.project=chat",
    ),
    documented("DOCKER_HOST", "the default socket", "address of the engine, as for the docker command"),
    documented("DOCKER_TLS_VERIFY", "unset", "any value: use TLS to the engine, as for the docker command"),
    documented("DOCKER_CERT_PATH", "~/.docker", "folder of ca.pem, cert.pem and key.pem, as for the docker command"),
    documented("OTEL_EXPORTER_OTLP_ENDPOINT", "unset", "URL of an OTLP collector; unset means no telemetry"),
    documented("OTEL_EXPORTER_OTLP_PROTOCOL", "by the port", "grpc (implied by port 4317) or http/protobuf"),
    documented("OTEL_EXPORTER_OTLP_HEADERS", "none", "headers of each export: name=value,name=value"),
    documented("OTEL_EXPORTER_OTLP_TIMEOUT", "10000", "timeout of one export attempt, in milliseconds"),
    documented("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "gzip or none"),
    documented(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "the usual roots",
        "PEM file of the certificates to trust at an https collector",
    ),
    documented(
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "none",
        "PEM file with the certificate to present to the collector",
    ),
    documented("OTEL_EXPORTER_OTLP_CLIENT_KEY", "none", "PEM file with the key of that certificate"),
    documented("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative", "cumulative or delta"),
    documented("OTEL_SERVICE_NAME", "inference-proxy", "service name in traces and metrics"),
    documented("OTEL_RESOURCE_ATTRIBUTES", "none", "resource attributes: key=value,key=value"),
    documented("OTEL_SDK_DISABLED", "false", "true: no telemetry, regardless of every other setting"),
    documented("OTEL_TRACES_EXPORTER", "otlp", "otlp or none"),
    documented("OTEL_METRICS_EXPORTER", "otlp", "otlp or none"),
    documented("OTEL_PROPAGATORS", "tracecontext,baggage", "headers by which a caller's trace is joined; or none"),
    documented(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "always_on, always_off or traceidratio, optionally prefixed with parentbased_",
    ),
    documented("OTEL_TRACES_SAMPLER_ARG", "1.0", "share of traces that traceidratio samples, from 0 to 1"),
    documented("OTEL_METRIC_EXPORT_INTERVAL", "60000", "interval between exports of metrics, in milliseconds"),
    documented("OTEL_METRIC_EXPORT_TIMEOUT", "30000", "timeout of one export of metrics, in milliseconds"),
    documented("OTEL_BSP_SCHEDULE_DELAY", "5000", "maximum delay before a span is exported, in milliseconds"),
    documented("OTEL_BSP_MAX_QUEUE_SIZE", "2048", "maximum number of queued spans; more are dropped and counted"),
    documented("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512", "maximum number of spans in one export"),
    documented("OTEL_BSP_EXPORT_TIMEOUT", "30000", "timeout of one export of spans, in milliseconds"),
];
