//! What the proxy costs: `compare` measures it beside other proxies, `count` counts instructions and system calls.
//! What it gains: `replicas` shares requests among mock members, beside other routers.

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
mod replicas;
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
    /// Another build of it, measured in the same rounds: what a change costs or saves.
    beside: Option<PathBuf>,
    /// The proxies that are compared; empty means all.
    only: Vec<String>,
    /// The ways of use that are measured, and nothing else; empty means all of everything.
    scenarios: Vec<String>,
    /// Where callgrind's files are kept, for `callgrind_annotate`.
    keep: Option<PathBuf>,
    /// The kinds of traffic for replicas; empty means all.
    kinds: Vec<String>,
    /// How many replicas there are, one run after the other; empty means as usual.
    members: Vec<usize>,
    /// The first seed of the traffic for replicas.
    seed: u64,
    /// How many seeds there are; `None` means as usual.
    seeds: Option<u64>,
}

const USAGE: &str = "bench compare|count|replicas [--short] [--write] [--proxy PATH] [--keep DIR] \
                     [--beside PATH] [--only PEER]… [--scenario NAME]… \
                     [--kinds 'NAME…'] [--members 'COUNT…'] [--seed NUMBER] [--seeds COUNT]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let done = asked(arguments).and_then(|asked| match command.as_str() {
        "compare" => compare::compare(&asked),
        "count" => count::count(&asked),
        "replicas" => replicas::replicas(&asked),
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
    let proxy = PathBuf::from("target/dist/lw-inference-proxy");
    let mut asked = Asked {
        short: false,
        write: false,
        proxy,
        beside: None,
        only: Vec::new(),
        scenarios: Vec::new(),
        keep: None,
        kinds: Vec::new(),
        members: Vec::new(),
        seed: 1,
        seeds: None,
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => asked.short = true,
            "--write" => asked.write = true,
            "--proxy" => asked.proxy = arguments.next().ok_or(USAGE)?.into(),
            "--keep" => asked.keep = Some(arguments.next().ok_or(USAGE)?.into()),
            "--beside" => asked.beside = Some(arguments.next().ok_or(USAGE)?.into()),
            "--scenario" => asked.scenarios.push(arguments.next().ok_or(USAGE)?),
            "--kinds" => asked.kinds.extend(words(arguments.next())?),
            "--members" => {
                for count in words(arguments.next())? {
                    asked.members.push(count.parse()?);
                }
            }
            "--seed" => asked.seed = arguments.next().ok_or(USAGE)?.parse()?,
            "--seeds" => asked.seeds = Some(arguments.next().ok_or(USAGE)?.parse()?),
            "--only" => asked.only.push(arguments.next().ok_or(USAGE)?),
            _ => return Err(USAGE.into()),
        }
    }
    for build in [Some(&asked.proxy), asked.beside.as_ref()].into_iter().flatten() {
        if !build.is_file() {
            return Err(format!("{} is not there; `make build` compiles the proxy", build.display()).into());
        }
    }
    let is_known = |name: &&String| scenario::ALL.iter().any(|scenario| scenario.name() == **name);
    if let Some(unknown) = asked.scenarios.iter().find(|name| !is_known(name)) {
        let known = scenario::ALL.map(|scenario| scenario.name()).join(", ");
        return Err(format!("{unknown} is not a scenario; there are {known}").into());
    }
    if asked.write && !asked.scenarios.is_empty() {
        return Err("a part of the table cannot be written down; leave --scenario or --write away".into());
    }
    Ok(asked)
}

/// The words of an argument, with spaces or commas between them.
fn words(argument: Option<String>) -> Result<Vec<String>, Failure> {
    let argument = argument.ok_or(USAGE)?;
    Ok(argument.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect())
}
