//! The command line and the environment.

pub mod demo;
pub mod descriptors;
pub mod doctor;
pub mod healthcheck;
mod local_client;
pub mod logging;
pub mod out;
pub mod report_text;
pub mod status;

use std::io;
use std::process::ExitCode;

use app::settings::SETTINGS;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use healthcheck::ProbeTarget;

/// The exit code for an invalid command line or setting (`EX_USAGE` of sysexits.h).
pub const EX_USAGE: u8 = 64;

/// One endpoint for the OpenAI- and Anthropic-compatible inference servers of a Docker host. The proxy lists
/// the models of every healthy container labeled inference.enable=true, and routes each request by its model.
#[derive(Parser)]
#[command(name = "lw-inference-proxy", version, after_help = settings_help(), max_term_width = 80)]
struct CommandLine {
    #[command(subcommand)]
    task: Option<Task>,
}

/// What the program does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Run the proxy (the default)
    Serve,
    /// Probe the proxy, or another server: exit code 0 if it is healthy, else 1
    Healthcheck(ProbeTarget),
    /// Print models and containers; exit code 1 if anything needs attention
    Status,
    /// Check engine, proxy and containers; exit code 1 if anything needs attention
    Doctor,
    /// Run the proxy in front of sample servers: no Docker, no GPU
    Demo {
        /// Servers for each model, which share its requests
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
        replicas: u8,
    },
    /// Run one sample server, which returns canned responses
    Sample {
        /// Port to listen on, on all addresses
        #[arg(long, default_value_t = 8000)]
        port: u16,
        /// Models to serve, separated by commas
        #[arg(long, value_delimiter = ',', default_value = "sample")]
        models: Vec<String>,
    },
}

/// Parses the command line.
///
/// # Errors
/// Returns the exit code after printing help, the version or a usage error.
pub fn task() -> Result<Task, ExitCode> {
    let parsed = CommandLine::try_parse().map_err(|error| {
        // A closed pipe is not a failure; any other failure to write is.
        let written = error.print().or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        });
        match (error.kind(), written) {
            (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Ok(())) => ExitCode::SUCCESS,
            (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Err(error)) => unwritten(&error),
            _ => ExitCode::from(EX_USAGE),
        }
    })?;
    Ok(parsed.task.unwrap_or(Task::Serve))
}

/// Reports that the output cannot be written, and returns the exit code for that.
pub fn unwritten(error: &io::Error) -> ExitCode {
    out::complain(format_args!("the output cannot be written: {error}"));
    ExitCode::FAILURE
}

/// Returns the value of an environment variable. Nothing else reads the environment.
#[allow(clippy::disallowed_methods, reason = "settings begin here; everything else gets them as values")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn settings_help() -> String {
    let lines = SETTINGS
        .iter()
        .map(|setting| format!("\n  {} [default: {}]\n      {}", setting.variable, setting.default, setting.meaning));
    let signals = "Each OTEL_EXPORTER_OTLP_ variable also exists per signal, as OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.";
    format!("Settings are optional environment variables:{}\n\n{signals}", lines.collect::<String>())
}
