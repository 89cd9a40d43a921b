//! Replicas in words: who shares what with whom, and why one of them is out.

use domain::table::{Claim, Ready, Resolution, RoutingTable, members};

/// The other members of the pool that serves a model, and those who would serve it if they all went.
pub(super) fn others<L>(claims: &[Claim<L>]) -> (&[Claim<L>], &[Claim<L>]) {
    let (members, behind) = claims.split_at(members(claims));
    (members.get(1..).unwrap_or_default(), behind)
}

/// The place of a backend among its replicas, behind a sentence; empty if it has none.
pub(super) fn place<L>(table: &RoutingTable<L>, ready: &Ready<L>) -> String {
    shared(table, ready).unwrap_or_default()
}

fn shared<L>(table: &RoutingTable<L>, ready: &Ready<L>) -> Option<String> {
    let replica = &ready.backend.replica;
    let pool = &replica.pool;
    let size = ready.models.iter().filter_map(|model| match table.resolve(model.name.as_str()) {
        Resolution::Claimed(claims) => Some(claims.iter().filter(|c| c.backend.replica.pool.id == pool.id).count()),
        Resolution::Draining | Resolution::Unavailable | Resolution::Unknown => None,
    });
    let size = size.max().filter(|size| *size > 1)?;
    let mut place = format!("; one of {size} replicas ({})", pool.id);
    if replica.weight != 1 {
        place += &format!(", weight {}", replica.weight);
    }
    if replica.tier != 0 {
        place += &format!(", tier {}", replica.tier);
    }
    if replica.max_requests != usize::MAX {
        place += &format!(", at most {} requests", replica.max_requests);
    }
    if let waiting @ 1.. = replica.load.waiting() {
        place += &format!(", {waiting} waiting for a first byte");
    }
    Some(place)
}

/// Why a backend gets no requests though it is healthy, if it is ejected.
pub(super) fn ejected<L>(ready: &Ready<L>, now_millis: u64) -> Option<String> {
    let until = ready.backend.replica.load.outlier.ejected_until(now_millis)?;
    let seconds = until.saturating_sub(now_millis).div_ceil(1000);
    Some(format!("healthy, but its requests fail while those of other replicas do not; it gets none for {seconds} s"))
}
