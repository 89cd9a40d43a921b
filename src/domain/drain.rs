//! Drains: what becomes of the requests in flight of a backend that leaves service, and until when.

use std::fmt;
use std::time::Duration;

use super::signal::Signal;

/// How long requests of a dead backend may wait for the rest of their responses in the network. Its sockets are closed
/// already; this only ends requests that would never notice.
pub const WAITING_GRACE: Duration = Duration::from_secs(2);

/// How long after its stop timeout a container that was told to stop is inspected, at the earliest.
const RECHECK_MARGIN: Duration = Duration::from_secs(5);
/// The shortest stop timeout that is assumed: Docker's default. The time given to `docker stop -t` is unknown.
const LEAST_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason why a backend leaves service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaveReason {
    /// It was sent a stop signal.
    StopSignal(Signal),
    /// The engine reports that a stop is under way.
    Stopping,
    /// It was killed.
    Killed,
    /// Its process ended, with the exit code if it is known.
    Ended(Option<i64>),
    /// It was removed.
    Removed,
    /// It was restarted: the run that was registered is over.
    NewRun,
    /// It is between two runs under its restart policy.
    Restarting,
    /// Its health check fails.
    Unhealthy,
    /// It does not respond, and was not told to stop.
    Unresponsive,
    /// It is paused.
    Paused,
    /// It is on no network that the proxy shares.
    NoNetwork,
    /// Its address changed.
    Moved,
    /// The kernel killed a process in it for lack of memory.
    OutOfMemory,
    /// It refused a connection, or broke one: why.
    Ejected(String),
    /// Its labels or its health check became invalid.
    Unusable,
}

impl fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopSignal(signal) => write!(f, "it was sent {signal}"),
            Self::Stopping => f.write_str("it is being stopped"),
            Self::Killed => f.write_str("it was killed"),
            Self::Ended(Some(code)) => write!(f, "its process ended with exit code {code}"),
            Self::Ended(None) => f.write_str("its process ended"),
            Self::Removed => f.write_str("the container is gone"),
            Self::NewRun => f.write_str("it was restarted"),
            Self::Restarting => f.write_str("it is restarting"),
            Self::Unhealthy => f.write_str("it turned unhealthy"),
            Self::Unresponsive => f.write_str("it does not respond"),
            Self::Paused => f.write_str("it is paused"),
            Self::NoNetwork => f.write_str("it left the networks that the proxy shares"),
            Self::Moved => f.write_str("its address changed"),
            Self::OutOfMemory => f.write_str("a process in it was killed for lack of memory"),
            Self::Ejected(why) => write!(f, "it was ejected: {why}"),
            Self::Unusable => f.write_str("it cannot be used as it is now"),
        }
    }
}

/// The treatment of the requests in flight of a backend that leaves service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// They may finish within this time; then they are closed.
    Within(Duration),
    /// They are kept for as long as they take: the container may finish them.
    Kept,
    /// The backend is dead: requests that wait for it fail after [`WAITING_GRACE`]; those that still receive bytes may
    /// go on within this time.
    WaitingFailed(Duration),
}

/// The rules of drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPolicy {
    /// The longest drain.
    pub timeout: Duration,
    /// How long after its stop should have been over a container that ignored its stop signal, and is healthy, is
    /// readmitted.
    pub readmit_after: Duration,
}

impl DrainPolicy {
    /// Returns the drain of a backend that leaves for this reason.
    pub fn drain_for(&self, reason: &LeaveReason) -> Drain {
        match reason {
            LeaveReason::StopSignal(_) | LeaveReason::Stopping | LeaveReason::Unhealthy | LeaveReason::Unusable => {
                Drain::Within(self.timeout)
            }
            LeaveReason::Paused
            | LeaveReason::Unresponsive
            | LeaveReason::NoNetwork
            | LeaveReason::Moved
            | LeaveReason::OutOfMemory
            | LeaveReason::Ejected(_) => Drain::Kept,
            LeaveReason::Killed
            | LeaveReason::Ended(_)
            | LeaveReason::Removed
            | LeaveReason::NewRun
            | LeaveReason::Restarting => Drain::WaitingFailed(self.timeout),
        }
    }

    /// Returns how long after its stop signal a container that ignored it is readmitted: not before its stop timeout
    /// and the drain are over, as until then it may be in the middle of a proper stop.
    pub fn readmit_after(&self, stop_timeout: Option<Duration>) -> Duration {
        stop_timeout.unwrap_or_default().max(LEAST_STOP_TIMEOUT).max(self.timeout).saturating_add(self.readmit_after)
    }

    /// Returns how long after its stop signal a container is inspected, if no event has come.
    pub fn recheck_after(&self, stop_timeout: Option<Duration>) -> Duration {
        stop_timeout.unwrap_or_default().max(LEAST_STOP_TIMEOUT) + RECHECK_MARGIN
    }
}
