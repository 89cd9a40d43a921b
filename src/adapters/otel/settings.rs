//! The settings of telemetry, from OpenTelemetry's "SDK environment variables" and "OTLP exporter".

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::values::{
    ATTRIBUTES, BOOLEAN, COMPRESSION, ENDPOINT, EXPORTER, HEADERS, Kind, MILLISECONDS, OtelSettingError, PROPAGATORS,
    PROTOCOL, Protocol, RATIO, SPANS, Variables,
};

/// The default name of the service.
const SERVICE_NAME: &str = "inference-proxy";
const SERVICE_NAME_KEY: &str = "service.name";
pub(super) const INSTANCE_KEY: &str = "service.instance.id";
/// The default port of OTLP over gRPC.
const GRPC_PORT: u16 = 4317;
/// The specification's default timeout of an export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The specification's defaults of batches of spans.
const BATCH: BatchSettings =
    BatchSettings { delay: Duration::from_secs(5), queue: 2048, batch: 512, timeout: Duration::from_secs(30) };
/// The specification's default interval and timeout of exports of metrics.
const METRICS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30));

#[derive(Debug, Clone, PartialEq)]
pub struct OtelSettings {
    /// The attributes of the resource, with the service's name.
    pub resource: Vec<(String, String)>,
    /// The export of traces; `None`: off.
    pub traces: Option<SignalSettings>,
    /// The export of metrics; `None`: off.
    pub metrics: Option<SignalSettings>,
    pub sampler: SamplerSetting,
    pub batch: BatchSettings,
    pub metric_interval: Duration,
    /// The timeout of one export of metrics, retries included.
    pub metric_timeout: Duration,
    /// Whether counters and histograms report the change since the last export, rather than the total.
    pub delta: bool,
    /// Whether requests continue the caller's trace, and pass it on.
    pub trace_context: bool,
}

/// The export of one signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalSettings {
    /// The whole URL for HTTP; scheme, host and port for gRPC.
    pub endpoint: Uri,
    pub protocol: Protocol,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The timeout of one attempt.
    pub timeout: Duration,
    pub gzip: bool,
    /// The root of an https endpoint's certificate, instead of the system's: a PEM file.
    pub certificate: Option<PathBuf>,
    /// The client's certificate and key: PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The endpoint and protocol for a log line, without user, password and query, which may be secret.
impl fmt::Display for SignalSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.endpoint.host().unwrap_or_default();
        write!(f, "{}://{host}", self.endpoint.scheme_str().unwrap_or_default())?;
        if let Some(port) = self.endpoint.port_u16() {
            write!(f, ":{port}")?;
        }
        match self.protocol {
            Protocol::Grpc => f.write_str(" over grpc"),
            Protocol::Http => write!(f, "{} over http/protobuf", self.endpoint.path()),
        }
    }
}

/// `OTEL_TRACES_SAMPLER` and its argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerSetting {
    /// The ratio of traces that begin at the proxy, from 0 to 1.
    pub ratio: f64,
    /// Whether the caller's decision applies to the caller's traces.
    pub parent_based: bool,
}

/// `OTEL_BSP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// The longest time that a span waits.
    pub delay: Duration,
    /// How many spans may wait; more are dropped and counted.
    pub queue: usize,
    /// How many spans one export has.
    pub batch: usize,
    /// The timeout of one export, retries included.
    pub timeout: Duration,
}

impl OtelSettings {
    /// Returns the instance's id from the attributes.
    pub(super) fn instance(&self) -> Option<&str> {
        self.resource.iter().find(|(key, _)| key == INSTANCE_KEY).map(|(_, id)| id.as_str()).filter(|id| !id.is_empty())
    }

    /// Reads the variables. Returns `None` if there is no endpoint, or if `OTEL_SDK_DISABLED` is true.
    ///
    /// # Errors
    /// The first invalid variable.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, OtelSettingError> {
        let variables = Variables(&get);
        if variables.read("OTEL_SDK_DISABLED", &BOOLEAN)? == Some(true) {
            return Ok(None);
        }
        let interval = variables.read("OTEL_METRIC_EXPORT_INTERVAL", &MILLISECONDS)?;
        let timeout = variables.read("OTEL_METRIC_EXPORT_TIMEOUT", &MILLISECONDS)?;
        let settings = Self {
            resource: resource(&variables)?,
            traces: signal(&variables, "TRACES", "v1/traces")?,
            metrics: signal(&variables, "METRICS", "v1/metrics")?,
            sampler: sampler(&variables)?,
            batch: batch(&variables)?,
            metric_interval: interval.unwrap_or(METRICS.0),
            metric_timeout: timeout.unwrap_or(METRICS.1),
            delta: variables.read("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", &TEMPORALITY)?.unwrap_or(false),
            trace_context: variables.read("OTEL_PROPAGATORS", &PROPAGATORS)?.unwrap_or(true),
        };
        Ok((settings.traces.is_some() || settings.metrics.is_some()).then_some(settings))
    }
}

const TEMPORALITY: Kind<bool> = Kind {
    parse: |text| match () {
        () if text.eq_ignore_ascii_case("cumulative") => Some(false),
        () if text.eq_ignore_ascii_case("delta") => Some(true),
        () => None,
    },
    expected: "cumulative or delta",
    example: "delta",
    secret: false,
};

