//! Which member has which beginning in its cache.

use std::time::Duration;

use super::mix;
use crate::atomic::{AtomicU32, AtomicU64, Ordering};

/// The number of keys in one bucket.
const WAYS: usize = 4;
/// The number of buckets. With 8 bytes a key this is 32 KiB.
const BUCKETS: usize = 1024;
/// The weight of one request in the moving average of how many begin as an earlier one did.
const REUSE_STEP: f32 = 0.03;
/// The part of such requests from which on it pays to keep alike ones together.
const REUSE_MIN: f32 = 0.125;

/// The bits of a word: the tag of a key, then the member, then the second.
const TAG_SHIFT: u32 = 40;
const MEMBER_SHIFT: u32 = 16;
const MEMBER_MASK: u64 = 0xff_ffff;

/// What is known of the key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyState {
    /// The key.
    pub key: u64,
    /// The member that earlier requests with this key went to, by [`short_id`].
    pub home: Option<u32>,
    /// Whether requests that begin alike are frequent in this pool.
    pub is_reused: bool,
}

impl KeyState {
    /// The state of a key that no request had before, in a pool where requests begin alike.
    pub fn new(key: u64) -> Self {
        Self { key, home: None, is_reused: true }
    }
}

/// Returns the part of a member's number that is kept beside a key.
pub fn short_id(member: u64) -> u32 {
    (member >> TAG_SHIFT) as u32
}

/// Remembers where the last few thousand keys went. Its size is fixed, and it takes no lock: two new keys at the same
/// moment may leave one remembered.
#[derive(Debug)]
pub struct RecentKeys {
    words: Box<[AtomicU64]>,
    reuse: AtomicU32,
}

impl Default for RecentKeys {
    fn default() -> Self {
        let words = (0..BUCKETS * WAYS).map(|_| AtomicU64::new(0)).collect();
        Self { words, reuse: AtomicU32::new(0.5_f32.to_bits()) }
    }
}

impl RecentKeys {
    /// Looks a key up, and counts whether it was known.
    pub fn look_up(&self, key: u64) -> KeyState {
        let words = self.bucket(key).iter().map(|way| way.load(Ordering::Relaxed));
        let known = words.into_iter().find(|word| *word != 0 && word >> TAG_SHIFT == tag(key));
        let before = f32::from_bits(self.reuse.load(Ordering::Relaxed));
        let reuse = before * (1.0 - REUSE_STEP) + if known.is_some() { REUSE_STEP } else { 0.0 };
        self.reuse.store(reuse.to_bits(), Ordering::Relaxed);
        let home = known.map(|word| (word >> MEMBER_SHIFT & MEMBER_MASK) as u32);
        KeyState { key, home, is_reused: reuse >= REUSE_MIN }
    }

    /// Remembers that a key went to a member, in the place of the oldest key of its bucket. `now` is the time since any
    /// fixed moment.
    pub fn remember(&self, key: u64, member: u64, now: Duration) {
        let second = now.as_secs() as u16;
        let age = |way: &&AtomicU64| match way.load(Ordering::Relaxed) {
            0 => u32::from(u16::MAX) + 1,
            word if word >> TAG_SHIFT == tag(key) => u32::from(u16::MAX) + 2,
            word => u32::from(second.wrapping_sub(word as u16)),
        };
        let word = tag(key) << TAG_SHIFT | u64::from(short_id(member)) << MEMBER_SHIFT | u64::from(second);
        if let Some(way) = self.bucket(key).iter().max_by_key(age) {
            way.store(word, Ordering::Relaxed);
        }
    }

    fn bucket(&self, key: u64) -> &[AtomicU64] {
        let first = (mix(key) as usize % BUCKETS) * WAYS;
        self.words.get(first..first + WAYS).unwrap_or_default()
    }
}

/// Returns the part of a key that identifies it in its bucket; never 0, so that no word of a key is 0.
fn tag(key: u64) -> u64 {
    (key >> TAG_SHIFT).max(1)
}
