//! The block cache of a mock member: prompts in blocks, each known by all that stands before it, the least used evicted.

use std::collections::{HashMap, VecDeque};

/// The bytes of one block.
pub const BLOCK_BYTES: usize = 64;

/// A block cache that evicts the block whose use is longest ago.
#[derive(Debug, Default)]
pub struct BlockCache {
    capacity: usize,
    uses: u64,
    /// The last use of each block.
    blocks: HashMap<u64, u64>,
    /// Every use, oldest first; those that are not the last of their block count for nothing.
    order: VecDeque<(u64, u64)>,
}

impl BlockCache {
    /// An empty cache for this many blocks.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Returns how many blocks at the beginning of a prompt are in the cache, without using them.
    pub fn known(&self, prompt: &[u64]) -> usize {
        prompt.iter().take_while(|block| self.blocks.contains_key(block)).count()
    }

    /// Serves a prompt: returns how many blocks at its beginning were in the cache, and keeps all of them.
    pub fn serve(&mut self, prompt: &[u64]) -> usize {
        let known = self.known(prompt);
        // From its end on, so that the beginning outlives the rest.
        for block in prompt.iter().rev() {
            self.uses += 1;
            self.blocks.insert(*block, self.uses);
            self.order.push_back((self.uses, *block));
        }
        while self.blocks.len() > self.capacity {
            let Some((used, block)) = self.order.pop_front() else { break };
            if self.blocks.get(&block) == Some(&used) {
                self.blocks.remove(&block);
            }
        }
        known
    }
}

/// Cuts a prompt into whole blocks. Each has a number that depends on everything before it.
pub fn blocks(prompt: &[u8]) -> Vec<u64> {
    let mut hash = 0;
    let whole = prompt.as_chunks::<BLOCK_BYTES>().0.iter();
    whole
        .map(|block| {
            for word in block.as_chunks::<8>().0 {
                hash = super::mix(hash ^ u64::from_le_bytes(*word));
            }
            hash
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_known_up_to_its_first_change() {
        let (mut cache, text) = (BlockCache::new(100), "harbour ".repeat(64));
        let changed = [&text[..300], "x", &text[301..]].concat();
        assert_eq!(cache.serve(&blocks(text.as_bytes())), 0);
        assert_eq!(cache.serve(&blocks(text.as_bytes())), 8);
        assert_eq!(cache.serve(&blocks(changed.as_bytes())), 4);
    }

    #[test]
    fn the_least_used_is_evicted_from_its_end_on() {
        let mut cache = BlockCache::new(6);
        cache.serve(&[1, 2, 3]);
        cache.serve(&[4, 5, 6]);
        cache.serve(&[1, 2, 7]);
        assert_eq!((cache.known(&[1, 2, 7]), cache.known(&[1, 2, 3]), cache.known(&[4, 5, 6])), (3, 2, 3));
        cache.serve(&[8]);
        assert_eq!(cache.known(&[4, 5, 6]), 2);
    }
}
