//! When the operator is warned: once per change.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Entry, State, Waiting};
use super::event::Transition;
use super::warning::Warning;
use super::{RoutingTable, Transitions};
use crate::container::ContainerId;

/// After how long a container that has not turned healthy is worth a warning: large models take minutes to load.
const STARTS_LONG: Duration = Duration::from_secs(600);

impl<L> RoutingTable<L> {
    /// Warns the operator, unless the last warning of this kind was the same.
    pub(super) fn warn(&mut self, id: &ContainerId, warning: Warning, out: &mut Transitions<L>) {
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.warned.contains(&warning)) {
            entry.warned.retain(|before| discriminant(before) != discriminant(&warning));
            entry.warned.push(warning.clone());
            out.push(Transition::Warn { container: id.clone(), name: Arc::clone(&entry.container.name), warning });
        }
    }

    /// Warns that a container fails its health check, with the output of the check. A container that was in service in
    /// this run is reported when it leaves service instead.
    pub(super) fn warn_unhealthy(&mut self, id: &ContainerId, out: &mut Transitions<L>) {
        self.warn_of_health(id, "its health check fails, and has not passed since it was started".into(), out);
    }

    /// Warns that a container has been starting for long.
    pub(super) fn warn_starts_long(&mut self, id: &ContainerId, out: &mut Transitions<L>) {
        let minutes = STARTS_LONG.as_secs() / 60;
        self.warn_of_health(id, format!("its health check has not passed for {minutes} minutes"), out);
    }

    fn warn_of_health(&mut self, id: &ContainerId, why: String, out: &mut Transitions<L>) {
        let Some(entry) = self.entries.get(id).filter(|entry| entry.health_is_worth_a_warning()) else { return };
        let why = match entry.container.health_output.as_deref().map(str::trim).filter(|output| !output.is_empty()) {
            Some(output) => format!("{why}; its health check last said: {output}"),
            None => why,
        };
        self.warn(id, Warning::NotHealthy(why), out);
    }
}

impl<L> Entry<L> {
    /// Returns when [`RoutingTable::warn_starts_long`] is due.
    pub(super) fn warn_of_health_at(&self) -> Option<Instant> {
        let starts = matches!(self.state, State::Waiting(Waiting::Starting));
        (starts && self.health_is_worth_a_warning()).then(|| self.since + STARTS_LONG)
    }

    /// Returns true if its health is worth a warning: once in a run, and only before it has served in it.
    fn health_is_worth_a_warning(&self) -> bool {
        let was_warned = self.warned.iter().any(|warning| matches!(warning, Warning::NotHealthy(_)));
        !was_warned && !self.has_served() && !self.is_static()
    }
}
