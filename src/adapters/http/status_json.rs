//! The report on the proxy as JSON.

use app::status::{ContainerLine, ModelLine, Phase, Report, Severity, SourceLine};
use bytes::Bytes;
use serde_json::{Value, json};

/// The report; times in seconds, to the millisecond.
pub fn of(report: &Report) -> Bytes {
    let value = json!({
        "version": report.version,
        "phase": phase(report.phase),
        "well": report.is_well(),
        "sources": report.sources.iter().map(source).collect::<Vec<_>>(),
        "models": report.models.iter().map(model).collect::<Vec<_>>(),
        "containers": report.containers.iter().map(container).collect::<Vec<_>>(),
    });
    Bytes::from(format!("{value:#}\n"))
}

/// The word for a phase.
pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Stopping => "stopping",
    }
}

/// The word for a level.
pub fn level(level: Severity) -> &'static str {
    match level {
        Severity::Off => "off",
        Severity::Good => "good",
        Severity::Waiting => "waiting",
        Severity::Wrong => "wrong",
    }
}

fn source(source: &SourceLine) -> Value {
    json!({ "name": source.name, "seen": source.lost.is_none(), "lost": source.lost })
}

fn model(line: &ModelLine) -> Value {
    json!({
        "model": line.model,
        "container": line.container,
        "address": line.address,
        "in_flight": line.in_flight,
        "for_seconds": seconds(line.since),
        "behind": line.behind,
    })
}

fn container(line: &ContainerLine) -> Value {
    json!({
        "name": line.name,
        "id": line.id,
        "level": level(line.level),
        "state": line.state,
        "why": line.line,
        "notes": line.notes,
        "address": line.address,
        "in_flight": line.in_flight,
        "for_seconds": seconds(line.since),
        "models": line.models,
    })
}

fn seconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
