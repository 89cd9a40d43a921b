//! The connections of one channel: how many are open, and which wait for their next request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::UpstreamSettings;
use super::link::Link;
use crate::ports::upstream::SendFailure;

/// All connections to one registration of a backend.
pub(super) struct Pool {
    address: SocketAddr,
    settings: UpstreamSettings,
    open: AtomicUsize,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The last one in is the first one out, so that the others may grow old and go.
    links: Vec<Parked>,
    sweeper: Option<AbortHandle>,
    retired: bool,
}

struct Parked {
    link: Box<Link>,
    until: Instant,
}

impl Pool {
    pub(super) fn new(address: SocketAddr, settings: UpstreamSettings) -> Self {
        Self { address, settings, open: AtomicUsize::new(0), idle: Mutex::new(Idle::default()) }
    }

    /// The connection that became idle last, if there is one that is not too old.
    pub(super) fn take(self: &Arc<Self>) -> Option<Lent> {
        let now = Instant::now();
        loop {
            // The guard goes before a connection is closed, which is a system call.
            let parked = self.idle().links.pop()?;
            let lent = Lent { link: Some(parked.link), has_place: true, pool: Arc::clone(self) };
            if parked.until > now {
                return Some(lent);
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Lent, SendFailure> {
        let most = self.settings.max_connections;
        let one_more = |open: usize| (open < most).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(SendFailure::TooManyConnections(most));
        }
        // Holds the place from here on, also when this future is dropped.
        let mut lent = Lent { link: None, has_place: true, pool: Arc::clone(self) };
        let link = Link::open(self.address, self.settings.connect_timeout, self.settings.idle_timeout).await?;
        lent.link = Some(Box::new(link));
        Ok(lent)
    }

    /// Closes what is idle, and keeps no connection from now on.
    pub(super) fn retire(&self) {
        let (links, sweeper) = {
            let mut idle = self.idle();
            idle.retired = true;
            (std::mem::take(&mut idle.links), idle.sweeper.take())
        };
        if let Some(sweeper) = sweeper {
            sweeper.abort();
        }
        self.closed(links.len());
    }

    fn park(self: &Arc<Self>, link: Box<Link>) -> Result<(), Box<Link>> {
        let until = Instant::now() + link.may_idle;
        let mut idle = self.idle();
        if idle.retired || idle.links.len() >= self.settings.max_idle {
            return Err(link);
        }
        if idle.sweeper.is_none() {
            // Without a runtime nobody would close it.
            let Ok(runtime) = Handle::try_current() else { return Err(link) };
            idle.sweeper = Some(runtime.spawn(sweep(Arc::downgrade(self), until)).abort_handle());
        }
        idle.links.push(Parked { link, until });
        Ok(())
    }

    /// Closes what has waited too long. Answers when to come again, or `None` when nothing waits.
    fn close_old(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut old = Vec::new();
        let next = {
            let mut idle = self.idle();
            let mut index = 0;
            while let Some(parked) = idle.links.get(index) {
                if parked.until <= now {
                    old.push(idle.links.remove(index));
                } else {
                    index += 1;
                }
            }
            let next = idle.links.iter().map(|parked| parked.until).min();
            if next.is_none() {
                idle.sweeper = None;
            }
            next
        };
        self.closed(old.len());
        next
    }

    fn closed(&self, count: usize) {
        self.open.fetch_sub(count, Ordering::Relaxed);
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections in time. Ends when none is left; the next one that becomes idle starts it again.
async fn sweep(pool: Weak<Pool>, first: Instant) {
    /// The least time between two rounds, so that many connections that age one after the other cost few rounds.
    const LEAST_PAUSE: Duration = Duration::from_millis(50);
    let mut at = first;
    loop {
        sleep_until(at.max(Instant::now() + LEAST_PAUSE)).await;
        let next = match pool.upgrade() {
            Some(pool) => pool.close_old(),
            None => None,
        };
        let Some(next) = next else { return };
        at = next;
    }
}

/// A place among the open connections, and the connection that has it.
pub(super) struct Lent {
    link: Option<Box<Link>>,
    has_place: bool,
    pool: Arc<Pool>,
}

impl Lent {
    /// The connection, unless it was taken out.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        self.link.as_deref_mut()
    }

    /// Takes the connection out; the place stays taken.
    pub(super) fn take_link(&mut self) -> Option<Box<Link>> {
        self.link.take()
    }

    /// Keeps the connection for the next request, if it is fit for one; else closes it.
    pub(super) fn give_back(mut self) {
        if let Some(link) = self.link.take_if(|link| link.is_free()) {
            link.rest();
            match self.pool.park(link) {
                // The place goes with the idle connection.
                Ok(()) => self.has_place = false,
                Err(link) => self.link = Some(link),
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.has_place {
            self.pool.closed(1);
        }
    }
}
