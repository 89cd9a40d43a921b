//! The command line: what is asked of the program, and where its settings come from.

pub mod descriptors;
pub mod healthcheck;
pub mod logging;

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::app::settings::SETTINGS;

/// The exit code for a command line or a setting that cannot be read (`EX_USAGE` of sysexits.h).
pub const EX_USAGE: u8 = 64;

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Run the proxy.
    Serve,
    /// Ask the running proxy whether it lives.
    Healthcheck,
}

/// Reads the command line.
///
/// # Errors
/// The exit code, after help, version or a complaint was printed.
pub fn task() -> Result<Task, ExitCode> {
    let matches = command().try_get_matches().map_err(|said| {
        let _ = said.print();
        match said.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => ExitCode::from(EX_USAGE),
        }
    })?;
    Ok(match matches.subcommand_name() {
        Some("healthcheck") => Task::Healthcheck,
        _ => Task::Serve,
    })
}

/// The value of an environment variable. The one place where the environment is read.
#[allow(clippy::disallowed_methods, reason = "settings begin here; everything else gets them as values")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn command() -> clap::Command {
    clap::Command::new("lw-inference-proxy")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "One endpoint for the OpenAI- and Anthropic-compatible inference servers of a Docker host. Every healthy \
             container labelled inference.enable=true is asked for its models; each request goes where its model is.",
        )
        .after_help(settings_help())
        .subcommand(clap::Command::new("serve").about("Run the proxy (the default)"))
        .subcommand(
            clap::Command::new("healthcheck")
                .about("Ask the running proxy's /healthz; exit code 0 if it lives, else 1"),
        )
}

fn settings_help() -> String {
    let mut help = String::from("Settings, from the environment (none is needed):\n");
    for setting in SETTINGS {
        help.push_str(&format!("  {:<24} {} [default: {}]\n", setting.variable, setting.meaning, setting.default));
    }
    help
}
