//! When a client's connection may end, once the proxy stops: not while its next request may be on the way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::guarded_io::Stands;

/// How long a head is waited for that is due: of a connection that was just made, or one of which a part is there.
const HEAD_GRACE: Duration = Duration::from_secs(1);

/// The end of one connection.
pub(super) struct Ending {
    /// How long a connection is served that became idle during the stop.
    idle_grace: Duration,
    grace: Option<(Stands, Pin<Box<Sleep>>)>,
}

impl Ending {
    pub(super) fn new(idle_grace: Duration) -> Self {
        Self { idle_grace, grace: None }
    }

    /// Where the connection stood before it was driven and where it stands now. Looked at from the beginning of the
    /// stop on; what was idle then has had its time.
    pub(super) fn look(&mut self, before: Stands, now: Stands) {
        let waits_for_head = matches!(self.grace, Some((Stands::Head, _)));
        match now {
            Stands::Busy => self.grace = None,
            Stands::Head if waits_for_head => {}
            Stands::Head => self.begin(now, HEAD_GRACE),
            Stands::Idle if before == Stands::Idle => {}
            Stands::Idle => self.begin(now, self.idle_grace),
        }
    }

    fn begin(&mut self, stands: Stands, grace: Duration) {
        self.grace = (!grace.is_zero()).then(|| (stands, Box::pin(tokio::time::sleep(grace))));
    }

    /// Ready when the connection may end.
    pub(super) fn poll_due(&mut self, now: Stands, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.grace {
            Some((_, grace)) => grace.as_mut().poll(cx),
            None if now == Stands::Idle => Poll::Ready(()),
            None => Poll::Pending,
        }
    }
}
