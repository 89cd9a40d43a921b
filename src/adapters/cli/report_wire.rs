//! The report as the running proxy answers it at `/status`, read back.

use std::time::Duration;

use app::status::{ContainerLine, ModelLine, Phase, Report, Severity, SourceLine};
use serde::Deserialize;

#[derive(Deserialize)]
struct Wire {
    version: String,
    phase: String,
    sources: Vec<WireSource>,
    models: Vec<WireModel>,
    containers: Vec<WireContainer>,
}

#[derive(Deserialize)]
struct WireSource {
    name: String,
    lost: Option<String>,
}

#[derive(Deserialize)]
struct WireModel {
    model: String,
    container: String,
    address: String,
    in_flight: usize,
    for_seconds: f64,
    behind: Vec<String>,
}

#[derive(Deserialize)]
struct WireContainer {
    name: String,
    id: String,
    level: String,
    state: String,
    why: String,
    notes: Vec<String>,
    address: Option<String>,
    in_flight: usize,
    for_seconds: f64,
    models: Vec<String>,
}

/// Reads the answer.
///
/// # Errors
/// It is not what a proxy of this version answers.
pub fn read(json: &str) -> Result<Report, serde_json::Error> {
    let wire: Wire = serde_json::from_str(json)?;
    Ok(Report {
        version: wire.version,
        phase: match wire.phase.as_str() {
            "ready" => Phase::Ready,
            "stopping" => Phase::Stopping,
            _ => Phase::Starting,
        },
        sources: wire.sources.into_iter().map(|source| SourceLine { name: source.name, lost: source.lost }).collect(),
        models: wire.models.into_iter().map(model).collect(),
        containers: wire.containers.into_iter().map(container).collect(),
    })
}

fn model(wire: WireModel) -> ModelLine {
    ModelLine {
        model: wire.model,
        container: wire.container,
        address: wire.address,
        in_flight: wire.in_flight,
        since: time(wire.for_seconds),
        behind: wire.behind,
    }
}

fn container(wire: WireContainer) -> ContainerLine {
    ContainerLine {
        name: wire.name,
        id: wire.id,
        address: wire.address,
        level: match wire.level.as_str() {
            "off" => Severity::Off,
            "good" => Severity::Good,
            "wrong" => Severity::Wrong,
            _ => Severity::Waiting,
        },
        state: wire.state,
        line: wire.why,
        notes: wire.notes,
        in_flight: wire.in_flight,
        since: time(wire.for_seconds),
        models: wire.models,
    }
}

fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
