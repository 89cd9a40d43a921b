//! What became of the earlier runs of a container, as far as it was seen.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Instant;

use super::entry::{Entry, State, Waiting};
use super::event::{Transition, Warning};
use super::{RoutingTable, Transitions};
use crate::container::{Condition, Container, ContainerId, EngineTime, RunEnd};

/// Exit codes of a process that ended by a signal which asks for it: SIGINT and SIGTERM.
const ASKED_TO_END: [i64; 2] = [130, 143];
/// The exit code of a process that was killed, by whomever.
const KILLED: i64 = 137;

/// What is remembered of the runs of one container.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// How the last run ended that has ended.
    pub last_end: Option<LastEnd>,
    /// When its restart policy last started it again.
    pub restarted_at: Option<Instant>,
    /// The kernel killed a process of the present run for want of memory.
    out_of_memory: bool,
    /// The run that was in service.
    served: Option<EngineTime>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastEnd {
    /// How it ended.
    pub end: RunEnd,
    /// Whether it was asked to end.
    pub asked_for: bool,
    /// When the engine told it; `None` where a look found it.
    at: Option<EngineTime>,
    /// Which run.
    run: EngineTime,
}

impl LastEnd {
    /// Whether the run ended by a fault of its own.
    pub fn is_crash(&self) -> bool {
        let failed = self.end.out_of_memory || self.end.exit_code.is_some_and(|code| code != 0);
        failed && !self.asked_for
    }
}

impl History {
    /// The history of a container that is seen for the first time. If it does not run, nobody saw whether it was
    /// stopped: a process that was killed may well have been.
    pub(super) fn of(container: &Container) -> Self {
        let last_end = container.last_end.filter(|_| container.condition == Condition::NotRunning).map(|end| LastEnd {
            asked_for: !end.out_of_memory && end.exit_code.is_none_or(|code| code == KILLED || ended_by_signal(code)),
            end,
            at: None,
            run: container.started_at,
        });
        Self { last_end, ..Self::default() }
    }

    /// A look found the container as it is now, after it was `before`.
    pub(super) fn seen(&mut self, before: &Container, container: &Container, now: Instant) {
        if container.started_at > before.started_at {
            self.out_of_memory = false;
        }
        if container.restarts > before.restarts {
            self.restarted_at = Some(now);
        }
    }

    pub(super) fn ran_out_of_memory(&mut self) {
        self.out_of_memory = true;
    }

    pub(super) fn came_into_service(&mut self, run: EngineTime) {
        self.served = Some(run);
    }
}

fn ended_by_signal(code: i64) -> bool {
    ASKED_TO_END.contains(&code)
}

impl<L> Entry<L> {
    /// Whether its present run has been in service.
    fn has_served(&self) -> bool {
        self.history.served == Some(self.container.started_at)
    }

    /// Whether this end of a run was told before. An engine tells one end by several events, and again after a loss.
    fn knows_end(&self, exit_code: Option<i64>, at: Option<EngineTime>) -> bool {
        let over = matches!(self.state, State::Ended(_) | State::Waiting(Waiting::Restarting));
        match (&self.history.last_end, at) {
            (_, None) => over,
            (Some(last), Some(at)) => {
                last.at.is_some_and(|before| at <= before)
                    || (over && exit_code.is_none())
                    || (last.at.is_none() && last.run == self.container.started_at)
            }
            (None, Some(_)) => over && exit_code.is_none(),
        }
    }
}

impl<L> RoutingTable<L> {
    /// Tells the operator, unless that is what was told last.
    pub(super) fn warn(&mut self, id: &ContainerId, warning: Warning, out: &mut Transitions<L>) {
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.warned.contains(&warning)) {
            entry.warned.retain(|told| discriminant(told) != discriminant(&warning));
            entry.warned.push(warning.clone());
            out.push(Transition::Warn { container: id.clone(), name: Arc::clone(&entry.container.name), warning });
        }
    }

    /// A run ended: the operator is told once, whether it was in service or not. Comes before what follows from it, so
    /// that a stop that was under way is still seen.
    pub(super) fn run_ended(
        &mut self,
        id: &ContainerId,
        end: RunEnd,
        at: Option<EngineTime>,
        out: &mut Transitions<L>,
    ) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.knows_end(end.exit_code, at)) else { return };
        let killed_unseen = at.is_none() && end.exit_code == Some(KILLED);
        let end = RunEnd { out_of_memory: end.out_of_memory || entry.history.out_of_memory, ..end };
        let asked_for = matches!(entry.state, State::Stopping(_))
            || (!end.out_of_memory && (killed_unseen || end.exit_code.is_some_and(ended_by_signal)));
        let last = LastEnd { end, asked_for, at, run: entry.container.started_at };
        out.push(Transition::RunEnded {
            container: id.clone(),
            name: entry.container.name.clone(),
            end,
            restarts: entry.container.restarts,
            crashed: last.is_crash() && !entry.is_foreign(),
        });
        entry.history.out_of_memory = false;
        entry.history.last_end = Some(last);
    }

    /// A look found a run to be over, or its health check to fail.
    pub(super) fn note_end(&mut self, id: &ContainerId, waiting: &Waiting, out: &mut Transitions<L>) {
        let end = self.entries.get(id).and_then(|entry| entry.container.last_end);
        match waiting {
            Waiting::Restarting => {
                self.run_ended(id, end.unwrap_or(RunEnd { exit_code: None, out_of_memory: false }), None, out);
            }
            Waiting::Unhealthy => {
                self.warn_unhealthy(id, "its health check fails, and has not passed since it was started".into(), out);
            }
            _ => {}
        }
    }

    /// A container fails its health check, or has not passed it for long, and was never in service in this run: told
    /// once, with what the check says. What was in service has its own line when it leaves.
    pub(super) fn warn_unhealthy(&mut self, id: &ContainerId, why: String, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get(id) else { return };
        if !entry.health_is_worth_a_warning() {
            return;
        }
        let why = match entry.container.health_output.as_deref().map(str::trim).filter(|output| !output.is_empty()) {
            Some(output) => format!("{why}; its health check last said: {output}"),
            None => why,
        };
        self.warn(id, Warning::NotHealthy(why), out);
    }
}

impl<L> Entry<L> {
    /// Whether its health is still to be told of: once in a run, and not after it has served in it.
    pub(super) fn health_is_worth_a_warning(&self) -> bool {
        let was_told = self.warned.iter().any(|warning| matches!(warning, Warning::NotHealthy(_)));
        !was_told && !self.has_served() && !self.is_static()
    }

    /// Whether it is another Compose project's, out of our reach, and never served here.
    pub fn is_foreign(&self) -> bool {
        self.container.other_project().is_some() && self.served.is_empty()
    }

    /// Whether it is no container but a backend that is called by its URL. Its source tells of its health.
    fn is_static(&self) -> bool {
        self.container.name.contains("://")
    }
}