/// The sampler without its argument: its ratio, unless that is the argument, and whether the parent decides.
const SAMPLER: Kind<(Option<f64>, bool)> = Kind {
    parse: |text| match text {
        "always_on" => Some((Some(1.0), false)),
        "always_off" => Some((Some(0.0), false)),
        "traceidratio" => Some((None, false)),
        "parentbased_always_on" => Some((Some(1.0), true)),
        "parentbased_always_off" => Some((Some(0.0), true)),
        "parentbased_traceidratio" => Some((None, true)),
        _ => None,
    },
    expected: "always_on, always_off or traceidratio, or one of them with parentbased_ before it",
    example: "parentbased_traceidratio",
    secret: false,
};

fn sampler(variables: &Variables<'_>) -> Result<SamplerSetting, OtelSettingError> {
    let (fixed, parent_based) = variables.read("OTEL_TRACES_SAMPLER", &SAMPLER)?.unwrap_or((Some(1.0), true));
    let ratio = match fixed {
        Some(ratio) => ratio,
        None => variables.read("OTEL_TRACES_SAMPLER_ARG", &RATIO)?.unwrap_or(1.0),
    };
    Ok(SamplerSetting { ratio, parent_based })
}

fn batch(variables: &Variables<'_>) -> Result<BatchSettings, OtelSettingError> {
    let queue = variables.read("OTEL_BSP_MAX_QUEUE_SIZE", &SPANS)?.unwrap_or(BATCH.queue);
    let name = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
    let batch = variables.read(name, &SPANS)?;
    if let Some(batch) = batch.filter(|batch| *batch > queue) {
        let kind = Kind { expected: "no more than OTEL_BSP_MAX_QUEUE_SIZE", example: "512", ..SPANS };
        return Err(kind.error(name, &batch.to_string()));
    }
    Ok(BatchSettings {
        delay: variables.read("OTEL_BSP_SCHEDULE_DELAY", &MILLISECONDS)?.unwrap_or(BATCH.delay),
        timeout: variables.read("OTEL_BSP_EXPORT_TIMEOUT", &MILLISECONDS)?.unwrap_or(BATCH.timeout),
        batch: batch.unwrap_or(BATCH.batch.min(queue)),
        queue,
    })
}

/// Returns the attributes, with the service's name from its own variable, the attributes or the default.
fn resource(variables: &Variables<'_>) -> Result<Vec<(String, String)>, OtelSettingError> {
    let mut attributes = variables.read("OTEL_RESOURCE_ATTRIBUTES", &ATTRIBUTES)?.unwrap_or_default();
    let named = attributes.iter().any(|(key, _)| key == SERVICE_NAME_KEY);
    if let Some(name) = variables.get("OTEL_SERVICE_NAME").or((!named).then(|| SERVICE_NAME.to_owned())) {
        attributes.retain(|(key, _)| key != SERVICE_NAME_KEY);
        attributes.push((SERVICE_NAME_KEY.to_owned(), name));
    }
    Ok(attributes)
}

/// Reads the settings of one signal: its own variables, else the general ones.
fn signal(variables: &Variables<'_>, signal: &str, path: &str) -> Result<Option<SignalSettings>, OtelSettingError> {
    let own = |what: &str| format!("OTEL_EXPORTER_OTLP_{signal}_{what}");
    let general = |what: &str| format!("OTEL_EXPORTER_OTLP_{what}");
    let file = |what: &str| variables.get(&own(what)).or_else(|| variables.get(&general(what))).map(PathBuf::from);

    let wanted = variables.read(&format!("OTEL_{signal}_EXPORTER"), &EXPORTER)?.unwrap_or(true);
    let exact = variables.read(&own("ENDPOINT"), &ENDPOINT)?;
    let base = variables.read(&general("ENDPOINT"), &ENDPOINT)?;
    let protocol = variables.first([&own("PROTOCOL"), &general("PROTOCOL")], &PROTOCOL)?;
    let headers = variables.first([&own("HEADERS"), &general("HEADERS")], &HEADERS)?;
    let timeout = variables.first([&own("TIMEOUT"), &general("TIMEOUT")], &MILLISECONDS)?;
    let gzip = variables.first([&own("COMPRESSION"), &general("COMPRESSION")], &COMPRESSION)?;

    let Some(given) = exact.as_ref().or(base.as_ref()).filter(|_| wanted) else { return Ok(None) };
    let protocol = protocol.unwrap_or(match given.port_u16() {
        Some(GRPC_PORT) => Protocol::Grpc,
        _ => Protocol::Http,
    });
    let endpoint = match (protocol, &exact) {
        (Protocol::Grpc, _) => without_path(given),
        (Protocol::Http, Some(exact)) => Some(exact.clone()),
        (Protocol::Http, None) => with_path(given, path),
    };
    let name = if exact.is_some() { own("ENDPOINT") } else { general("ENDPOINT") };
    Ok(Some(SignalSettings {
        endpoint: endpoint.ok_or_else(|| ENDPOINT.error(&name, &given.to_string()))?,
        protocol,
        headers: headers.unwrap_or_default(),
        timeout: timeout.unwrap_or(EXPORT_TIMEOUT),
        gzip: gzip.unwrap_or(false),
        certificate: file("CERTIFICATE"),
        identity: file("CLIENT_CERTIFICATE").zip(file("CLIENT_KEY")),
    }))
}

/// Removes the path: gRPC has its own.
fn without_path(endpoint: &Uri) -> Option<Uri> {
    let (scheme, authority) = (endpoint.scheme()?.clone(), endpoint.authority()?.clone());
    Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()
}

/// Appends the signal's path to the general endpoint.
fn with_path(endpoint: &Uri, path: &str) -> Option<Uri> {
    let (scheme, authority) = (endpoint.scheme()?.clone(), endpoint.authority()?.clone());
    let path = format!("{}/{path}", endpoint.path().trim_end_matches('/'));
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()
}

#[cfg(test)]
mod tests;
