//! The stand-in for `otel` in a build without that feature.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ports::telemetry::{NoTelemetry, Telemetry};

/// The variables that turn telemetry on.
const ENDPOINTS: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];

/// Has no value: nothing can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtelSettings(Infallible);

/// A variable asks for telemetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtelSettingError(&'static str);

impl fmt::Display for OtelSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is set, but this build has no telemetry; unset it, or build with --features otel", self.0)
    }
}

impl std::error::Error for OtelSettingError {}

impl OtelSettings {
    /// Returns an error if an endpoint is set.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, OtelSettingError> {
        match ENDPOINTS.into_iter().find(|name| get(name).is_some_and(|value| !value.is_empty())) {
            Some(name) => Err(OtelSettingError(name)),
            None => Ok(None),
        }
    }
}

pub struct Flush(());

impl Flush {
    pub async fn flush(self, _: Duration) {}
}

/// Returns telemetry that records nothing.
pub fn start(_: Option<&OtelSettings>) -> Result<(Arc<dyn Telemetry>, Flush), Infallible> {
    Ok((Arc::new(NoTelemetry), Flush(())))
}
