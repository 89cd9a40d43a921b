//! How long the engine waits between a stop signal and the kill.

use std::time::Duration;

use domain::container::Container;

use super::span;

/// Says so where a drain may take longer, or where that is not known.
pub(super) fn too_short(container: &Container, drain: Duration) -> Option<String> {
    let longest = span(drain);
    match container.stop_timeout {
        Some(stop) if stop >= drain => None,
        Some(stop) => Some(format!(
            "its stop_grace_period is {}: docker stop kills it before a drain of up to {longest} ends; \
             set {longest} or more",
            span(stop)
        )),
        None => Some(format!(
            "its stop_grace_period is not known here: have it be {longest} or more, so that a drain may end"
        )),
    }
}
