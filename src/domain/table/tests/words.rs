//! States, transitions and resolutions in a few words, so that tests read as sentences.

use super::super::*;
use crate::drain::Drain;

pub(super) fn state<L>(state: &State<L>) -> String {
    match state {
        State::Waiting(waiting) => match waiting {
            Waiting::Starting => "starting",
            Waiting::Restarting => "restarting",
            Waiting::NoHealthcheck => "no health check",
            Waiting::BadLabel(_) => "bad label",
            Waiting::NoAddress(_) => "no address",
            Waiting::LeftNetwork => "left network",
            Waiting::Unhealthy => "unhealthy",
            Waiting::Unresponsive => "unresponsive",
            Waiting::Paused => "paused",
            Waiting::OutOfMemory => "out of memory",
            Waiting::TooMany => "too many",
        },
        State::Discovering(_) => "discovering",
        State::Ready(_) => "ready",
        State::Stopping(_) => "stopping",
        State::Ended(Ended { removed: false, .. }) => "ended",
        State::Ended(Ended { removed: true, .. }) => "removed",
    }
    .to_owned()
}

pub(super) fn resolution<L>(resolution: &Resolution<'_, L>) -> String {
    match resolution {
        Resolution::Claimed(claims) => {
            let names: Vec<_> = claims.iter().map(|claim| claim.backend.container.as_str()).collect();
            format!("served by {}", names.join(", then "))
        }
        Resolution::Draining => "draining".to_owned(),
        Resolution::Unavailable => "unavailable".to_owned(),
        Resolution::Unknown => "unknown".to_owned(),
    }
}

pub(super) fn transition<L>(transition: &Transition<L>) -> String {
    match transition {
        Transition::Discover(request) => {
            let all = std::iter::once(&request.address).chain(&request.others);
            let ips: Vec<_> = all.map(|address| address.ip().to_string()).collect();
            format!("discover {} at {}", request.container, ips.join(", "))
        }
        Transition::Resume(request) => format!("resume {} at {}", request.container, request.address.ip()),
        Transition::RefreshModels(request) => format!("refresh {}", request.container),
        Transition::Abandon(id) => format!("abandon {id}"),
        Transition::RefreshContainer(_, id) => format!("refresh container {id}"),
        Transition::Registered(backend, models) => {
            let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
            format!("registered {} with {}", backend.container, names.join(", "))
        }
        Transition::ModelsChanged { backend, added, removed } => {
            format!("models of {} changed: +{added:?} -{removed:?}", backend.container)
        }
        Transition::ListsAgain { backend, after } => {
            format!("{} lists again after {}s", backend.container, after.as_secs())
        }
        Transition::LeftService { backend, drain, .. } => {
            format!("left service {} {}", backend.container, manner(*drain))
        }
        Transition::FailWaiting(backend) => format!("fail waiting of {}", backend.container),
        Transition::ForceClose(backend) => format!("force-close {}", backend.container),
        Transition::Removed { backend, after, .. } => {
            format!("removed {} after {}s", backend.container, after.as_secs())
        }
        Transition::RunEnded { container, .. } => format!("a run of {container} ended"),
        Transition::Collision { model, winner, displaced } => {
            format!("collision on {model}: {} before {}", winner.container, displaced.container)
        }
        Transition::TookOver { model, backend } => format!("{} took over {model}", backend.container),
        Transition::Warn { container, warning, .. } => format!("warn of {container}: {}", subject(warning)),
        Transition::SourceDisconnected(source, _) => format!("lost source {}", source.0),
        Transition::SourceSynced(source, count) => format!("saw {count} of source {}", source.0),
    }
}

fn manner(drain: Drain) -> String {
    match drain {
        Drain::Within(time) => format!("within {}s", time.as_secs()),
        Drain::Kept => "keeping its requests".to_owned(),
        Drain::WaitingFailed(_) => "as dead".to_owned(),
    }
}

fn subject(warning: &Warning) -> String {
    match warning {
        Warning::NoHealthcheck => "no health check".to_owned(),
        Warning::BadLabel(_) => "bad label".to_owned(),
        Warning::NoAddress(_) => "no address".to_owned(),
        Warning::OtherProject(_) => "other project".to_owned(),
        Warning::NotHealthy(why) => format!("not healthy, {why}"),
        Warning::DiscoveryFailed(why) => format!("not discovered, {why}"),
        Warning::NotRefreshed(why) => format!("not refreshed, {why}"),
        Warning::BadModelName(_) => "bad model name".to_owned(),
        Warning::TooManyModels(over) => format!("{over} models too many"),
        Warning::TableFull => "table full".to_owned(),
        Warning::Readmitted => "readmitted".to_owned(),
        Warning::Uninspected(why) => format!("not inspected, {why}"),
    }
}
