//! Which servers are at work on requests of the proxy, by address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use ports::activity::{Activity, ServerActivity};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::cancel::RequestCancel;

/// After how long without a byte for any of its requests a server is asked in spite of them. A long prompt on a slow
/// machine takes minutes before its first byte.
const SILENT_AT_MOST: Duration = Duration::from_secs(10 * 60);
/// How often a server that is waited for is looked at for progress.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The requests in flight over one link.
#[derive(Debug)]
pub(super) struct InFlight {
    requests: Mutex<Requests>,
    server: Arc<Server>,
}

#[derive(Debug, Default)]
struct Requests {
    interrupts: Slab<Arc<RequestCancel>>,
    /// What those who have left had received here, less what those who are here had received elsewhere before.
    others: u64,
}

/// One address, and who waits for it to be idle.
#[derive(Debug, Default)]
struct Server {
    waiting: AtomicUsize,
    idle: Notify,
}

impl InFlight {
    /// Counts one more request.
    pub(super) fn enter(&self, cancel: &Arc<RequestCancel>) -> usize {
        let mut requests = self.lock();
        cancel.begin_request();
        requests.others = requests.others.wrapping_sub(cancel.received());
        requests.interrupts.insert(Arc::clone(cancel))
    }

    /// One request is over.
    pub(super) fn leave(&self, key: usize) {
        let mut requests = self.lock();
        if let Some(cancel) = requests.interrupts.try_remove(key) {
            requests.others = requests.others.wrapping_add(cancel.received());
        }
        let empty = requests.interrupts.is_empty();
        drop(requests);
        if empty && self.server.waiting.load(Ordering::SeqCst) > 0 {
            self.server.idle.notify_waiters();
        }
    }

    /// Does this to every request in flight, and says how many there were.
    pub(super) fn each(&self, end: impl Fn(&RequestCancel)) -> usize {
        let requests = self.lock();
        requests.interrupts.iter().for_each(|(_, cancel)| end(cancel));
        requests.interrupts.len()
    }

    fn activity(&self) -> Activity {
        let requests = self.lock();
        let received = requests.interrupts.iter().map(|(_, cancel)| cancel.received());
        let progress = received.fold(requests.others, u64::wrapping_add);
        Activity { in_flight: requests.interrupts.len(), progress }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The servers that requests go to.
#[derive(Debug, Default)]
pub struct ActivityBook {
    servers: Mutex<HashMap<SocketAddr, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    server: Arc<Server>,
    links: Vec<Weak<InFlight>>,
}

impl ActivityBook {
    /// The requests in flight over a new link to this address.
    pub(super) fn link(&self, address: SocketAddr) -> Arc<InFlight> {
        let mut servers = self.lock();
        for known in servers.values_mut() {
            known.links.retain(|link| link.strong_count() > 0);
        }
        servers.retain(|at, known| *at == address || !known.is_forgotten());
        let known = servers.entry(address).or_default();
        let link = Arc::new(InFlight { requests: Mutex::default(), server: Arc::clone(&known.server) });
        known.links.push(Arc::downgrade(&link));
        link
    }

    fn server(&self, address: SocketAddr) -> Option<Arc<Server>> {
        self.lock().get(&address).map(|known| Arc::clone(&known.server))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Known>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether no link goes there, and nobody waits.
    fn is_forgotten(&self) -> bool {
        self.links.is_empty() && Arc::strong_count(&self.server) == 1
    }
}

#[async_trait]
impl ServerActivity for ActivityBook {
    fn at(&self, address: SocketAddr) -> Activity {
        let servers = self.lock();
        let links = servers.get(&address).map(|known| known.links.as_slice()).unwrap_or_default();
        links.iter().filter_map(Weak::upgrade).map(|link| link.activity()).fold(Activity::default(), |sum, one| {
            Activity { in_flight: sum.in_flight + one.in_flight, progress: sum.progress.wrapping_add(one.progress) }
        })
    }

    async fn until_idle(&self, address: SocketAddr) {
        let Some(server) = self.server(address) else { return };
        let _waiting = Waiting::at(&server);
        let (mut seen, mut since) = (self.at(address), Instant::now());
        loop {
            let idle = server.idle.notified();
            let now = self.at(address);
            if now.in_flight == 0 {
                return;
            }
            if now.is_progress_since(&seen) {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() >= SILENT_AT_MOST {
                return;
            }
            let _ = timeout(LOOK_EVERY, idle).await;
        }
    }
}

/// Somebody waits for a server to be idle.
struct Waiting<'a>(&'a Server);

impl<'a> Waiting<'a> {
    fn at(server: &'a Server) -> Self {
        server.waiting.fetch_add(1, Ordering::SeqCst);
        Self(server)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
