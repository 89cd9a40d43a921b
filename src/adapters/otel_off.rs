//! What stands in the place of telemetry in a build without the feature `otel`.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ports::telemetry::{NoTelemetry, Telemetry};

/// The variables that ask for telemetry.
const ENDPOINTS: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];

/// Nothing can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtelSettings(Infallible);

/// Telemetry was asked of a build that has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtelSettingError(&'static str);

impl fmt::Display for OtelSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is set, but this build has no telemetry; unset it, or build with --features otel", self.0)
    }
}

impl std::error::Error for OtelSettingError {}

impl OtelSettings {
    /// Refuses what this build cannot do.
    ///
    /// # Errors
    /// An endpoint is set.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, OtelSettingError> {
        match ENDPOINTS.into_iter().find(|name| get(name).is_some_and(|value| !value.is_empty())) {
            Some(name) => Err(OtelSettingError(name)),
            None => Ok(None),
        }
    }
}

/// There is nothing to send.
pub struct Flush(());

impl Flush {
    /// Does nothing.
    pub async fn flush(self, _: Duration) {}
}

/// The telemetry that is off.
///
/// # Errors
/// None.
pub fn start(_: Option<&OtelSettings>) -> Result<(Arc<dyn Telemetry>, Flush), Infallible> {
    Ok((Arc::new(NoTelemetry), Flush(())))
}
