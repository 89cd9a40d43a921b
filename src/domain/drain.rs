//! How a backend leaves: what becomes of its requests in flight, and until when.

use std::fmt;
use std::time::Duration;

use super::signal::Signal;

/// How long requests of a dead backend may wait for what the network still holds of their answers. Its sockets are
/// closed already; this only ends what would never notice.
pub const WAITING_GRACE: Duration = Duration::from_secs(2);

/// The shortest wait before a container that was told to stop, and still runs, is looked at again, beyond its own stop
/// timeout.
const RECHECK_MARGIN: Duration = Duration::from_secs(5);
/// The least stop timeout that is reckoned with: Docker's default. The time given to `docker stop -t` cannot be seen.
const LEAST_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a backend goes out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaveReason {
    /// It was sent a signal that asks it to end.
    StopSignal(Signal),
    /// The engine says that a stop is under way.
    Stopping,
    /// It was killed.
    Killed,
    /// Its process ended, with the exit code where it is known.
    Ended(Option<i64>),
    /// It exists no more.
    Removed,
    /// It runs anew: the run that was registered is over.
    NewRun,
    /// It is between two runs under its restart policy.
    Restarting,
    /// Its health check fails.
    Unhealthy,
    /// It does not answer, and nothing told it to stop.
    Unresponsive,
    /// It is frozen.
    Paused,
    /// It is on no network that the proxy shares.
    NoNetwork,
    /// It is reached elsewhere now.
    Moved,
    /// The kernel killed a process in it for want of memory.
    OutOfMemory,
    /// It did not take a connection, or broke one: why.
    Ejected(String),
    /// Its labels or its health check cannot be used any more.
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
            Self::NewRun => f.write_str("it was started anew"),
            Self::Restarting => f.write_str("it is restarting"),
            Self::Unhealthy => f.write_str("it turned unhealthy"),
            Self::Unresponsive => f.write_str("it does not answer"),
            Self::Paused => f.write_str("it is paused"),
            Self::NoNetwork => f.write_str("it left the networks that the proxy shares"),
            Self::Moved => f.write_str("its address changed"),
            Self::OutOfMemory => f.write_str("a process in it was killed for want of memory"),
            Self::Ejected(why) => write!(f, "it is suspected to be down: {why}"),
            Self::Unusable => f.write_str("it cannot be used as it is now"),
        }
    }
}

/// What becomes of the requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// They may finish within this time; then they are cut.
    Within(Duration),
    /// They are kept for as long as they take: the container may well finish them.
    Kept,
    /// The backend is dead: what waits for it is ended after the grace; what still hands over bytes may go on within
    /// this time.
    WaitingFailed(Duration),
}

/// The rules of draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPolicy {
    /// The longest wait for requests in flight.
    pub timeout: Duration,
    /// How long after its stop must have been over a container that ignored its stop signal, and is healthy, is taken back.
    pub readmit_after: Duration,
}

impl DrainPolicy {
    /// What becomes of the requests in flight of a backend that goes for this reason.
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

    /// Returns how long after its stop signal a container that ignored it is taken back: not before its stop timeout and
    /// the drain are over, as until then it may be in the middle of a proper stop.
    pub fn readmit_after(&self, stop_timeout: Option<Duration>) -> Duration {
        stop_timeout.unwrap_or_default().max(LEAST_STOP_TIMEOUT).max(self.timeout).saturating_add(self.readmit_after)
    }

    /// How long after its stop signal a container is looked at again, if nothing was heard of it.
    pub fn recheck_after(&self, stop_timeout: Option<Duration>) -> Duration {
        stop_timeout.unwrap_or_default().max(LEAST_STOP_TIMEOUT) + RECHECK_MARGIN
    }
}
