//! The pools of the table: each is created with its first member and removed with its last.

use std::sync::Arc;
use std::time::Instant;

use super::entry::{Discovering, Entry, Ready, State};
use super::{Claim, RoutingTable};
use crate::balance::{Policy, stable_hash};
use crate::container::ContainerId;
use crate::labels::InferenceLabels;
use crate::pool::{JOINS_FOR, Load, Pool, PoolId, Replica};

impl<L> RoutingTable<L> {
    /// Adds a container to its pool, and the pool if it is the first member.
    pub(super) fn join(
        &mut self,
        id: &ContainerId,
        labels: &InferenceLabels,
        order: u64,
        now: Instant,
    ) -> Option<Replica> {
        let pool_id = PoolId::of(&self.entries.get(id)?.container, self.rules.replicas);
        let pool = match self.pools.get(&pool_id) {
            Some(pool) => Arc::clone(pool),
            None => {
                let pool = Arc::new(Pool::new(pool_id.clone(), self.first_order(&pool_id).min(order)));
                self.pools.insert(pool_id, Arc::clone(&pool));
                pool
            }
        };
        Some(Replica {
            pool,
            id: stable_hash(id.as_str()),
            weight: labels.weight,
            tier: labels.priority,
            max_requests: labels.max_requests.map_or(usize::MAX, |most| most as usize),
            policy: labels.balance.unwrap_or(self.rules.balance),
            settles_at: now + JOINS_FOR,
            load: Arc::new(Load::default()),
        })
    }

    /// Returns the rank of the container of a pool that turned healthy first. Containers whose models are still being
    /// discovered count, so that the result does not depend on which responds first.
    fn first_order(&self, pool: &PoolId) -> u64 {
        let order = |entry: &Entry<L>| match entry.state {
            State::Ready(Ready { order, .. }) | State::Discovering(Discovering { order, .. }) => Some(order),
            _ => None,
        };
        let of_it = self.entries.values().filter(|entry| PoolId::of(&entry.container, self.rules.replicas) == *pool);
        of_it.filter_map(order).min().unwrap_or(u64::MAX)
    }

    /// Returns the policy by which backends are chosen; if there are several, the one that needs more of a request.
    /// `None` if no model has more than one backend to choose from.
    pub fn choice(&self) -> Option<Policy> {
        let choices = self.claims.values().filter(|claims| members(claims) > 1).filter_map(|claims| claims.first());
        let mut policies = choices.map(|claim| claim.backend.replica.policy);
        let first = policies.next()?;
        let affinity = first == Policy::PrefixAffinity || policies.any(|policy| policy == Policy::PrefixAffinity);
        Some(if affinity { Policy::PrefixAffinity } else { first })
    }

    /// Removes a member from its pool, and the pool with its last member.
    pub(super) fn leave_pool(&mut self, id: &ContainerId, pool: &PoolId) {
        let is_member =
            |entry: &Entry<L>| matches!(&entry.state, State::Ready(r) if r.backend.replica.pool.id == *pool);
        if !self.entries.iter().any(|(other, entry)| other != id && is_member(entry)) {
            self.pools.remove(pool);
        }
    }
}

/// Returns the number of claims, from the first on, that belong to the pool that serves.
pub fn members<L>(claims: &[Claim<L>]) -> usize {
    let Some(first) = claims.first() else { return 0 };
    let pool = &first.backend.replica.pool;
    claims.iter().take_while(|claim| Arc::ptr_eq(&claim.backend.replica.pool, pool)).count()
}
