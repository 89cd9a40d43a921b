//! The command line: what is asked of the program, and where its settings come from.

mod ask;
pub mod demo;
pub mod descriptors;
pub mod doctor;
pub mod healthcheck;
pub mod logging;
pub mod out;
pub mod report_text;
mod report_wire;
pub mod status;

use std::io;
use std::process::ExitCode;

use app::settings::SETTINGS;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, value_parser};
use healthcheck::ProbeTarget;

/// The exit code for a command line or a setting that cannot be read (`EX_USAGE` of sysexits.h).
pub const EX_USAGE: u8 = 64;

/// What the program is, in one sentence, and how it works, in another.
const ABOUT: &str = "One endpoint for the OpenAI- and Anthropic-compatible inference servers of a Docker host. Every \
                     healthy container labelled inference.enable=true is asked for its models; each request goes where \
                     its model is.";
/// How wide the words on a setting are: with their indent, as wide as a terminal of 80 columns.
const HELP_COLUMNS: usize = 74;

/// What the program is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Run the proxy.
    Serve,
    /// Ask a running server whether it lives.
    Healthcheck(ProbeTarget),
    /// Print how the running proxy stands.
    Status,
    /// Look for what keeps the proxy from its work.
    Doctor,
    /// Run the proxy in front of sample servers.
    Demo,
    /// Run one sample server.
    Sample {
        /// The port that it listens on, on all addresses.
        port: u16,
        /// What it serves.
        models: Vec<String>,
    },
}

/// Reads the command line.
///
/// # Errors
/// The exit code, after help, version or a complaint was printed.
pub fn task() -> Result<Task, ExitCode> {
    let matches = command().try_get_matches().map_err(|said| {
        // A reader that left is no failure: `print` tells it from a text that could not be written.
        let written = said.print().or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        });
        match (said.kind(), written) {
            (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Ok(())) => ExitCode::SUCCESS,
            (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Err(error)) => unwritten(&error),
            _ => ExitCode::from(EX_USAGE),
        }
    })?;
    Ok(match matches.subcommand() {
        Some(("healthcheck", of)) => Task::Healthcheck(ProbeTarget { port: port(of), path: text(of, "path") }),
        Some(("status", _)) => Task::Status,
        Some(("doctor", _)) => Task::Doctor,
        Some(("demo", _)) => Task::Demo,
        Some(("sample", of)) => Task::Sample {
            port: port(of).unwrap_or_default(),
            models: of.get_many("models").into_iter().flatten().cloned().collect(),
        },
        _ => Task::Serve,
    })
}

/// The exit code where the output could not be written, after that was said.
pub fn unwritten(error: &io::Error) -> ExitCode {
    out::complain(format_args!("the output cannot be written: {error}"));
    ExitCode::FAILURE
}

fn port(matches: &ArgMatches) -> Option<u16> {
    matches.get_one("port").copied()
}

fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

/// The value of an environment variable. The one place where the environment is read.
#[allow(clippy::disallowed_methods, reason = "settings begin here; everything else gets them as values")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn command() -> clap::Command {
    clap::Command::new("lw-inference-proxy")
        .version(env!("CARGO_PKG_VERSION"))
        .about(wrapped(ABOUT, HELP_COLUMNS).join("\n"))
        .after_help(settings_help())
        .subcommand(clap::Command::new("serve").about("Run the proxy (the default)"))
        .subcommand(
            clap::Command::new("healthcheck")
                .about("Ask the proxy, or another server, if it is well: exit code 0 or 1")
                .arg(
                    port_option("Port on this machine; unset: the proxy's own")
                        .value_parser(value_parser!(u16).range(1..)),
                )
                .arg(
                    Arg::new("path").long("path").default_value("/healthz").value_parser(path).help("What to ask for"),
                ),
        )
        .subcommand(
            clap::Command::new("status").about("Print models and containers; exit code 1 if something is wrong"),
        )
        .subcommand(
            clap::Command::new("doctor").about("Check engine, proxy and containers; exit code 1 if one is wrong"),
        )
        .subcommand(clap::Command::new("demo").about("Run the proxy before two sample servers: no Docker, no GPU"))
        .subcommand(
            clap::Command::new("sample")
                .about("Run one sample server, which answers and knows nothing")
                .arg(port_option("Port it listens on").value_parser(value_parser!(u16)).default_value("8000"))
                .arg(
                    Arg::new("models")
                        .long("models")
                        .value_delimiter(',')
                        .default_value("sample")
                        .help("Models it serves, between commas"),
                ),
        )
}

fn port_option(help: &'static str) -> Arg {
    Arg::new("port").long("port").help(help)
}

/// A path that can stand in the first line of a request as it is.
fn path(text: &str) -> Result<String, &'static str> {
    match text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("it must begin with / and hold no spaces"),
    }
}

fn settings_help() -> String {
    let mut help = String::from("Settings, from the environment (none is needed):\n");
    for setting in SETTINGS {
        help.push_str(&format!("  {} [default: {}]\n", setting.variable, setting.default));
        for line in wrapped(setting.meaning, HELP_COLUMNS) {
            help.push_str(&format!("      {line}\n"));
        }
    }
    help
}

/// The words of a text on lines of at most so many characters; a longer word has a line of its own.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= columns) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
