//! The status report as JSON, written by the server at `/status` and read by the commands.

use std::time::Duration;

use app::status::{ContainerLine, ModelLine, Phase, Report, Severity, SourceLine};
use serde::{Deserialize, Serialize};

/// The report as it is sent: durations in seconds, to the millisecond.
#[derive(Serialize, Deserialize)]
struct ReportDto {
    version: String,
    #[serde(with = "PhaseDto")]
    phase: Phase,
    #[serde(default)]
    well: bool,
    sources: Vec<SourceDto>,
    models: Vec<Model>,
    containers: Vec<Container>,
}

#[derive(Serialize, Deserialize)]
struct SourceDto {
    name: String,
    #[serde(default)]
    seen: bool,
    lost: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Model(#[serde(with = "ModelDto")] ModelLine);

#[derive(Serialize, Deserialize)]
#[serde(remote = "ModelLine")]
struct ModelDto {
    model: String,
    container: String,
    address: String,
    in_flight: usize,
    #[serde(rename = "for_seconds", with = "seconds")]
    since: Duration,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replicas: Vec<String>,
    behind: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Container(#[serde(with = "ContainerDto")] ContainerLine);

#[derive(Serialize, Deserialize)]
#[serde(remote = "ContainerLine")]
struct ContainerDto {
    name: String,
    id: String,
    #[serde(with = "SeverityDto")]
    level: Severity,
    state: String,
    #[serde(rename = "why")]
    line: String,
    notes: Vec<String>,
    address: Option<String>,
    in_flight: usize,
    #[serde(rename = "for_seconds", with = "seconds")]
    since: Duration,
    models: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Phase", rename_all = "lowercase")]
enum PhaseDto {
    Ready,
    Stopping,
    #[serde(other)]
    Starting,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Severity", rename_all = "lowercase")]
enum SeverityDto {
    Off,
    Good,
    Wrong,
    #[serde(other)]
    Waiting,
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64((time.as_secs_f64() * 1000.0).round() / 1000.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Ok(Duration::try_from_secs_f64(f64::deserialize(from)?).unwrap_or_default())
    }
}

/// Writes the report as indented JSON.
pub fn to_json(report: Report) -> String {
    let source = |SourceLine { name, lost }| SourceDto { name, seen: lost.is_none(), lost };
    let dto = ReportDto {
        well: report.is_well(),
        version: report.version,
        phase: report.phase,
        sources: report.sources.into_iter().map(source).collect(),
        models: report.models.into_iter().map(Model).collect(),
        containers: report.containers.into_iter().map(Container).collect(),
    };
    // Strings, numbers and lists of them always are JSON.
    serde_json::to_string_pretty(&dto).unwrap_or_default() + "\n"
}

/// Reads what [`to_json`] wrote.
///
/// # Errors
/// The text is not a report of this version.
pub fn from_json(json: &str) -> Result<Report, serde_json::Error> {
    let dto: ReportDto = serde_json::from_str(json)?;
    Ok(Report {
        version: dto.version,
        phase: dto.phase,
        sources: dto.sources.into_iter().map(|SourceDto { name, lost, .. }| SourceLine { name, lost }).collect(),
        models: dto.models.into_iter().map(|Model(line)| line).collect(),
        containers: dto.containers.into_iter().map(|Container(line)| line).collect(),
    })
}

pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Stopping => "stopping",
    }
}

pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Off => "off",
        Severity::Good => "good",
        Severity::Waiting => "waiting",
        Severity::Wrong => "wrong",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const JSON: &str = r#"{
  "version": "1",
  "phase": "ready",
  "well": false,
  "sources": [
    {
      "name": "docker",
      "seen": false,
      "lost": "gone"
    }
  ],
  "models": [
    {
      "model": "m",
      "container": "c",
      "address": "127.0.0.1:1",
      "in_flight": 1,
      "for_seconds": 1.5,
      "behind": []
    }
  ],
  "containers": [
    {
      "name": "c",
      "id": "1",
      "level": "waiting",
      "state": "starting",
      "why": "because",
      "notes": [
        "n"
      ],
      "address": null,
      "in_flight": 0,
      "for_seconds": 2.0,
      "models": []
    }
  ]
}
"#;

    #[test]
    fn what_is_read_is_written_again() {
        let report = from_json(JSON).unwrap();
        assert_eq!(
            (report.models[0].since, report.containers[0].level),
            (Duration::from_millis(1500), Severity::Waiting)
        );
        assert_eq!(to_json(report), JSON);
    }

    #[test]
    fn unknown_words_of_another_version_are_no_error() {
        let report = from_json(&JSON.replace("\"ready\"", "\"dreaming\"").replace("\"waiting\"", "\"grave\"")).unwrap();
        assert_eq!((report.phase, report.containers[0].level), (Phase::Starting, Severity::Waiting));
    }
}
