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
    documented("PROXY_PORT", "8080", "port the proxy listens on"),
    documented("PROXY_BIND", "::", "address the proxy listens on; :: takes IPv4 as well"),
    documented(
        "PROXY_DRAIN_TIMEOUT",
        "60s",
        "longest wait for in-flight requests when a backend goes, and when the proxy itself is told to stop",
    ),
    documented(
        "PROXY_STOP_DELAY",
        "0s",
        "how long the proxy still takes requests after it was told to stop, with /readyz at 503",
    ),
    documented(
        "PROXY_READMIT_AFTER",
        "5m",
        "how long after its stop timeout and the drain a container that ignored its stop signal and is healthy is taken back",
    ),
    documented(
        "PROXY_MODELS_REFRESH",
        "30s",
        "how often a backend in service is asked for its models anew, once it is idle",
    ),
    documented(
        "PROXY_REPLICAS",
        "service",
        "which containers with the same model share it: those of one service, off: none, all: all",
    ),
    documented(
        "PROXY_BALANCE",
        "prefix_affinity",
        "how replicas share requests: prefix_affinity sends prompts that begin alike to the same one, least_requests to the least busy",
    ),
    documented("PROXY_MAX_BUFFERED_BODY", "64MiB", "most of one body that is held, or decoded, to find its model"),
    documented(
        "PROXY_MAX_BUFFERED_TOTAL",
        "512MiB",
        "most of all bodies together that is held, decoders included, to find their models",
    ),
    documented("PROXY_MAX_CONNECTIONS", "16384", "most client connections; more are answered 503"),
    documented("PROXY_STATUS", "on", "off: no status page and no JSON at /status"),
    documented("PROXY_LOG_FORMAT", "auto", "json, text, or auto: text on a terminal, JSON elsewhere"),
    documented("RUST_LOG", "info", "which log lines are written, such as debug or lw_inference_proxy=debug"),
    documented(
        "PROXY_BACKENDS",
        "none",
        "base URLs of backends that are no containers, such as http://localhost:8000/v1 or https://box.example/v1, between commas or spaces; without a path: /v1; the URL's host is sent as Host",
    ),
    documented(
        "PROXY_BACKENDS_CA_FILE",
        "none",
        "file of certificates (PEM) that are trusted at https:// backends besides the usual ones",
    ),
    documented("PROXY_DOCKER", "auto", "auto or on: a Docker engine is watched; off: PROXY_BACKENDS alone"),
    documented(
        "PROXY_LABEL_FILTER",
        "none",
        "key=value: only containers with this label are looked at, such as com.docker.compose.project=chat",
    ),
    documented("DOCKER_HOST", "the default socket", "where the engine is, as for the docker command"),
    documented("DOCKER_TLS_VERIFY", "unset", "set to anything: TLS to the engine, as for the docker command"),
    documented("DOCKER_CERT_PATH", "~/.docker", "where ca.pem, cert.pem and key.pem are, as for the docker command"),
    documented(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "unset",
        "URL of an OTLP collector; unset: no telemetry. This and the other OTEL_EXPORTER_OTLP_ variables exist for one \
         signal alone, too: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT and so on",
    ),
    documented("OTEL_EXPORTER_OTLP_PROTOCOL", "by the port", "grpc (which port 4317 means) or http/protobuf"),
    documented("OTEL_EXPORTER_OTLP_HEADERS", "none", "headers of each export: name=value,name=value"),
    documented("OTEL_EXPORTER_OTLP_TIMEOUT", "10000", "longest time for one try to export, in milliseconds"),
    documented("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "gzip or none"),
    documented(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "the usual roots",
        "PEM file that an https collector is checked against",
    ),
    documented("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "none", "PEM file with the certificate shown to the collector"),
    documented("OTEL_EXPORTER_OTLP_CLIENT_KEY", "none", "PEM file with the key of that certificate"),
    documented("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative", "cumulative or delta"),
    documented("OTEL_SERVICE_NAME", "inference-proxy", "name of the service in traces and metrics"),
    documented("OTEL_RESOURCE_ATTRIBUTES", "none", "attributes of the resource: key=value,key=value"),
    documented("OTEL_SDK_DISABLED", "false", "true: no telemetry, whatever else is set"),
    documented("OTEL_TRACES_EXPORTER", "otlp", "otlp or none"),
    documented("OTEL_METRICS_EXPORTER", "otlp", "otlp or none"),
    documented("OTEL_PROPAGATORS", "tracecontext,baggage", "which headers of a caller's trace are taken up; or none"),
    documented(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "always_on, always_off or traceidratio, or one of them with parentbased_ before it",
    ),
    documented("OTEL_TRACES_SAMPLER_ARG", "1.0", "share of the traces for traceidratio, from 0 to 1"),
    documented("OTEL_METRIC_EXPORT_INTERVAL", "60000", "time between exports of metrics, in milliseconds"),
    documented("OTEL_METRIC_EXPORT_TIMEOUT", "30000", "longest time for one export of metrics, in milliseconds"),
    documented("OTEL_BSP_SCHEDULE_DELAY", "5000", "longest time that a span waits for its export, in milliseconds"),
    documented("OTEL_BSP_MAX_QUEUE_SIZE", "2048", "most spans that wait; more are dropped and counted"),
    documented("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512", "most spans that are exported at once"),
    documented("OTEL_BSP_EXPORT_TIMEOUT", "30000", "longest time for one export of spans, in milliseconds"),
];
