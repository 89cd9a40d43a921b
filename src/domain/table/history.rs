//! The earlier runs of a container, as far as they were seen.

use std::time::Instant;

use crate::container::{Condition, Container, EngineTime, RunEnd};

/// The exit codes of a process that ended by SIGINT or SIGTERM.
const ASKED_TO_END: [i64; 2] = [130, 143];
/// The exit code of a process that was killed.
pub(super) const KILLED: i64 = 137;

/// The runs of one container.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The last run that ended.
    pub last_end: Option<LastEnd>,
    /// When the restart policy last restarted it.
    pub restarted_at: Option<Instant>,
    /// Whether the kernel killed a process of the present run for lack of memory.
    out_of_memory: bool,
    /// The last run that was in service.
    served: Option<EngineTime>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastEnd {
    /// How it ended.
    pub end: RunEnd,
    /// Whether it was asked to end.
    pub asked_for: bool,
    /// The time of the event; `None` if an inspection found the end.
    pub(super) at: Option<EngineTime>,
    /// The run.
    pub(super) run: EngineTime,
}

impl LastEnd {
    /// Returns true if the run failed by itself.
    pub fn is_crash(&self) -> bool {
        let failed = self.end.out_of_memory || self.end.exit_code.is_some_and(|code| code != 0);
        failed && !self.asked_for
    }
}

impl History {
    /// Returns the history of a container that is seen for the first time. If it does not run, its stop was not seen: a
    /// process that was killed counts as stopped.
    pub(super) fn of(container: &Container) -> Self {
        let last_end = container.last_end.filter(|_| container.condition == Condition::NotRunning).map(|end| LastEnd {
            asked_for: !end.out_of_memory && end.exit_code.is_none_or(|code| code == KILLED || is_asked_to_end(code)),
            end,
            at: None,
            run: container.started_at,
        });
        Self { last_end, ..Self::default() }
    }

    /// Takes in an inspection that shows the container as it is now, after it was `before`.
    pub(super) fn inspected(&mut self, before: &Container, container: &Container, now: Instant) {
        if container.started_at > before.started_at {
            self.out_of_memory = false;
        }
        if container.restarts > before.restarts {
            self.restarted_at = Some(now);
        }
    }

    /// Notes that the kernel killed a process of the present run.
    pub(super) fn ran_out_of_memory(&mut self) {
        self.out_of_memory = true;
    }

    /// Returns true if the kernel killed a process of the present run.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.out_of_memory
    }

    /// Notes the end of the present run.
    pub(super) fn run_ended(&mut self, end: LastEnd) {
        self.out_of_memory = false;
        self.last_end = Some(end);
    }

    /// Notes that a run entered service.
    pub(super) fn entered_service(&mut self, run: EngineTime) {
        self.served = Some(run);
    }

    /// Returns true if this run was the last one in service.
    pub(super) fn has_served(&self, run: EngineTime) -> bool {
        self.served == Some(run)
    }
}

/// Returns true for the exit code of a process that ended by a signal which asks for it.
pub(super) fn is_asked_to_end(code: i64) -> bool {
    ASKED_TO_END.contains(&code)
}
