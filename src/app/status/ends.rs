//! What the ends of its runs say of a container: whether it was stopped, or crashed, or does so again and again.

use std::time::{Duration, Instant};

use domain::container::RunEnd;
use domain::table::{Entry, LastEnd};

use super::{Severity, span};

/// For how long a crash is worth a person's attention after the restart policy has brought the container back.
const CRASH_IS_FRESH: Duration = Duration::from_secs(600);

/// How a container stands that does not run.
pub(super) fn ended<L>(entry: &Entry<L>) -> (Severity, &'static str, String) {
    match &entry.history.last_end {
        Some(last) if last.is_crash() && !entry.is_foreign() => {
            let name = &entry.container.name;
            let line = format!("it crashed: {}; docker logs {name} may say why", how(&last.end));
            (Severity::Wrong, "crashed", line)
        }
        Some(LastEnd { asked_for: true, .. }) => (Severity::Off, "stopped", "it was stopped".to_owned()),
        Some(last) if last.end.exit_code == Some(0) => {
            (Severity::Off, "ended", "its process ended by itself, with exit code 0".to_owned())
        }
        Some(_) | None => (Severity::Off, "ended", "it does not run".to_owned()),
    }
}

/// That the restart policy brings a container back which is not in service: `None` where its run began otherwise.
pub(super) fn restarted<L>(entry: &Entry<L>) -> Option<String> {
    let times = entry.container.restarts;
    (times > 0).then(|| format!("restarted {} by its restart policy{}", counted(times), last_end(entry)))
}

/// What is said of a healthy container, and that its restart policy brought it back: wrong for as long as that is fresh.
pub(super) fn judged<L>(
    entry: &Entry<L>,
    (level, state, line): (Severity, &'static str, String),
    now: Instant,
) -> (Severity, &'static str, String) {
    let Some(restarted) = restarted(entry) else { return (level, state, line) };
    match entry.history.restarted_at.map(|at| now.saturating_duration_since(at)) {
        Some(ago) if ago < CRASH_IS_FRESH => {
            (Severity::Wrong, state, format!("{line}; {restarted}, {} ago", span(ago)))
        }
        Some(ago) => (level, state, format!("{line}; {restarted}, {} ago", span(ago))),
        None => (level, state, format!("{line}; {restarted}")),
    }
}

fn last_end<L>(entry: &Entry<L>) -> String {
    let end = entry.history.last_end.as_ref().map(|last| last.end).or(entry.container.last_end);
    end.map(|end| format!("; its last run ended with {}", how(&end))).unwrap_or_default()
}

fn how(end: &RunEnd) -> String {
    let code = match end.exit_code {
        Some(code) => format!("exit code {code}"),
        None => "an unknown exit code".to_owned(),
    };
    match end.out_of_memory {
        true => format!("{code}, out of memory"),
        false => code,
    }
}

fn counted(times: u64) -> String {
    match times {
        1 => "once".to_owned(),
        many => format!("{many} times"),
    }
}
