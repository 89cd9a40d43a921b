//! Logging to standard output, as JSON or text.

use std::io::{IsTerminal, stdout};

use app::settings::{LogFormat, SettingError, Settings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

const DEFAULT_FILTER: &str = "info";

/// Installs the global subscriber.
///
/// # Errors
/// `RUST_LOG` is invalid.
pub fn start(settings: &Settings) -> Result<(), SettingError> {
    let text = settings.log_filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(text).map_err(|_| SettingError {
        variable: "RUST_LOG",
        value: text.chars().flat_map(char::escape_default).collect(),
        expected: "a level or a list of targets with levels",
        example: "lw_inference_proxy=debug",
    })?;
    let json = match settings.log_format {
        LogFormat::Auto => !stdout().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = Registry::default().with(filter);
    let _ = match json {
        true => tracing::subscriber::set_global_default(lines.with(fmt::layer().json().flatten_event(true))),
        false => tracing::subscriber::set_global_default(lines.with(fmt::layer().with_target(false))),
    };
    Ok(())
}
