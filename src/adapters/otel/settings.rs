//! What the standard variables of OpenTelemetry ask for: its specification, sections "SDK environment variables" and
//! "OTLP exporter".

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::values::{
    ATTRIBUTES, BOOLEAN, COMPRESSION, ENDPOINT, EXPORTER, HEADERS, Kind, MILLISECONDS, OtelSettingError, PROPAGATORS,
    PROTOCOL, Protocol, RATIO, SPANS, Variables,
};

/// The name of the service where none is given.
const SERVICE_NAME: &str = "inference-proxy";
/// The key of the service's name among the resource's attributes.
const SERVICE_NAME_KEY: &str = "service.name";
/// The key of the service's instance among them.
pub(super) const INSTANCE_KEY: &str = "service.instance.id";
/// The port on which collectors speak gRPC.
const GRPC_PORT: u16 = 4317;
/// The specification's default for the time that one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The specification's defaults for batches of spans.
const BATCH: BatchSettings =
    BatchSettings { delay: Duration::from_secs(5), queue: 2048, batch: 512, timeout: Duration::from_secs(30) };
/// The specification's default for the time between exports of metrics, and for the time that one may take.
const METRICS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30));

/// What telemetry is sent, where, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct OtelSettings {
    /// The attributes of the resource, the service's name among them.
    pub resource: Vec<(String, String)>,
    /// Where traces go; `None`: nowhere.
    pub traces: Option<SignalSettings>,
    /// Where metrics go; `None`: nowhere.
    pub metrics: Option<SignalSettings>,
    /// Which traces are recorded.
    pub sampler: SamplerSetting,
    /// How spans wait for their export.
    pub batch: BatchSettings,
    /// The time between two exports of metrics.
    pub metric_interval: Duration,
    /// The longest time for one export of metrics, with everything that is tried again.
    pub metric_timeout: Duration,
    /// Whether counts and histograms tell what happened since the last export, rather than since the start.
    pub delta: bool,
    /// Whether the caller's trace is taken up and ours is passed on.
    pub trace_context: bool,
}

/// Where one signal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalSettings {
    /// The whole URL for HTTP; scheme, host and port for gRPC.
    pub endpoint: Uri,
    /// How.
    pub protocol: Protocol,
    /// Headers of every export.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The longest time for one try.
    pub timeout: Duration,
    /// Whether it is compressed.
    pub gzip: bool,
    /// Whom an https endpoint must be signed by, instead of the usual roots: a PEM file.
    pub certificate: Option<PathBuf>,
    /// The certificate and the key that we show: PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Where it goes and how, as a line of log may say it: user, password and query may hold a secret.
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
    /// The share of the traces that begin here, from 0 to 1.
    pub ratio: f64,
    /// Whether a caller's decision holds for the traces that it began.
    pub parent_based: bool,
}

/// `OTEL_BSP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// The longest wait of a span.
    pub delay: Duration,
    /// How many spans wait at most; more are dropped and counted.
    pub queue: usize,
    /// How many spans go at once.
    pub batch: usize,
    /// The longest time for one export, with everything that is tried again.
    pub timeout: Duration,
}

impl OtelSettings {
    /// The instance's name, where the attributes give one.
    pub(super) fn instance(&self) -> Option<&str> {
        self.resource.iter().find(|(key, _)| key == INSTANCE_KEY).map(|(_, id)| id.as_str()).filter(|id| !id.is_empty())
    }

    /// Reads the variables. `None` where there is no endpoint, or where `OTEL_SDK_DISABLED` is true.
    ///
    /// # Errors
    /// The first variable whose value cannot be read.
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

/// The sampler, still without its argument: whether it is by ratio (else the ratio), and whether the parent counts.
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

/// The attributes; the service's name from its own variable, else from the attributes, else the default.
fn resource(variables: &Variables<'_>) -> Result<Vec<(String, String)>, OtelSettingError> {
    let mut attributes = variables.read("OTEL_RESOURCE_ATTRIBUTES", &ATTRIBUTES)?.unwrap_or_default();
    let named = attributes.iter().any(|(key, _)| key == SERVICE_NAME_KEY);
    if let Some(name) = variables.get("OTEL_SERVICE_NAME").or((!named).then(|| SERVICE_NAME.to_owned())) {
        attributes.retain(|(key, _)| key != SERVICE_NAME_KEY);
        attributes.push((SERVICE_NAME_KEY.to_owned(), name));
    }
    Ok(attributes)
}

/// The settings of one signal: its own variables, else the general ones.
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

/// gRPC names its own paths.
fn without_path(endpoint: &Uri) -> Option<Uri> {
    let (scheme, authority) = (endpoint.scheme()?.clone(), endpoint.authority()?.clone());
    Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()
}

/// The signal's path behind that of the general endpoint.
fn with_path(endpoint: &Uri, path: &str) -> Option<Uri> {
    let (scheme, authority) = (endpoint.scheme()?.clone(), endpoint.authority()?.clone());
    let path = format!("{}/{path}", endpoint.path().trim_end_matches('/'));
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()
}

#[cfg(test)]
mod tests;
