//! Warnings for the operator.

use std::fmt;
use std::sync::Arc;

/// A reason why a container, or a part of it, is out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// It has no health check.
    NoHealthcheck,
    /// A label is invalid; the whole sentence.
    BadLabel(String),
    /// No network leads to it; the whole sentence.
    NoAddress(String),
    /// No network leads to it, and it belongs to another Compose project; the whole sentence. Needs no attention.
    OtherProject(String),
    /// Its health check has not passed since it was started; the whole sentence.
    NotHealthy(String),
    /// Its models could not be discovered; why.
    DiscoveryFailed(Arc<str>),
    /// It is in service, but its models could not be refreshed; why.
    NotRefreshed(Arc<str>),
    /// It lists an id that is not a valid model name; why.
    BadModelName(String),
    /// It lists more models than one backend may have; how many are left out.
    TooManyModels(usize),
    /// The table is full.
    TableFull,
    /// It ignored its stop signal and is readmitted.
    Readmitted,
    /// The source cannot inspect it; why.
    Uninspected(Arc<str>),
}

impl Warning {
    /// Returns true if it is about the list of a backend in service, rather than about a backend out of service.
    pub(super) fn is_about_list(&self) -> bool {
        match self {
            Self::BadModelName(_) | Self::TooManyModels(_) => true,
            Self::NoHealthcheck
            | Self::BadLabel(_)
            | Self::NoAddress(_)
            | Self::OtherProject(_)
            | Self::NotHealthy(_)
            | Self::DiscoveryFailed(_)
            | Self::NotRefreshed(_)
            | Self::TableFull
            | Self::Readmitted
            | Self::Uninspected(_) => false,
        }
    }

    /// Returns true if it holds in every run of a container: labels and health checks never change.
    pub(super) fn outlives_run(&self) -> bool {
        match self {
            Self::NoHealthcheck | Self::BadLabel(_) | Self::OtherProject(_) => true,
            Self::NoAddress(_)
            | Self::NotHealthy(_)
            | Self::DiscoveryFailed(_)
            | Self::NotRefreshed(_)
            | Self::BadModelName(_)
            | Self::TooManyModels(_)
            | Self::TableFull
            | Self::Readmitted
            | Self::Uninspected(_) => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHealthcheck => f.write_str(
                "it has no HEALTHCHECK and is left out; add one to its image or to its Compose service, such as: \
                 healthcheck: {test: [\"CMD\", \"curl\", \"-f\", \"http://localhost:8000/health\"], interval: 5s}",
            ),
            Self::BadLabel(error) => write!(f, "it is left out: {error}"),
            Self::NoAddress(why) => write!(f, "it is left out: {why}"),
            Self::OtherProject(why) => write!(f, "it is left alone: {why}"),
            Self::NotHealthy(why) => f.write_str(why),
            Self::DiscoveryFailed(why) => write!(f, "its models are not known yet, retrying: {why}"),
            Self::NotRefreshed(why) => {
                write!(f, "its models could not be listed again; what it listed before is served: {why}")
            }
            Self::BadModelName(why) => write!(f, "it lists an id that cannot be used as a model's name: {why}"),
            Self::TooManyModels(over) => write!(f, "it lists too many models; {over} of them are left out"),
            Self::TableFull => f.write_str("the routing table is full; what is over is left out"),
            Self::Uninspected(why) => write!(f, "it cannot be inspected, trying again: {why}"),
            Self::Readmitted => {
                f.write_str("it was told to stop some time ago, still runs and is healthy: it is readmitted")
            }
        }
    }
}
