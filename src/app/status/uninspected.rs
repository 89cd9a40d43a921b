//! Containers that cannot be inspected.

use std::sync::Arc;
use std::time::Duration;

use domain::container::Uninspected;
use domain::table::{RoutingTable, Warning};

use super::{ContainerLine, Severity};

/// A container of which nothing is known but that it cannot be inspected.
pub(super) fn line<L>(table: &RoutingTable<L>, one: &Uninspected) -> Option<ContainerLine> {
    let is_known = table.entries().any(|(id, _)| *id == one.id);
    (!is_known).then(|| ContainerLine {
        name: one.name.to_string(),
        id: one.id.to_string(),
        address: None,
        level: Severity::Wrong,
        state: "not inspected".to_owned(),
        line: Warning::Uninspected(Arc::clone(&one.why)).to_string(),
        notes: Vec::new(),
        in_flight: 0,
        since: Duration::ZERO,
        models: Vec::new(),
    })
}
