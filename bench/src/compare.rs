//! Measures the proxies beside each other: interleaved rounds, each ratio within its round.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::backend::Backends;
use crate::load::Outcome;
use crate::machine::{self, Cores};
use crate::peers::{self, Peer, Running};
use crate::scenario::{self, Measured, Memory, Scenario};
use crate::traffic::ModelStands;
use crate::{Asked, Failure, figure, report};

/// What was found out about one proxy.
#[derive(Default)]
pub struct Found {
    /// Its version.
    pub version: String,
    /// What each round gave, by scenario.
    pub rounds: BTreeMap<Scenario, Vec<Measured>>,
    /// What it holds in memory.
    pub memory: Memory,
    /// By how many kB its peak grew with bodies of 20 MB: model first, model last. `None` where they failed.
    pub growth: [Option<u64>; 2],
    /// Errors after a pause.
    pub pause_errors: usize,
    /// The first thing that went wrong in each part.
    pub troubles: Vec<String>,
}

/// Everything that was found out.
pub struct Findings {
    /// By proxy.
    pub peers: BTreeMap<Peer, Found>,
    /// Which are not installed.
    pub missing: Vec<Peer>,
    /// The machine.
    pub machine: String,
    /// How busy it was with other things at the beginning.
    pub load_average: f64,
    /// How many rounds.
    pub rounds: usize,
    /// Whether each was measured alone as well: its memory, and what it does after a pause.
    pub measured_alone: bool,
}

/// How long things take.
struct Extent {
    rounds: usize,
    time: Duration,
    streams: &'static [usize],
}

impl Found {
    fn note(&mut self, part: &str, outcome: &Outcome) {
        if outcome.errors > 0 {
            let first = outcome.first_error.as_deref().unwrap_or_default();
            self.troubles.push(format!("{part}: {} errors, first: {first}", outcome.errors));
        }
    }
}

/// Runs all of it, prints the table and, if that was asked for, writes it down.
///
/// # Errors
/// Something that is not the subject of the measurement failed.
pub fn compare(asked: &Asked) -> Result<(), Failure> {
    let load_average = machine::load_average();
    let cores = machine::pin()?;
    let backends = Backends::start()?;
    let extent = match asked.short {
        true => Extent { rounds: 2, time: Duration::from_millis(500), streams: &[200] },
        false => Extent { rounds: 7, time: Duration::from_secs(2), streams: &[1000, 5000] },
    };
    let mut findings = Findings {
        peers: BTreeMap::new(),
        missing: Vec::new(),
        machine: machine::description(cores.count),
        load_average,
        rounds: extent.rounds,
        measured_alone: asked.scenarios.is_empty(),
    };
    for peer in peers::ALL.into_iter().filter(|peer| chosen(asked, *peer)) {
        match peer.version(asked) {
            Some(version) => drop(findings.peers.insert(peer, Found { version, ..Found::default() })),
            None => findings.missing.push(peer),
        }
    }
    let dir = scratch()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        rounds(&mut findings, asked, &extent, &backends, &cores, &dir).await?;
        match findings.measured_alone {
            true => alone(&mut findings, asked, &extent, &backends, &cores, &dir).await,
            false => Ok(()),
        }
    })?;
    fs::remove_dir_all(&dir)?;
    let section = report::section(&findings);
    println!("{section}");
    if asked.write {
        report::write(Path::new("BENCHMARKS.md"), report::TARGET, &section)?;
        fs::write("bench/figure.svg", figure::svg(&findings))?;
    }
    Ok(())
}

/// nginx is always there: it is what the others are compared with. Another build is there when one was named.
fn chosen(asked: &Asked, peer: Peer) -> bool {
    match peer {
        Peer::Nginx => true,
        Peer::Beside => asked.beside.is_some(),
        _ => asked.only.is_empty() || asked.only.iter().any(|name| name == peer.name()),
    }
}

fn is_asked(asked: &Asked, scenario: Scenario) -> bool {
    asked.scenarios.is_empty() || asked.scenarios.iter().any(|name| name == scenario.name())
}

/// A folder for configurations and logs.
fn scratch() -> Result<PathBuf, Failure> {
    let dir = std::env::temp_dir().join(format!("lw-inference-proxy-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// The scenarios whose ratios count, interleaved: all proxies run, one is asked at a time.
async fn rounds(
    findings: &mut Findings,
    asked: &Asked,
    extent: &Extent,
    backends: &Backends,
    cores: &Cores,
    dir: &Path,
) -> Result<(), Failure> {
    let mut running: Vec<Running> = Vec::new();
    for peer in peers::ALL.into_iter().filter(|peer| findings.peers.contains_key(peer)) {
        running.push(peer.start(asked, backends.ports(), cores.proxy, dir).await?);
    }
    for round in 0..extent.rounds {
        for scenario in scenario::ALL.into_iter().filter(|scenario| is_asked(asked, *scenario)) {
            // Another one begins each round.
            running.rotate_left(1);
            for peer in &running {
                let measured = scenario.measure(peer, backends, extent.time).await?;
                let Some(found) = findings.peers.get_mut(&peer.peer) else { continue };
                if round == 0 || measured.outcome.errors > 0 {
                    found.note(&format!("{scenario:?}, round {}", round + 1), &measured.outcome);
                }
                found.rounds.entry(scenario).or_default().push(measured);
            }
        }
        eprintln!("bench: round {} of {}", round + 1, extent.rounds);
    }
    Ok(())
}

/// What needs a proxy that is fresh and alone.
async fn alone(
    findings: &mut Findings,
    asked: &Asked,
    extent: &Extent,
    backends: &Backends,
    cores: &Cores,
    dir: &Path,
) -> Result<(), Failure> {
    for (peer, found) in &mut findings.peers {
        if *peer == Peer::Direct {
            continue;
        }
        eprintln!("bench: memory and pauses of {}", peer.name());
        let start = || peer.start(asked, backends.ports(), cores.proxy, dir);
        let running = start().await?;
        found.memory = scenario::memory(&running, backends, extent.streams).await;
        drop(running);
        for (growth, stands) in found.growth.iter_mut().zip([ModelStands::First, ModelStands::Last]) {
            let (grown, outcome) = scenario::growth(&start().await?, backends, stands).await?;
            *growth = (outcome.errors == 0).then_some(grown);
            if let Some(first) = &outcome.first_error {
                found.troubles.push(format!("20 MB, model {stands:?}: {} errors, first: {first}", outcome.errors));
            }
        }
        let paused = scenario::after_a_pause(&start().await?, backends).await?;
        found.pause_errors = paused.errors;
        found.note("after a pause", &paused);
    }
    Ok(())
}
