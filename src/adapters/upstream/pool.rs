//! The connections of one channel: how many are open, and which wait for their next request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ports::upstream::SendFailure;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::UpstreamSettings;
use super::connection::Conn;
use super::probation::{Probation, ResponseKind};
use super::tls::ServerTls;

/// How many connections to one backend are watched at a time; others of a kind that is not trusted are closed.
const MAX_WATCHED: usize = 16;
/// The least time between two rounds of the sweeper, so that many connections that age one after the other cost few
/// rounds.
const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// Whether connections are encrypted.
pub(super) enum Tls {
    /// They are not.
    None,
    /// They are, to this server.
    To(ServerTls),
    /// They have to be, and cannot.
    Impossible,
}

/// All connections to one registration of a backend.
pub(super) struct Pool {
    address: SocketAddr,
    tls: Tls,
    settings: UpstreamSettings,
    open: AtomicUsize,
    idle: Mutex<Idle>,
    /// Calls the sweeper earlier than it would come.
    sooner: Arc<Notify>,
}

struct Idle {
    /// The last one in is the first one out, so that the others may grow old and go.
    links: Vec<IdleConn>,
    /// Not to be used again before the backend has shown that it keeps them.
    watched: Vec<IdleConn>,
    probation: Probation,
    sweeper: Option<AbortHandle>,
    sweeps_at: Instant,
    retired: bool,
}

struct IdleConn {
    link: Box<Conn>,
    since: Instant,
    /// Only what is watched has one.
    watched_until: Instant,
    until: Instant,
}

/// What one round of the sweeper has seen.
#[derive(Default)]
struct Seen {
    kept: Vec<IdleConn>,
    closed: Vec<(ResponseKind, Duration)>,
}

impl Pool {
    pub(super) fn new(address: SocketAddr, tls: Tls, settings: UpstreamSettings) -> Self {
        let idle = Idle {
            links: Vec::new(),
            watched: Vec::new(),
            probation: Probation::new(settings.probation, settings.idle_timeout),
            sweeper: None,
            sweeps_at: Instant::now(),
            retired: false,
        };
        Self { address, tls, settings, open: AtomicUsize::new(0), idle: Mutex::new(idle), sooner: Arc::default() }
    }

