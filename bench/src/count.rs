//! What does not depend on the neighbours: instructions and system calls for each request and each event.
//!
//! Every figure is the difference between a long and a short run, so that starting and stopping cancel out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::backend::{Answers, Backends};
use crate::load::Load;
use crate::peers::{self, Peer, Running};
use crate::process::Process;
use crate::scenario::CONNECTIONS;
use crate::traffic::{MODELS, ModelStands, request};
use crate::{Asked, Failure, callgrind, strace};

/// The figures that were written down.
const BOOK: &str = "bench/counts.json";
/// By how much a figure may be above what was written down. Compilers and libraries differ by less.
const MARGIN: f64 = 0.10;
/// A figure this small may be that much larger: a tenth of little is nothing.
const LEAST_MARGIN: f64 = 0.02;
/// Events of one burst.
const BURST: usize = 30;
/// The size of a longer prompt.
const PROMPT_BYTES: usize = 4096;
/// No run takes longer.
const RUN_MAX: Duration = Duration::from_secs(120);
/// After so long the proxy has seen that the backend keeps its connections.
const PROVEN: Duration = Duration::from_millis(1500);

/// What is asked of the proxy: so many units.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Small requests over 32 connections.
    Requests,
    /// Requests with a prompt of 4 kB: to one backend, or to one of several by this policy.
    Prompts(Option<&'static str>),
    /// Events, one at a time: each goes out when the one before was read.
    Events,
    /// Events, [`BURST`] in each write of the backend.
    BurstEvents,
}

/// What watches the proxy meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watcher {
    Callgrind,
    Strace,
}

impl Watcher {
    fn program(self) -> &'static str {
        match self {
            Self::Callgrind => "valgrind",
            Self::Strace => "strace",
        }
    }
}

/// Counts, prints, and compares with what was written down.
///
/// # Errors
/// A tool is missing, a run failed, or a figure rose.
pub fn count(asked: &Asked) -> Result<(), Failure> {
    for watcher in [Watcher::Callgrind, Watcher::Strace] {
        let name = watcher.program();
        peers::program(name).ok_or_else(|| format!("{name} is not installed: apt-get install {name}"))?;
    }
    let backends = Backends::start()?;
    let dir = std::env::temp_dir().join(format!("lw-inference-proxy-count-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counted = runtime.block_on(all(asked, &backends, &dir));
    fs::remove_dir_all(&dir)?;
    let counted = counted?;
    let book: Map<String, Value> = match fs::read_to_string(BOOK) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Map::new(),
    };
    let mut risen = Vec::new();
    for (name, value) in &counted {
        let before = book.get(name).and_then(Value::as_f64);
        println!("{name:<36} {value:>10.3}   written down: {}", before.map_or("–".to_owned(), |b| format!("{b:.3}")));
        if before.is_some_and(|before| *value > (before * (1.0 + MARGIN)).max(before + LEAST_MARGIN)) {
            risen.push(name.as_str());
        }
    }
    if asked.write {
        let rounded = counted.iter().map(|(name, value)| (name.clone(), Value::from((value * 1e3).round() / 1e3)));
        let text = serde_json::to_string_pretty(&Value::Object(rounded.collect()))?;
        fs::write(BOOK, text + "\n")?;
        return Ok(());
    }
    match risen.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "more than {:.0} % above {BOOK}: {}; if that is meant, `make bench-count ARGS=--write`",
            MARGIN * 100.0,
            risen.join(", ")
        )
        .into()),
    }
}

async fn all(asked: &Asked, backends: &Backends, dir: &Path) -> Result<BTreeMap<String, f64>, Failure> {
    let mut found = BTreeMap::new();
    for (work, name, short, long) in [
        (Work::Requests, "request", 320, 1920),
        (Work::Prompts(None), "prompt", 320, 1920),
        (Work::Prompts(Some("least_requests")), "prompt_by_least_requests", 320, 1920),
        (Work::Prompts(Some("prefix_affinity")), "prompt_by_prefix_affinity", 320, 1920),
        (Work::Events, "event", 100, 900),
        (Work::BurstEvents, "event_of_a_burst", 20 * BURST, 220 * BURST),
    ] {
        let long = if asked.short { long } else { short + (long - short) * 4 };
        let units = (long - short) as f64;
        let each = |less: f64, more: f64| (more - less) / units;

        let less = run(asked, backends, dir, Watcher::Callgrind, work, short).await?;
        let more = run(asked, backends, dir, Watcher::Callgrind, work, long).await?;
        found.insert(format!("instructions_per_{name}"), each(total(&less), total(&more)));

        let less = run(asked, backends, dir, Watcher::Strace, work, short).await?;
        let more = run(asked, backends, dir, Watcher::Strace, work, long).await?;
        found.insert(format!("system_calls_per_{name}"), each(total(&less), total(&more)));
        found.insert(format!("writes_per_{name}"), each(writes(&less), writes(&more)));
        for (call, count) in &more {
            let each = each(less.get(call).copied().unwrap_or(0.0), *count);
            if each.abs() > 0.005 {
                eprintln!("bench: {call} per {name}: {each:.3}");
            }
        }
    }
    Ok(found)
}

