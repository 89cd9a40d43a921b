//! What the table comes to in words: for every model who serves it, for every container why it serves or does not.

mod ends;
mod leaving;
mod pools;
mod report;
mod stop_timeout;
mod uninspected;

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::container::{Container, Reach};
use domain::model_name::ModelName;
use domain::table::{Claim, Discovering, Entry, Ready, Resolution, RoutingTable, State, Stopping, Waiting, Warning};
use ports::upstream::ListModelsError;
pub use report::{ContainerLine, ModelLine, Phase, Report, Severity, SourceLine, Standing};

/// From how long on a health check is worth a word: it runs again and again, beside the requests.
const SLOW_HEALTH_CHECK: Duration = Duration::from_secs(2);
/// How much of a health check's output is repeated, in characters.
const OUTPUT_CHARS: usize = 300;

/// The report on this version of the table.
pub fn report<L>(table: &RoutingTable<L>, standing: Standing, now: Instant) -> Report {
    let shown = |entry: &&Entry<L>| !matches!(&entry.state, State::Ended(ended) if ended.removed);
    let mut containers: Vec<_> = table
        .entries()
        .map(|(_, entry)| entry)
        .filter(shown)
        .map(|entry| container_line(table, entry, (now, standing.now_millis)))
        .collect();
    containers.extend(table.uninspected().filter_map(|one| uninspected::line(table, one)));
    for draining in table.draining() {
        leaving::add(&mut containers, draining, now);
    }
    // What needs a person comes first.
    containers.sort_by(|a, b| (b.level, &a.name, &a.id).cmp(&(a.level, &b.name, &b.id)));
    Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        phase: standing.phase,
        sources: standing.sources,
        models: model_lines(table, now),
        containers,
    }
}

fn model_lines<L>(table: &RoutingTable<L>, now: Instant) -> Vec<ModelLine> {
    let line = |claim: &Claim<L>, model: &ModelName| {
        let backend = &claim.backend;
        let (replicas, behind) = match table.resolve(model.as_str()) {
            Resolution::Claimed(claims) => pools::others(claims),
            Resolution::Draining | Resolution::Unavailable | Resolution::Unknown => (&[] as _, &[] as _),
        };
        let names = |claims: &[Claim<L>]| claims.iter().map(|claim| claim.backend.name.to_string()).collect();
        let others = replicas.iter().map(|claim| claim.backend.gate.in_flight()).sum::<usize>();
        let since = table.entry(&backend.container).map(|entry| entry.since);
        ModelLine {
            model: model.to_string(),
            container: backend.name.to_string(),
            address: backend.address.to_string(),
            in_flight: backend.gate.in_flight() + others,
            since: since.map(|since| now.saturating_duration_since(since)).unwrap_or_default(),
            replicas: names(replicas),
            behind: names(behind),
        }
    };
    table.models().into_iter().map(|(claim, offered)| line(claim, &offered.name)).collect()
}

fn container_line<L>(table: &RoutingTable<L>, entry: &Entry<L>, at: (Instant, u64)) -> ContainerLine {
    let (now, _) = at;
    let container = &entry.container;
    let (level, state, line) = match why(table, entry, at) {
        (Severity::Waiting | Severity::Wrong, state, line) if entry.is_foreign() => (Severity::Off, state, line),
        own => own,
    };
    let (address, in_flight, models) = match &entry.state {
        State::Ready(ready) => (
            Some(ready.backend.address.to_string()),
            ready.backend.gate.in_flight(),
            ready.models.iter().map(|model| model.name.to_string()).collect(),
        ),
        State::Waiting(_) | State::Discovering(_) | State::Stopping(_) | State::Ended(_) => (None, 0, Vec::new()),
    };
    ContainerLine {
        name: container.name.to_string(),
        id: container.id.to_string(),
        address,
        level,
        state: state.to_owned(),
        line,
        notes: notes(table, entry, now),
        in_flight,
        since: now.saturating_duration_since(entry.since),
        models,
    }
}

