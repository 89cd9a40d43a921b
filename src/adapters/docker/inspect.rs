//! Converts an inspection to the domain's container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::container::{Condition, Container, ContainerId, Reach, RunEnd};
use domain::labels;
use domain::signal::Signal;

use super::api_types::{Health, HealthRun, HealthTest, Inspect, State, Summary};
use super::cache::COMPOSE_PROJECT;
use super::settings::LabelFilter;
use super::time::rfc3339;
use crate::adapters::shared::printable::printable;

/// The stop timeout of `docker stop` for a container that sets none.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The first version with a configurable default, which an inspection does not show.
const DEFAULT_CAN_BE_SET_FROM: (u32, u32) = (29, 7);
/// The label of Swarm tasks, whose stop timeout an inspection does not show.
const SWARM_TASK: &str = "com.docker.swarm.task.id";
const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// The label of containers from `docker compose run`.
const COMPOSE_ONEOFF: &str = "com.docker.compose.oneoff";
/// The longest stop timeout. The engine takes a negative one for infinite.
pub const MAX_STOP_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const HEALTH_OUTPUT_CHARS: usize = 200;

/// Returns true if the labels opt in, or seem to be meant to, and match the label filter.
pub fn is_selected(labels: &BTreeMap<String, String>, only: Option<&LabelFilter>) -> bool {
    let chosen = only.is_none_or(|only| labels.get(&only.key) == Some(&only.value));
    chosen && labels::may_have_opted_in(|name| labels.get(name).map(String::as_str))
}

/// Converts an inspection. `default_stop_timeout` is that of the engine, if it is known.
pub fn container(inspect: &Inspect, reach: Reach, default_stop_timeout: Option<Duration>) -> Container {
    let state = &inspect.state;
    let last = state.health.log.last();
    Container {
        id: ContainerId::new(inspect.id.as_str()),
        name: Arc::from(inspect.name.trim_start_matches('/')),
        started_at: rfc3339(&state.started_at).unwrap_or_default(),
        condition: condition(state, &inspect.config.healthcheck),
        labels: labels::read(|name| inspect.config.labels.get(name).map(String::as_str)),
        reach,
        stop_signal: Signal::parse(&inspect.config.stop_signal).unwrap_or(Signal::TERM),
        stop_timeout: match inspect.config.stop_timeout {
            Some(seconds) => Some(stop_timeout(seconds)),
            None => default_stop_timeout.filter(|_| !inspect.config.labels.contains_key(SWARM_TASK)),
        },
        health_output: last.and_then(|run| shortened(&run.output)),
        health_check_took: last.and_then(took),
        restarts: u64::try_from(inspect.restart_count).unwrap_or(0),
        last_end: last_end(state),
        origin: None,
        service: service(&inspect.config.labels),
    }
}

/// Returns the Compose or Swarm service of a container. Containers from `docker compose run` belong to none.
fn service(labels: &BTreeMap<String, String>) -> Option<Arc<str>> {
    let get = |name: &str| labels.get(name).filter(|value| !value.is_empty());
    if let Some(service) = get(SWARM_SERVICE) {
        return Some(Arc::from(service.as_str()));
    }
    let is_oneoff = get(COMPOSE_ONEOFF).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let (project, service) = (get(COMPOSE_PROJECT)?, get(COMPOSE_SERVICE)?);
    (!is_oneoff).then(|| Arc::from(format!("{project}/{service}")))
}

/// Returns how the last run ended. The engine forgets it when the container starts.
fn last_end(state: &State) -> Option<RunEnd> {
    let over = matches!(state.status.as_str(), "exited" | "dead" | "stopped" | "restarting");
    // A container that failed to start stays "created", with the exit code of the attempt.
    let never_began = state.status == "created" && state.exit_code != 0;
    (over || never_began).then_some(RunEnd { exit_code: Some(state.exit_code), out_of_memory: state.oom_killed })
}

/// Returns the condition of a container. An unknown word is judged by the flags beside it, and never against the
/// container.
pub fn condition(state: &State, test: &HealthTest) -> Condition {
    match state.status.as_str() {
        "restarting" => return Condition::Restarting,
        "stopping" => return Condition::Stopping,
        "exited" | "dead" | "removing" | "created" | "stopped" | "configured" | "initialized" => {
            return Condition::NotRunning;
        }
        _ => {}
    }
    match state {
        State { restarting: true, .. } => Condition::Restarting,
        State { dead: true, .. } => Condition::NotRunning,
        State { paused: true, .. } => Condition::Paused,
        _ if state.status == "paused" => Condition::Paused,
        // Podman 5.8 reports this while a stop is under way.
        State { running: false, .. } if state.status == "running" => Condition::Stopping,
        State { running: false, .. } => Condition::NotRunning,
        _ => health(&state.health, test),
    }
}

