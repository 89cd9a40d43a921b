//! What was found out, as a section of Markdown.

use std::fs;
use std::path::Path;

use crate::Failure;
use crate::compare::{Findings, Found};
use crate::load::Outcome;
use crate::peers::Peer;
use crate::scenario::{Measured, Scenario};
use crate::stats::Sample;

/// The command whose table is written.
pub const TARGET: &str = "make bench";
/// The order of columns.
const COLUMNS: [Peer; 7] =
    [Peer::Ours, Peer::Beside, Peer::Nginx, Peer::NginxHolding, Peer::Haproxy, Peer::Sglang, Peer::Direct];

impl Findings {
    /// The median over all rounds of what one round gives.
    pub fn median(&self, peer: Peer, scenario: Scenario, of_round: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        self.peers.get(&peer)?.rounds.get(&scenario)?.iter().filter_map(of_round).collect::<Sample>().median()
    }

    /// Processor time as a multiple of nginx's in the same round: the median over the rounds.
    pub fn ratio(&self, peer: Peer, scenario: Scenario) -> Option<f64> {
        let rounds = |peer| self.peers.get(&peer)?.rounds.get(&scenario);
        let pairs = rounds(peer)?.iter().zip(rounds(Peer::Nginx)?);
        pairs.filter_map(|(one, nginx)| Some(one.cpu_micros? / nginx.cpu_micros?)).collect::<Sample>().median()
    }
}

/// The whole section.
pub fn section(findings: &Findings) -> String {
    let columns: Vec<(Peer, &Found)> =
        COLUMNS.into_iter().filter_map(|peer| Some((peer, findings.peers.get(&peer)?))).collect();
    let mut text = format!(
        "{}. Medians of {} rounds; load average before the run {:.1}.\n\n",
        findings.machine, findings.rounds, findings.load_average
    );
    let heads = columns.iter().map(|(peer, found)| format!(" {} {} |", peer.name(), found.version).replace("  ", " "));
    text += &format!("| measure |{}\n", heads.collect::<String>());
    text += &format!("| --- |{}\n", " ---: |".repeat(columns.len()));
    let mut row = |name: &str, cell: &dyn Fn(Peer, &Found) -> Option<String>| {
        let cells: Vec<_> = columns.iter().map(|(peer, found)| cell(*peer, found)).collect();
        // What was not asked for has no row.
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| format!(" {} |", cell.unwrap_or("–".to_owned())));
            text += &format!("| {name} |{}\n", cells.collect::<String>());
        }
    };
    let cpu = |peer, scenario, scale: f64, digits: usize| {
        let micros = findings.median(peer, scenario, |round| round.cpu_micros)?;
        let ratio = findings.ratio(peer, scenario).map_or(String::new(), |ratio| format!(" (× {ratio:.2})"));
        Some(format!("{:.digits$}{ratio}", micros / scale))
    };
    let rate = |peer, scenario| Some(format!("{:.0}", findings.median(peer, scenario, |round| Some(round.rate))?));
    let two = |peer, scenario, sample: fn(&Outcome) -> &Sample| {
        let at = |share| findings.median(peer, scenario, |round| sample(&round.outcome).quantile(share));
        Some(format!("{:.2} / {:.2}", at(0.5)? / 1e3, at(0.99)? / 1e3))
    };
    row("CPU per small request, µs (× nginx)", &|p, _| cpu(p, Scenario::Small, 1.0, 1));
    row("small requests per second", &|p, _| rate(p, Scenario::Small));
    row("small request p50 / p99, ms", &|p, _| two(p, Scenario::Small, |outcome| &outcome.latency));
    row("CPU per event without gaps, µs (× nginx)", &|p, _| cpu(p, Scenario::ZeroGap, 1.0, 2));
    row("events per second", &|p, _| rate(p, Scenario::ZeroGap));
    row("CPU per event every 20 ms, µs (× nginx)", &|p, _| cpu(p, Scenario::Paced, 1.0, 1));
    row("time to first event of these p50 / p99, ms", &|p, _| two(p, Scenario::Paced, |outcome| &outcome.first));
    row("delay of these events p50 / p99, ms", &|p, _| two(p, Scenario::Paced, |outcome| &outcome.delay));
    row("CPU per 1 MB body, model first, ms (× nginx)", &|p, _| cpu(p, Scenario::ModelFirst, 1e3, 2));
    row("CPU per 1 MB body, model last, ms (× nginx)", &|p, _| cpu(p, Scenario::ModelLast, 1e3, 2));
    let alone = |peer: Peer, cell: String| (findings.measured_alone && peer != Peer::Direct).then_some(cell);
    row("memory at rest, MB", &|p, f| alone(p, format!("{:.1}", f.memory.at_rest as f64 / 1e3)));
    let steps: Vec<usize> =
        columns.first().iter().flat_map(|(_, found)| found.memory.per_stream.iter().map(|(step, _)| *step)).collect();
    for (at, step) in steps.into_iter().enumerate() {
        row(&format!("memory per stream, {step} open, kB"), &|p, f| {
            alone(p, format!("{:.1}", f.memory.per_stream.get(at)?.1))
        });
    }
    for (at, stands) in ["first", "last"].into_iter().enumerate() {
        row(&format!("peak growth with 20 MB bodies, model {stands}, MB"), &|p, f| {
            let grown = f.growth.get(at).copied().flatten();
            alone(p, grown.map_or("fails".to_owned(), |kb| format!("{:.1}", kb as f64 / 1e3)))
        });
    }
    row("errors of 256 requests after 6 s of silence", &|p, f| alone(p, f.pause_errors.to_string()));
    let rounds = |f: &Found| f.rounds.values().flatten().map(|m| m.outcome.errors).sum::<usize>() + f.memory.errors;
    row("errors in all else", &|_, f| Some(rounds(f).to_string()));
    text + &remarks(findings, &columns)
}

fn remarks(findings: &Findings, columns: &[(Peer, &Found)]) -> String {
    let mut text = String::new();
    for peer in &findings.missing {
        text += &format!("\n{} was not there: `{}`.\n", peer.name(), peer.how_to_get());
    }
    let troubles: Vec<String> = columns
        .iter()
        .filter_map(|(peer, found)| Some(format!("- {}: {}\n", peer.name(), found.troubles.first()?)))
        .collect();
    if !troubles.is_empty() {
        text += &format!("\nWhat went wrong first:\n\n{}", troubles.concat());
    }
    text
}

/// Puts the section between the two marks of the command that writes it.
///
/// # Errors
/// The file cannot be read or written, or has no marks.
pub fn write(path: &Path, target: &str, section: &str) -> Result<(), Failure> {
    let mark = |which| format!("<!-- written by `{target} ARGS=--write`: {which} -->");
    let (begin, end) = (&*mark("begin"), &*mark("end"));
    let text = fs::read_to_string(path)?;
    let (before, rest) = text.split_once(begin).ok_or_else(|| format!("{} has no line {begin}", path.display()))?;
    let (_, behind) = rest.split_once(end).ok_or_else(|| format!("{} has no line {end}", path.display()))?;
    Ok(fs::write(path, format!("{before}{begin}\n\n{}\n\n{end}{behind}", section.trim()))?)
}