/// Why the container serves or does not: how grave, one word, one sentence.
fn why<L>(
    table: &RoutingTable<L>,
    entry: &Entry<L>,
    (now, now_millis): (Instant, u64),
) -> (Severity, &'static str, String) {
    let container = &entry.container;
    match &entry.state {
        State::Ready(ready) => match pools::ejected(ready, now_millis) {
            Some(line) => (Severity::Wrong, "ejected", line),
            None => {
                let (level, state, line) = serving(table, ready);
                ends::judged(entry, (level, state, line + &pools::place(table, ready)), now)
            }
        },
        State::Discovering(discovering) => ends::judged(entry, asked(container, discovering), now),
        State::Stopping(Stopping { reason, readmit_at, .. }) => {
            let left = readmit_at.saturating_duration_since(now);
            let line = format!("{reason}; taken back in {} if it still runs and is healthy then", span(left));
            (Severity::Waiting, "stopping", line)
        }
        State::Ended(_) => ends::ended(entry),
        State::Waiting(waiting) => {
            let (level, state, line) = waits(container, waiting, now.saturating_duration_since(entry.since));
            match ends::restarted(entry) {
                Some(restarted) => (Severity::Wrong, state, format!("{line}; {restarted}")),
                None => (level, state, line),
            }
        }
    }
}

fn serving<L>(table: &RoutingTable<L>, ready: &Ready<L>) -> (Severity, &'static str, String) {
    let displaced = ready.models.iter().filter(|model| displaced_by(table, ready, &model.name).is_some()).count();
    match (ready.models.len(), displaced) {
        (0, _) => (Severity::Waiting, "no models", "healthy, but it lists no model any more".to_owned()),
        (all, displaced) if displaced == all => {
            let line = "healthy, but all its models are served by containers that became healthy later".to_owned();
            (Severity::Waiting, "displaced", line)
        }
        (1, _) => (Severity::Good, "ready", "serves 1 model".to_owned()),
        (all, 0) => (Severity::Good, "ready", format!("serves {all} models")),
        (all, displaced) => (Severity::Good, "ready", format!("serves {} of its {all} models", all - displaced)),
    }
}

/// The name of the container that serves this model in place of the one that lists it.
fn displaced_by<L>(table: &RoutingTable<L>, ready: &Ready<L>, model: &ModelName) -> Option<String> {
    match table.resolve(model.as_str()) {
        Resolution::Claimed([first, ..]) if first.backend.replica.pool.id != ready.backend.replica.pool.id => {
            Some(first.backend.name.to_string())
        }
        _ => None,
    }
}

fn asked(container: &Container, discovering: &Discovering) -> (Severity, &'static str, String) {
    let Some(failure) = &discovering.failure else {
        return (Severity::Waiting, "asked", "healthy; it is being asked for its models".to_owned());
    };
    let port = container.labels.as_ref().map_or(0, |labels| labels.port);
    let said = |error: ListModelsError| failure.ends_with(&error.to_string());
    let hint = if said(ListModelsError::ConnectionRefused) {
        let any = match &container.reach {
            Reach::At(addresses) if addresses.first().is_ipv6() => "[::]",
            Reach::At(_) | Reach::Nowhere(_) => "0.0.0.0",
        };
        format!("; nothing listens on port {port}: set the label inference.port, or have its server listen on {any}")
    } else if said(ListModelsError::Status(404)) {
        "; its API is elsewhere: set the label inference.api.base_path, or inference.port".to_owned()
    } else {
        wants_a_key(failure).to_owned()
    };
    (Severity::Wrong, "no models", format!("healthy, but its models are not known: {failure}{hint}"))
}

/// What to do where a list is told only to who has a key.
fn wants_a_key(failure: &str) -> &'static str {
    let said = |status| failure.ends_with(&ListModelsError::Status(status).to_string());
    match said(401) || said(403) {
        true => "; it asks for a key before it tells its models: let it tell them without one",
        false => "",
    }
}