fn health(health: &Health, test: &HealthTest) -> Condition {
    let switched_off = test.test.first().is_some_and(|word| word == "NONE");
    match health.status.as_str() {
        "" | "none" => Condition::NoHealthcheck,
        _ if switched_off => Condition::NoHealthcheck,
        "healthy" => Condition::Healthy,
        "unhealthy" => Condition::Unhealthy,
        _ => Condition::Starting,
    }
}

fn stop_timeout(seconds: i64) -> Duration {
    u64::try_from(seconds).map_or(MAX_STOP_TIMEOUT, Duration::from_secs).min(MAX_STOP_TIMEOUT)
}

/// Returns the default stop timeout of an engine. `None` if the version is unknown, or has a configurable default.
pub fn default_stop_timeout(version: &str, podman: bool) -> Option<Duration> {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (podman || version < DEFAULT_CAN_BE_SET_FROM).then_some(DEFAULT_STOP_TIMEOUT)
}

/// Makes the output one line of at most [`HEALTH_OUTPUT_CHARS`] characters. Returns `None` if it is empty.
fn shortened(output: &str) -> Option<Arc<str>> {
    let output = printable(output.trim(), ' ');
    let mut text: String = output.chars().take(HEALTH_OUTPUT_CHARS).collect();
    if output.chars().nth(HEALTH_OUTPUT_CHARS).is_some() {
        text.pop();
        text.push('…');
    }
    (!text.is_empty()).then(|| Arc::from(text))
}

fn took(run: &HealthRun) -> Option<Duration> {
    let (start, end) = (rfc3339(&run.start)?, rfc3339(&run.end)?);
    Some(Duration::from_nanos(end.0.checked_sub(start.0)?))
}

