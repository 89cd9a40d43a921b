//! Pools: the backends that share the requests of a model as replicas of one another.

#![allow(clippy::disallowed_types, reason = "a OnceLock, which the first request that needs it writes; nothing waits")]

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::atomic::{AtomicU32, Ordering};
use super::balance::{HotKeys, Member, Outlier, Policy, RecentKeys};
use super::container::{Container, ContainerId};

/// How long a backend that came into service counts as averagely loaded, so that it is not flooded.
pub const JOINS_FOR: Duration = Duration::from_secs(5);

/// The rule for which containers with the same model are replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replicas {
    /// The containers of one service, or of one `inference.pool`.
    #[default]
    Service,
    /// No containers: of two with one model, the last to turn healthy serves it.
    Off,
    /// All containers.
    All,
}

/// The name of a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolId {
    /// The pool of one container.
    Container(ContainerId),
    /// The pool of a service.
    Service(Arc<str>),
    /// The pool of an `inference.pool` label.
    Named(Arc<str>),
    /// The pool of all containers.
    All,
}

impl PoolId {
    /// Returns the pool of a container.
    pub fn of(container: &Container, rule: Replicas) -> Self {
        let named = container.labels.as_ref().ok().and_then(|labels| labels.pool.clone());
        match (rule, named, &container.service) {
            (Replicas::All, _, _) => Self::All,
            (Replicas::Service, Some(name), _) => Self::Named(name),
            (Replicas::Service, None, Some(service)) => Self::Service(Arc::clone(service)),
            (Replicas::Service, None, None) | (Replicas::Off, _, _) => Self::Container(container.id.clone()),
        }
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(id) => id.fmt(f),
            Self::Service(name) | Self::Named(name) => f.write_str(name),
            Self::All => f.write_str("all"),
        }
    }
}

/// The shared state of a pool's members.
#[derive(Debug)]
pub struct Pool {
    /// Its name.
    pub id: PoolId,
    /// The rank of its first member among those that turned healthy. Of two pools with one model, the later one serves.
    pub order: u64,
    /// The number of requests with a key.
    pub keyed: AtomicU32,
    /// The number of those that went to another member than the first of their key.
    pub spilled: AtomicU32,
    hot_keys: OnceLock<HotKeys>,
    recent_keys: OnceLock<RecentKeys>,
}

impl Pool {
    /// Returns a pool without members.
    pub fn new(id: PoolId, order: u64) -> Self {
        Self {
            id,
            order,
            keyed: AtomicU32::new(0),
            spilled: AtomicU32::new(0),
            hot_keys: OnceLock::new(),
            recent_keys: OnceLock::new(),
        }
    }

    /// Returns the counts of the keys of its requests, which are allocated at the first call.
    pub fn hot_keys(&self) -> &HotKeys {
        self.hot_keys.get_or_init(HotKeys::default)
    }

    /// Returns where the keys of its requests went. They take no memory before they are used.
    pub fn recent_keys(&self) -> &RecentKeys {
        self.recent_keys.get_or_init(RecentKeys::default)
    }
}

/// A backend as the member of a pool.
#[derive(Debug, Clone)]
pub struct Replica {
    /// Its pool.
    pub pool: Arc<Pool>,
    /// Its id, the same in every proxy.
    pub id: u64,
    /// Its share, from 1.
    pub weight: u16,
    /// Its tier: lower ones first.
    pub tier: u8,
    /// The most requests in flight.
    pub max_requests: usize,
    /// The policy that its labels, or the settings, name for its pool.
    pub policy: Policy,
    /// Until when it counts as new.
    pub settles_at: Instant,
    /// Its load.
    pub load: Arc<Load>,
}

/// The load of a member.
#[derive(Debug, Default)]
pub struct Load {
    waiting: AtomicU32,
    first_bytes: AtomicU32,
    /// Its failures.
    pub outlier: Outlier,
}

impl Load {
    /// Counts a request that begins to wait for its first byte.
    pub fn begin_waiting(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that waits no longer.
    pub fn end_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a first byte that came.
    pub fn note_first_byte(&self) {
        self.first_bytes.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many first bytes have come. The count wraps.
    pub fn first_bytes(&self) -> u32 {
        self.first_bytes.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that wait for their first byte.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Replica {
    /// Returns its state for a choice. `may` is whether it may be chosen at all; `now_millis` is the clock of
    /// [`Outlier`].
    #[inline]
    pub fn member(&self, in_flight: usize, may: bool, now: Instant, now_millis: u64) -> Member {
        Member {
            id: self.id,
            weight: self.weight,
            tier: self.tier,
            waiting: self.load.waiting(),
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            has_room: may && in_flight < self.max_requests,
            is_ejected: self.load.outlier.is_ejected(now_millis),
            is_new: now < self.settles_at,
        }
    }
}
