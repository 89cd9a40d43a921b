//! Takes a place at one of several replicas, and notes which of them fail.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use domain::balance::{Choice, Policy, PrefixKeys, choose, choose_among_equals};
use domain::table::Claim;
use http::StatusCode;
use tracing::warn;

use super::Backend;
use super::cancel::RequestCancel;
use super::lease::Lease;
use super::link::Link;
use super::watcher::now;

/// A moment before every other, from which times are counted.
#[derive(Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(now())
    }

    /// Milliseconds since the start, from 1.
    pub(super) fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// What a choice among replicas came to.
pub(super) enum Chosen {
    /// A place.
    Lease(Lease),
    /// Every member that may be tried has as many requests as it may.
    Busy,
    /// No member may be tried.
    None,
}

/// Chooses a member and takes a lease in one step: one whose gate closes in between refuses, and another is chosen.
pub(super) fn lease(
    members: &[Claim<Link>],
    keys: Option<PrefixKeys>,
    may: impl Fn(&Backend) -> bool,
    cancel: &Arc<RequestCancel>,
    clock: &Clock,
    chance: u64,
) -> Chosen {
    let Some(first) = members.first() else { return Chosen::None };
    let (pool, policy) = (&first.backend.replica.pool, first.backend.replica.policy);
    let now = now();
    let millis = clock.millis(now);
    let since = now.saturating_duration_since(clock.0);
    let key = keys.filter(|_| policy == Policy::PrefixAffinity);
    let key = key.map(|keys| pool.recent_keys().look_up(pool.hot_keys().count(keys, members.len(), since)));
    for claim in members.iter().filter(|claim| claim.backend.replica.load.outlier.is_due()) {
        eject("it fails or is silent", &claim.backend, members, millis);
    }
    let state = |claim: &Claim<Link>| {
        let (backend, inside) = (&claim.backend, claim.backend.gate.inside());
        let may_take = inside.is_some() && may(backend);
        backend.replica.member(inside.unwrap_or_default(), may_take, now, millis)
    };
    for _ in members {
        let quick = match key {
            None => choose_among_equals(members.iter().map(state), chance),
            Some(_) => None,
        };
        let choice = match quick {
            Some(index) => Some(Choice { index, spilled: false, is_home: false }),
            None => choose(&members.iter().map(state).collect::<Vec<_>>(), policy, key, chance),
        };
        let Some(choice) = choice else { break };
        let lease = members.get(choice.index).and_then(|claim| Lease::take(&claim.backend, cancel));
        if let Some(mut lease) = lease {
            lease.watch(now);
            if let Some(key) = key {
                if choice.is_home {
                    pool.recent_keys().remember(key.key, lease.backend().replica.id, since);
                }
                pool.keyed.fetch_add(1, Ordering::Relaxed);
                pool.spilled.fetch_add(u32::from(choice.spilled), Ordering::Relaxed);
            }
            return Chosen::Lease(lease);
        }
    }
    match members.iter().any(|claim| !claim.backend.gate.is_closed() && may(&claim.backend)) {
        true => Chosen::Busy,
        false => Chosen::None,
    }
}

/// Returns true if another server may well give a better response than this one.
pub(super) fn is_declined(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

/// Notes that a request failed at a replica. One that fails again and again while others do not is ejected for a while.
pub(super) fn note_failure(why: &str, backend: &Backend, members: &[Claim<Link>], clock: &Clock) {
    if backend.replica.load.outlier.failed() {
        eject(why, backend, members, clock.millis(now()));
    }
}

fn eject(why: &str, backend: &Backend, members: &[Claim<Link>], now_millis: u64) {
    let is_other = |claim: &&Claim<Link>| claim.backend.registration != backend.registration;
    let others = members.iter().filter(is_other).map(|claim| &claim.backend.replica.load.outlier);
    if let Some(length) = backend.replica.load.outlier.eject(others, now_millis) {
        let (pool, seconds) = (&backend.replica.pool.id, length.as_secs());
        warn!(container = %backend.name, id = %backend.container, %pool, seconds, reason = why,
            "replica ejected, it fails while others do not");
    }
}

/// Returns how a response's status counts against a replica. A 500 does not: one bad prompt must not empty a pool.
pub(super) fn failure(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::BAD_GATEWAY => Some("502 Bad Gateway"),
        StatusCode::SERVICE_UNAVAILABLE => Some("503 Service Unavailable"),
        StatusCode::GATEWAY_TIMEOUT => Some("504 Gateway Timeout"),
        _ => None,
    }
}