/// Returns what differs in the list when a container may have changed. It omits the time in the status text, which
/// always runs.
pub fn fingerprint(summary: &Summary) -> String {
    let remark = summary.status.find('(').and_then(|at| summary.status.get(at..)).unwrap_or_default();
    let remark = if summary.status.starts_with("Up") { remark } else { "" };
    let mut print = format!("{} {remark} {}", summary.state, summary.names.join(","));
    for (name, end) in &summary.network_settings.networks {
        print.push_str(&format!(" {name}={}/{}", end.ip_address, end.global_ipv6_address));
    }
    print
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use domain::container::{EngineTime, Unreachable};
    use serde_json::json;

    fn read(value: serde_json::Value) -> Container {
        let reach = Reach::Nowhere(Unreachable { theirs: vec![], ours: vec![], other_project: None });
        container(&serde_json::from_value(value).unwrap(), reach, Some(DEFAULT_STOP_TIMEOUT))
    }

    #[test]
    fn every_state_that_engines_know_has_a_condition() {
        let running = json!({"Status": "running", "Running": true});
        let with = |health: &str| json!({"Status": "running", "Running": true, "Health": {"Status": health}});
        for (state, expected) in [
            (running, Condition::NoHealthcheck),
            (with(""), Condition::NoHealthcheck),
            (with("none"), Condition::NoHealthcheck),
            (with("starting"), Condition::Starting),
            (with("healthy"), Condition::Healthy),
            (with("unhealthy"), Condition::Unhealthy),
            (with("pondering"), Condition::Starting),
            (json!({"Status": "running", "Running": true, "Health": null}), Condition::NoHealthcheck),
            (json!({"Status": "running", "Running": true, "Healthcheck": {"Status": "healthy"}}), Condition::Healthy),
            (json!({"Status": "restarting", "Running": true, "Restarting": true}), Condition::Restarting),
            (
                json!({"Status": "paused", "Running": true, "Paused": true, "Health": {"Status": "unhealthy"}}),
                Condition::Paused,
            ),
            (json!({"Status": "created"}), Condition::NotRunning),
            (json!({"Status": "exited", "Health": {"Status": "unhealthy"}}), Condition::NotRunning),
            (json!({"Status": "dead", "Dead": true}), Condition::NotRunning),
            (json!({"Status": "removing", "Running": false}), Condition::NotRunning),
            (json!({"Status": "stopping", "Running": true}), Condition::Stopping),
            (json!({"Status": "running", "Running": false}), Condition::Stopping),
            (json!({"Status": "stopped"}), Condition::NotRunning),
            (json!({"Status": "initialized"}), Condition::NotRunning),
            (json!({"Status": "unknown", "Running": true}), Condition::NoHealthcheck),
            (json!({"Status": "unknown"}), Condition::NotRunning),
            (json!({}), Condition::NotRunning),
        ] {
            assert_eq!(read(json!({"Id": "a", "State": state})).condition, expected, "{state}");
        }
    }

    #[test]
    fn a_health_check_that_is_switched_off_is_none() {
        let off = json!({"Id": "a", "Config": {"Healthcheck": {"Test": ["NONE"]}},
            "State": {"Status": "running", "Running": true, "Health": {"Status": "starting"}}});
        assert_eq!(read(off).condition, Condition::NoHealthcheck);
    }

    #[test]
    fn the_rest_of_a_container_is_read() {
        let full = read(json!({
            "Id": "a", "Name": "/llm",
            "State": {"Status": "running", "Running": true, "StartedAt": "1970-01-01T00:00:02.5Z", "Health": {"Status": "healthy",
                "Log": [{"Output": "old"}, {"Start": "1970-01-01T01:00:00.5+01:00", "End": "1970-01-01T00:00:02Z", "Output": "ok\n\u{1b}[31m\n"}]}},
            "Config": {"StopSignal": "SIGQUIT", "StopTimeout": 3, "Labels": {"inference.enable": "true", "inference.port": "9"}},
        }));
        assert_eq!(&*full.name, "llm");
        assert_eq!(full.started_at, EngineTime(2_500_000_000));
        assert_eq!(full.labels.unwrap().port, 9);
        assert_eq!((full.restarts, full.last_end), (0, None));
        assert_eq!((full.stop_signal, full.stop_timeout), (Signal::QUIT, Some(Duration::from_secs(3))));
        assert_eq!(full.health_output.as_deref(), Some("ok  [31m"));
        assert_eq!(full.health_check_took, Some(Duration::from_millis(1500)));

        let bare =
            read(json!({"Id": "a", "State": {}, "Config": {"StopSignal": "NOISE", "Labels": {"inference.port": "x"}}}));
        assert_eq!((bare.stop_signal, bare.stop_timeout), (Signal::TERM, Some(DEFAULT_STOP_TIMEOUT)));
        assert_eq!((bare.health_output, bare.health_check_took), (None, None));
        assert_eq!(bare.labels.unwrap_err().label, "inference.port");
        let podman = read(json!({"Id": "a", "State": {}, "Config": {"StopSignal": 3, "StopTimeout": -1}}));
        assert_eq!((podman.stop_signal, podman.stop_timeout), (Signal::QUIT, Some(MAX_STOP_TIMEOUT)));
    }

    #[test]
    fn a_stop_timeout_is_known_only_where_it_cannot_be_set_elsewhere() {
        let ten = Some(DEFAULT_STOP_TIMEOUT);
        for (version, expected) in [
            ("20.10.24", ten),
            ("28.5.2+dfsg1", ten),
            ("29.6.1", ten),
            ("29.7.0", None),
            ("29.7.0-rc.1", None),
            ("30.0.0", None),
            ("", None),
            ("dev", None),
        ] {
            assert_eq!(default_stop_timeout(version, false), expected, "{version}");
        }
        assert_eq!(default_stop_timeout("5.8.6", true), ten);
        let task = |config: serde_json::Value| read(json!({"Id": "a", "State": {}, "Config": config})).stop_timeout;
        assert_eq!(task(json!({"Labels": {"com.docker.swarm.task.id": "x"}})), None);
        assert_eq!(
            task(json!({"Labels": {"com.docker.swarm.task.id": "x"}, "StopTimeout": 3})),
            Some(Duration::from_secs(3))
        );
    }

    #[test]
    fn how_the_last_run_ended_is_read_while_none_runs() {
        let ended = |status: &str, running: bool| {
            read(
                json!({"Id": "a", "RestartCount": 4, "State": {"Status": status, "Running": running, "ExitCode": 3, "OOMKilled": true}}),
            )
        };
        let end = Some(RunEnd { exit_code: Some(3), out_of_memory: true });
        for (status, running, expected) in [
            ("exited", false, end),
            ("dead", false, end),
            ("restarting", true, end),
            ("running", true, None),
            ("created", false, end),
        ] {
            let container = ended(status, running);
            assert_eq!((container.restarts, container.last_end), (4, expected), "{status}");
        }
        assert_eq!(read(json!({"Id": "a", "RestartCount": -1, "State": {}})).restarts, 0);
    }

    #[test]
    fn a_long_health_output_is_shortened() {
        let long = shortened(&"é".repeat(1000)).unwrap();
        assert_eq!(long.chars().count(), HEALTH_OUTPUT_CHARS);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn the_fingerprint_sees_changes_and_not_the_clock() {
        let print = |state: &str, status: &str| {
            fingerprint(&serde_json::from_value(json!({"Id": "a", "State": state, "Status": status})).unwrap())
        };
        assert_eq!(print("running", "Up 3 seconds (healthy)"), print("running", "Up 2 hours (healthy)"));
        assert_ne!(print("running", "Up 3 seconds (healthy)"), print("running", "Up 3 seconds (unhealthy)"));
        assert_ne!(print("running", "Up 3 seconds"), print("exited", "Exited (0) 1 second ago"));
        assert_eq!(print("exited", "Exited (0) 1 second ago"), print("exited", "Exited (0) 2 hours ago"));
    }
}
