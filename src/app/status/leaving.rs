//! The backends on their way out.

use std::time::Instant;

use domain::table::Draining;

use super::{ContainerLine, Severity, span};

/// The word for a backend out of service that still has requests.
const DRAINING: &str = "draining";

/// A backend on its way out: said beside its container, or alone where that is gone or serves anew.
pub(super) fn add<L>(containers: &mut Vec<ContainerLine>, draining: &Draining<L>, now: Instant) {
    let backend = &draining.backend;
    let in_flight = backend.gate.in_flight();
    let requests = if in_flight == 1 { "request" } else { "requests" };
    let until = match draining.force_close_at.or(draining.fail_waiting_at) {
        Some(at) => format!("{} left", span(at.saturating_duration_since(now))),
        None => "kept".to_owned(),
    };
    let line = format!("draining: {}; {in_flight} {requests} in flight, {until}", draining.reason);
    let id = backend.container.to_string();
    let out_of_service = |line: &&mut ContainerLine| line.id == id && line.address.is_none();
    match containers.iter_mut().find(out_of_service) {
        Some(container) => {
            container.line = match container.level {
                Severity::Wrong => format!("{line}; {}", container.line),
                Severity::Off | Severity::Good | Severity::Waiting => line,
            };
            container.state = DRAINING.to_owned();
            container.in_flight = in_flight;
            container.address = Some(backend.address.to_string());
            container.since = now.saturating_duration_since(draining.since);
            container.models = draining.models.iter().map(ToString::to_string).collect();
        }
        None => containers.push(ContainerLine {
            name: backend.name.to_string(),
            id,
            address: Some(backend.address.to_string()),
            level: Severity::Waiting,
            state: DRAINING.to_owned(),
            line,
            notes: Vec::new(),
            in_flight,
            since: now.saturating_duration_since(draining.since),
            models: draining.models.iter().map(ToString::to_string).collect(),
        }),
    }
}
