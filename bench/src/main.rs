//! What the proxy costs: `compare` measures it beside other proxies, `count` counts instructions and system calls.

mod backend;
mod callgrind;
mod client;
mod compare;
mod count;
mod figure;
mod load;
mod machine;
mod peers;
mod process;
mod report;
mod scenario;
mod stats;
mod strace;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;

/// Whatever went wrong, in words for the person who ran the bench.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What was asked for on the command line.
struct Asked {
    /// Fewer rounds, fewer units.
    short: bool,
    /// Write down what was found.
    write: bool,
    /// The binary that is measured.
    proxy: PathBuf,
    /// The proxies that are compared; empty means all.
    only: Vec<String>,
    /// Where callgrind's files are kept, for `callgrind_annotate`.
    keep: Option<PathBuf>,
}

const USAGE: &str = "bench compare|count [--short] [--write] [--proxy PATH] [--only PEER]… [--keep DIR]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let done = asked(arguments).and_then(|asked| match command.as_str() {
        "compare" => compare::compare(&asked),
        "count" => count::count(&asked),
        _ => Err(USAGE.into()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Result<Asked, Failure> {
    let proxy = PathBuf::from("target/release/lw-inference-proxy");
    let mut asked = Asked { short: false, write: false, proxy, only: Vec::new(), keep: None };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => asked.short = true,
            "--write" => asked.write = true,
            "--proxy" => asked.proxy = arguments.next().ok_or(USAGE)?.into(),
            "--keep" => asked.keep = Some(arguments.next().ok_or(USAGE)?.into()),
            "--only" => asked.only.push(arguments.next().ok_or(USAGE)?),
            _ => return Err(USAGE.into()),
        }
    }
    if !asked.proxy.is_file() {
        return Err(format!("{} is not there; `make build` compiles it", asked.proxy.display()).into());
    }
    Ok(asked)
}
