//! When a client's connection may end, once the proxy stops: not while its next request may be on the way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::conn_state::ConnState;

/// How long a head is waited for that is due: of a connection that was just made, or one of which a part is there. The
/// rest of a body that is discarded has the same time.
const HEAD_GRACE: Duration = Duration::from_secs(1);

/// The end of one connection.
pub(super) struct GracePeriod {
    /// How long a connection is served that became idle during the stop.
    idle_grace: Duration,
    grace: Option<(ConnState, Pin<Box<Sleep>>)>,
}

impl GracePeriod {
    pub(super) fn new(idle_grace: Duration) -> Self {
        Self { idle_grace, grace: None }
    }

    /// The state before the connection was driven and the state now. Looked at from the beginning of the stop on; what
    /// was idle then has had its time.
    pub(super) fn look(&mut self, before: ConnState, now: ConnState) {
        match now {
            ConnState::Serving | ConnState::Tunnel | ConnState::Closing => self.grace = None,
            ConnState::New | ConnState::Head | ConnState::Draining => {
                if !matches!(self.grace, Some((began, _)) if began != ConnState::Idle) {
                    self.begin(now, HEAD_GRACE);
                }
            }
            ConnState::Idle if before == ConnState::Idle => {}
            ConnState::Idle => self.begin(now, self.idle_grace),
        }
    }

    fn begin(&mut self, state: ConnState, grace: Duration) {
        self.grace = (!grace.is_zero()).then(|| (state, Box::pin(tokio::time::sleep(grace))));
    }

    /// Ready when the connection may end.
    pub(super) fn poll_due(&mut self, now: ConnState, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.grace {
            Some((_, grace)) => grace.as_mut().poll(cx),
            None if now == ConnState::Idle => Poll::Ready(()),
            None => Poll::Pending,
        }
    }
}