fn waits(container: &Container, waiting: &Waiting, since: Duration) -> (Severity, &'static str, String) {
    let output = match container.health_output.as_deref().map(str::trim).filter(|output| !output.is_empty()) {
        Some(output) => format!("; its health check last said: {}{}", shortened(output), wants_a_key(output)),
        None => String::new(),
    };
    let words = |level, state, line: String| (level, state, line);
    match waiting {
        Waiting::Starting => {
            let line = format!("its health check has not passed yet, for {}{output}", span(since));
            words(Severity::Waiting, "starting", line)
        }
        Waiting::Restarting => words(Severity::Waiting, "restarting", "it is between two runs".to_owned()),
        Waiting::NoHealthcheck => words(Severity::Wrong, "no healthcheck", Warning::NoHealthcheck.to_string()),
        Waiting::BadLabel(error) => {
            words(Severity::Wrong, "bad label", Warning::BadLabel(error.to_string()).to_string())
        }
        Waiting::NoAddress(nowhere) => words(Severity::Wrong, "no network", nowhere.to_string()),
        Waiting::LeftNetwork => words(Severity::Waiting, "left network", "it left a network".to_owned()),
        Waiting::Unhealthy => {
            let line = format!("its health check fails, for {}{output}", span(since));
            words(Severity::Wrong, "unhealthy", line)
        }
        Waiting::Unresponsive => {
            let why = container.health_output.as_deref().map(shortened).unwrap_or_default();
            words(Severity::Wrong, "unresponsive", format!("it does not answer, for {}: {why}", span(since)))
        }
        Waiting::Paused => words(Severity::Waiting, "paused", "it is frozen: docker unpause".to_owned()),
        Waiting::OutOfMemory => {
            let line =
                "a process in it was killed for want of memory; whether it goes on is being looked at".to_owned();
            words(Severity::Waiting, "out of memory", line)
        }
        Waiting::TooMany => words(Severity::Wrong, "too many", Warning::TableFull.to_string()),
    }
}

/// What else one should know of a container.
fn notes<L>(table: &RoutingTable<L>, entry: &Entry<L>, now: Instant) -> Vec<String> {
    let mut notes = Vec::new();
    let container = &entry.container;
    if let State::Ready(ready) = &entry.state {
        let displaced = |model: &ModelName| {
            let other = displaced_by(table, ready, model)?;
            Some(format!("{model} is served by {other}, which became healthy later"))
        };
        notes.extend(ready.models.iter().filter_map(|model| displaced(&model.name)));
        if let Some(stale) = &ready.stale {
            let lasts = span(now.saturating_duration_since(stale.since));
            notes.push(format!("for {lasts}: {}", Warning::NotRefreshed(Arc::clone(&stale.why))));
        }
        if ready.failures > 0 {
            notes.push("it could not be reached when it was asked for its models last".to_owned());
        }
        // Where nothing of it serves, its line says so.
        notes.extend(entry.warned.iter().filter(|told| **told == Warning::TableFull).map(ToString::to_string));
        notes.extend(stop_timeout::too_short(container, table.rules().drain.timeout));
    }
    let uninspected = table.why_uninspected(&container.id).cloned();
    notes.extend(uninspected.map(|why| Warning::Uninspected(why).to_string()));
    notes.extend(entry.warned.iter().filter(|warning| is_note(warning)).map(ToString::to_string));
    if let Some(took) = container.health_check_took.filter(|took| *took >= SLOW_HEALTH_CHECK) {
        notes.push(format!("its health check took {}: a lighter one would be known sooner", span(took)));
    }
    notes
}

/// Whether what the operator was told stands beside the line that says why, rather than in it.
fn is_note(warning: &Warning) -> bool {
    match warning {
        Warning::BadModelName(_) | Warning::TooManyModels(_) | Warning::Readmitted => true,
        Warning::NoHealthcheck
        | Warning::OtherProject(_)
        | Warning::NotHealthy(_)
        | Warning::BadLabel(_)
        | Warning::NoAddress(_)
        | Warning::DiscoveryFailed(_)
        | Warning::Uninspected(_)
        | Warning::NotRefreshed(_)
        | Warning::TableFull => false,
    }
}

/// One line of bounded length, without control characters.
fn shortened(output: &str) -> String {
    let words = output.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text: String = words.chars().filter(|c| !c.is_control()).take(OUTPUT_CHARS).collect();
    if words.chars().nth(OUTPUT_CHARS).is_some() {
        text.push('…');
    }
    text
}

/// A time as people say it: `0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `3 d`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.is_zero() => "0 s".to_owned(),
        0..2 => format!("{:.1} s", time.as_secs_f32()),
        2..120 => format!("{seconds} s"),
        120..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}
