//! The ends of runs: each is reported once.

use std::sync::Arc;

use super::entry::{Entry, State, Waiting};
use super::event::Transition;
use super::history::{KILLED, LastEnd, is_asked_to_end};
use super::{RoutingTable, Transitions};
use crate::container::{ContainerId, EngineTime, RunEnd};

impl<L> RoutingTable<L> {
    /// Reports the end of a run once, whether it was in service or not. Runs before the container changes its state, so
    /// that a stop under way is still seen.
    pub(super) fn run_ended(
        &mut self,
        id: &ContainerId,
        end: RunEnd,
        at: Option<EngineTime>,
        out: &mut Transitions<L>,
    ) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.knows_end(end.exit_code, at)) else { return };
        let killed_unseen = at.is_none() && end.exit_code == Some(KILLED);
        let end = RunEnd { out_of_memory: end.out_of_memory || entry.history.is_out_of_memory(), ..end };
        let asked_for = matches!(entry.state, State::Stopping(_))
            || (!end.out_of_memory && (killed_unseen || end.exit_code.is_some_and(is_asked_to_end)));
        let last = LastEnd { end, asked_for, at, run: entry.container.started_at };
        out.push(Transition::RunEnded {
            container: id.clone(),
            name: Arc::clone(&entry.container.name),
            end,
            restarts: entry.container.restarts,
            crashed: last.is_crash() && !entry.is_foreign(),
        });
        entry.history.run_ended(last);
    }

    /// Reports the end of a run that an inspection found.
    pub(super) fn run_found_ended(&mut self, id: &ContainerId, out: &mut Transitions<L>) {
        let end = self.entries.get(id).and_then(|entry| entry.container.last_end);
        self.run_ended(id, end.unwrap_or(RunEnd { exit_code: None, out_of_memory: false }), None, out);
    }
}

impl<L> Entry<L> {
    /// Returns true if this end of a run was reported before. An engine reports one end by several events, and replays
    /// them after a disconnection.
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