fn total(counts: &BTreeMap<String, f64>) -> f64 {
    counts.values().sum()
}

fn writes(counts: &BTreeMap<String, f64>) -> f64 {
    strace::WRITES.iter().filter_map(|call| counts.get(*call)).sum()
}

/// Starts the proxy under a watcher, has it do `units` of work, stops it, and reads what was counted.
async fn run(
    asked: &Asked,
    backends: &Backends,
    dir: &Path,
    watcher: Watcher,
    work: Work,
    units: usize,
) -> Result<BTreeMap<String, f64>, Failure> {
    let (out, log, port) = (dir.join("out"), dir.join("log"), peers::free_port()?);
    let watching = Path::new(watcher.program());
    let process = Process::start(watching, None, &log, |command| {
        match watcher {
            Watcher::Callgrind => callgrind::wrap(command, &out),
            Watcher::Strace => strace::wrap(command, &out),
        }
        match work {
            Work::Prompts(Some(policy)) => {
                peers::set_ours(command.arg(&asked.proxy), port, backends.replicas());
                command.env("PROXY_REPLICAS", "all").env("PROXY_BALANCE", policy);
            }
            _ => peers::set_ours(command.arg(&asked.proxy), port, &backends.ports()),
        }
        // One thread that serves: how several share the work differs from run to run.
        command.env("TOKIO_WORKER_THREADS", "1").env("PROXY_MODELS_REFRESH", "1h");
    })?;
    backends.answer(Answers::Json);
    let mut running = Running { peer: Peer::Ours, port, process: Some(process) };
    running.wait_until_it_routes(&log).await?;
    do_work(backends, port, work, units).await?;
    if let Some(process) = &mut running.process {
        if watcher == Watcher::Strace {
            // Not before it routes: strace first tries with other children what the kernel can do.
            process.measure_child()?;
        }
        process.end()?;
    }
    if let Some(keep) = asked.keep.as_ref().filter(|_| watcher == Watcher::Callgrind) {
        fs::create_dir_all(keep)?;
        fs::copy(&out, keep.join(format!("callgrind.{work:?}.{units}").to_lowercase()))?;
    }
    match watcher {
        Watcher::Callgrind => Ok(BTreeMap::from([("instructions".to_owned(), callgrind::instructions(&out)?)])),
        Watcher::Strace => strace::calls(&out),
    }
}

async fn do_work(backends: &Backends, port: u16, work: Work, units: usize) -> Result<(), Failure> {
    let (answers, connections, requests, events) = match work {
        Work::Requests | Work::Prompts(_) => (Answers::Json, CONNECTIONS, units, 0),
        Work::Events => (Answers::Bursts { count: units, size: 1 }, 1, 1, units),
        Work::BurstEvents => (Answers::Bursts { count: units / BURST, size: BURST }, 1, 1, units),
    };
    let burst = if matches!(work, Work::BurstEvents) { BURST } else { 1 };
    backends.answer(answers);
    let size = if matches!(work, Work::Prompts(_)) { PROMPT_BYTES } else { 150 };
    let load = |connections: usize, requests: usize| Load {
        connections,
        request: Arc::from(request(MODELS[0], ModelStands::First, size, events > 0)),
        requests,
        time: RUN_MAX,
        events,
    };
    if matches!(work, Work::Requests | Work::Prompts(_)) {
        // What is counted is a request on a connection that was there before.
        load(CONNECTIONS, CONNECTIONS * 4).run(port, || {}).await?;
        tokio::time::sleep(PROVEN).await;
    }
    let (telling, read) = (backends.clone(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let outcome = load(connections, requests)
        .run(port, move || {
            let before = read.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if (before + 1).is_multiple_of(burst) {
                telling.burst_was_read();
            }
        })
        .await?;
    match (outcome.errors, outcome.answers == requests) {
        (0, true) => Ok(()),
        _ => Err(format!(
            "{} of {requests} requests were answered under the watcher; first error: {}",
            outcome.answers,
            outcome.first_error.unwrap_or_default()
        )
        .into()),
    }
}