    /// The connection that became idle last, if there is one that is not too old.
    pub(super) fn take(self: &Arc<Self>) -> Option<PooledConn> {
        let now = Instant::now();
        loop {
            // The guard goes before a connection is closed, which is a system call.
            let parked = self.idle().links.pop()?;
            let idled = now.saturating_duration_since(parked.since);
            let conn =
                PooledConn { link: Some(parked.link), idled: Some(idled), has_place: true, pool: Arc::clone(self) };
            if parked.until > now {
                return Some(conn);
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<PooledConn, SendFailure> {
        let tls = match &self.tls {
            Tls::None => None,
            Tls::To(server) => Some(server),
            Tls::Impossible => return Err(SendFailure::Unreachable("its name cannot be that of a certificate".into())),
        };
        self.take_place()?;
        // Holds the place from here on, also when this future is dropped.
        let mut conn = PooledConn { link: None, idled: None, has_place: true, pool: Arc::clone(self) };
        let link = Conn::open(self.address, tls, self.settings.connect_timeout, self.settings.idle_timeout).await?;
        conn.link = Some(Box::new(link));
        Ok(conn)
    }

    /// Takes a place among the open connections, if need be that of one that is only watched.
    fn take_place(&self) -> Result<(), SendFailure> {
        let most = self.settings.max_connections;
        let one_more = |open: usize| (open < most).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok() {
            return Ok(());
        }
        // Dropped after the guard: closing it is a system call.
        let watched = self.idle().watched.pop();
        watched.map(drop).ok_or(SendFailure::TooManyConnections(most))
    }

    /// Closes what has been idle for longer than it takes to know whether the backend keeps it.
    pub(super) fn make_way(&self) {
        let Some(before) = Instant::now().checked_sub(self.settings.probation) else { return };
        let unused: Vec<_> = {
            let mut idle = self.idle();
            let Idle { links, watched, .. } = &mut *idle;
            let is_unused = |parked: &mut IdleConn| parked.since < before;
            links.extract_if(.., is_unused).chain(watched.extract_if(.., is_unused)).collect()
        };
        self.closed(unused.len());
    }

    /// Closes what is idle, and keeps no connection from now on.
    pub(super) fn retire(&self) {
        let (links, watched, sweeper) = {
            let mut idle = self.idle();
            idle.retired = true;
            (std::mem::take(&mut idle.links), std::mem::take(&mut idle.watched), idle.sweeper.take())
        };
        if let Some(sweeper) = sweeper {
            sweeper.abort();
        }
        self.closed(links.len() + watched.len());
    }

    fn park(self: &Arc<Self>, link: Box<Conn>) -> Result<(), Box<Conn>> {
        let since = Instant::now();
        let mut idle = self.idle();
        let trusted = idle.probation.is_trusted(link.kind);
        let full = match trusted {
            true => idle.links.len() >= self.settings.max_idle,
            false => idle.watched.len() >= self.settings.max_idle.min(MAX_WATCHED),
        };
        if idle.retired || full {
            return Err(link);
        }
        let (may_idle, watch) = idle.probation.times(link.may_idle);
        let parked = IdleConn { link, since, watched_until: since + watch, until: since + may_idle };
        let sweep_at = if trusted { parked.until } else { parked.watched_until };
        if idle.sweeper.is_none() {
            // Without a runtime nobody would close it.
            let Ok(runtime) = Handle::try_current() else { return Err(parked.link) };
            let sweeping = reap_idle(Arc::downgrade(self), Arc::clone(&self.sooner), sweep_at);
            idle.sweeper = Some(runtime.spawn(sweeping).abort_handle());
            idle.sweeps_at = sweep_at;
        } else if sweep_at < idle.sweeps_at {
            idle.sweeps_at = sweep_at;
            self.sooner.notify_one();
        }
        let waiting = if trusted { &mut idle.links } else { &mut idle.watched };
        waiting.push(parked);
        Ok(())
    }

    /// Closes what has waited too long, and judges what was watched for long enough. Returns when to come again, or
    /// `None` when nothing waits.
    fn reap_idle(&self) -> Option<Instant> {
        let now = Instant::now();
        let (old, watched) = {
            let mut idle = self.idle();
            let old: Vec<_> = idle.links.extract_if(.., |parked| parked.until <= now).collect();
            let watched: Vec<_> = idle.watched.extract_if(.., |parked| parked.watched_until <= now).collect();
            (old, watched)
        };
        let (open_before, mut seen) = (old.len() + watched.len(), Seen::default());
        // To look at a connection and to close one are system calls: requests must not wait for them.
        for mut parked in old {
            if parked.link.has_ended() {
                seen.closed.push((parked.link.kind, now.saturating_duration_since(parked.since)));
            }
        }
        for mut parked in watched {
            if parked.link.has_ended() {
                // When exactly does not matter: while it was watched.
                seen.closed.push((parked.link.kind, Duration::ZERO));
            } else {
                seen.kept.push(parked);
            }
        }
        let still_open = seen.kept.len();
        let (next, too_many) = self.judge(seen);
        self.closed(open_before - still_open + too_many.len());
        next
    }

    /// Takes in what a round has seen: what stayed open while it was watched may be used from now on. Returns when to
    /// come again, and the connections for which there is no room.
    fn judge(&self, seen: Seen) -> (Option<Instant>, Vec<IdleConn>) {
        let mut idle = self.idle();
        for (kind, after) in seen.closed {
            idle.probation.closed(kind, after);
        }
        let mut too_many = Vec::new();
        for parked in seen.kept {
            idle.probation.kept(parked.link.kind);
            let full = idle.retired || idle.links.len() >= self.settings.max_idle;
            let to = if full { &mut too_many } else { &mut idle.links };
            to.push(parked);
        }
        let untils = idle.links.iter().map(|parked| parked.until);
        let next = untils.chain(idle.watched.iter().map(|parked| parked.watched_until)).min();
        match next {
            Some(next) => idle.sweeps_at = next,
            None => idle.sweeper = None,
        }
        (next, too_many)
    }

    fn closed(&self, count: usize) {
        self.open.fetch_sub(count, Ordering::Relaxed);
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections in time. Ends when none is left; the next one that becomes idle starts it again.
async fn reap_idle(pool: Weak<Pool>, sooner: Arc<Notify>, first: Instant) {
    let mut at = first;
    loop {
        tokio::select! {
            () = sleep_until(at.max(Instant::now() + LEAST_PAUSE)) => {}
            () = sooner.notified() => {}
        }
        let next = match pool.upgrade() {
            Some(pool) => pool.reap_idle(),
            None => None,
        };
        let Some(next) = next else { return };
        at = next;
    }
}

/// A place among the open connections, and the connection that has it.
pub(super) struct PooledConn {
    link: Option<Box<Conn>>,
    /// How long it was idle before this exchange. A new connection was not.
    idled: Option<Duration>,
    has_place: bool,
    pool: Arc<Pool>,
}

impl PooledConn {
    /// The connection, unless it was taken out.
    pub(super) fn link(&mut self) -> Option<&mut Conn> {
        self.link.as_deref_mut()
    }

    /// Takes the connection out; the place stays taken.
    pub(super) fn take_link(&mut self) -> Option<Box<Conn>> {
        self.link.take()
    }

    /// Returns true if it had carried a request before this one.
    pub(super) fn is_used(&self) -> bool {
        self.idled.is_some()
    }

    /// The backend had closed it without a word when it was to be used again.
    pub(super) fn was_closed(self) {
        if let (Some(link), Some(idled)) = (&self.link, self.idled) {
            self.pool.idle().probation.closed(link.kind, idled);
        }
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

impl Drop for PooledConn {
    fn drop(&mut self) {
        if self.has_place {
            self.pool.closed(1);
        }
    }
}
