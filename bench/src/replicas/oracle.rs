//! What knows all that is to come: each conversation stays with one member, and what begins alike is on no more members
//! than its share of the traffic needs.

use super::cache::{BlockCache, blocks};
use super::kinds::Conversation;
use super::member::CACHE_BLOCKS;

/// The part of the time that the members spend on prefill, where the oracle chooses.
const PREFILL_LOAD: f64 = 0.6;

/// Where each conversation goes.
pub struct Plan {
    /// The member of each conversation.
    pub members: Vec<usize>,
    /// How long the prefill of one block takes, so that the oracle's members are busy for [`PREFILL_LOAD`] of the run.
    pub block_nanos: u64,
}

/// Plans a run.
pub fn plan(conversations: &[Conversation], members: usize) -> Plan {
    let groups = conversations.iter().map(|one| one.group + 1).max().unwrap_or(0);
    let mut of_group = vec![Vec::new(); groups];
    for (index, conversation) in conversations.iter().enumerate() {
        if let Some(group) = of_group.get_mut(conversation.group) {
            group.push(index);
        }
    }
    let turns = |index: &usize| conversations.get(*index).map_or(0, |one| one.turns.len());
    of_group.sort_by_key(|group| std::cmp::Reverse(group.iter().map(turns).sum::<usize>()));
    let total: usize = conversations.iter().map(|one| one.turns.len()).sum();
    let mut load = vec![0; members];
    let mut chosen = vec![0; conversations.len()];
    for group in of_group {
        let share = group.iter().map(turns).sum::<usize>() as f64 / total.max(1) as f64;
        let needed = ((share * members as f64).ceil() as usize).max(1);
        let mut least: Vec<usize> = (0..members).collect();
        least.sort_by_key(|member| load.get(*member).copied());
        least.truncate(needed);
        for index in group {
            let member = least.iter().min_by_key(|member| load.get(**member).copied()).copied().unwrap_or(0);
            if let (Some(load), Some(chosen)) = (load.get_mut(member), chosen.get_mut(index)) {
                *load += turns(&index);
                *chosen = member;
            }
        }
    }
    let block_nanos = block_nanos(conversations, &chosen, members);
    Plan { members: chosen, block_nanos }
}

fn block_nanos(conversations: &[Conversation], chosen: &[usize], members: usize) -> u64 {
    let mut caches: Vec<_> = (0..members).map(|_| BlockCache::new(CACHE_BLOCKS)).collect();
    let mut order: Vec<_> = conversations
        .iter()
        .enumerate()
        .flat_map(|(at, one)| one.turns.iter().enumerate().map(move |(turn, planned)| (planned.at, at, turn)))
        .collect();
    order.sort_unstable();
    let (mut computed, mut last) = (0, 0.0);
    for (due, at, turn) in order {
        let (Some(conversation), Some(member)) = (conversations.get(at), chosen.get(at)) else { continue };
        let prompt = blocks(conversation.messages(turn).as_bytes());
        let known = caches.get_mut(*member).map_or(0, |cache| cache.serve(&prompt));
        computed += prompt.len() - known;
        last = due.as_secs_f64();
    }
    (PREFILL_LOAD * last * members as f64 * 1e9 / computed.max(1) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::super::kinds::{self, Kind};
    use super::*;

    #[test]
    fn conversations_are_spread_evenly_and_what_begins_alike_is_together() {
        for kind in kinds::ALL {
            let conversations = kind.conversations(7, 400);
            let plan = plan(&conversations, 8);
            let mut load = [0; 8];
            for (conversation, member) in conversations.iter().zip(&plan.members) {
                load[*member] += conversation.turns.len();
            }
            assert_eq!(load.iter().sum::<usize>(), 400);
            assert!(load.iter().all(|load| (38..=64).contains(load)), "{}: {load:?}", kind.name());
            assert!(plan.block_nanos > 0);
        }
    }

    #[test]
    fn a_tenant_is_on_one_member() {
        let conversations = Kind::Tenants.conversations(7, 400);
        let plan = plan(&conversations, 8);
        let mut of_group = [None; 150];
        for (conversation, member) in conversations.iter().zip(&plan.members) {
            assert_eq!(*of_group[conversation.group].get_or_insert(*member), *member);
        }
    }
}
