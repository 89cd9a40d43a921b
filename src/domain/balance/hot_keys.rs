//! Hot keys: prompt prefixes that too many requests share for one member to serve them all.

use std::time::Duration;

use crate::atomic::{AtomicU64, Ordering};

use super::mix;

/// The number of keys in one bucket.
const WAYS: usize = 4;
/// The number of buckets. With 8 bytes a key, they take 16 KiB.
const BUCKETS: usize = 512;
/// The half-life of a count, which remembers about 60 s.
const HALF_LIFE_SECONDS: f32 = 41.6;
/// The count below which a key gives its place to another one.
const FORGOTTEN: f32 = 0.5;
/// The number of recent requests below which a key is not hot: there is no load to spread.
const LEAST_COUNT: f32 = 3.0;

const TAG_BITS: u32 = 15;
const SECOND_BITS: u32 = 16;

/// The keys of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixKeys {
    /// The hash of what every request of an application shares, such as the system prompt.
    pub shared: u64,
    /// The hash of that and the first message of the user.
    pub conversation: u64,
}

/// The number of recent requests of a pool by key, decaying over about a minute. Its size is fixed, and counting takes
/// no lock: two requests at the same moment may count as one.
#[derive(Debug)]
pub struct HotKeys {
    total: AtomicU64,
    counts: Box<[AtomicU64]>,
}

/// One count, which is stored in one word.
#[derive(Debug, Clone, Copy)]
struct Count {
    tag: u64,
    is_hot: bool,
    second: u16,
    value: f32,
}

impl Default for HotKeys {
    fn default() -> Self {
        Self { total: AtomicU64::new(0), counts: (0..BUCKETS * WAYS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl HotKeys {
    /// Counts a request and returns the key that routes it: the shared one, unless it has more requests than one of
    /// this many members should get. `now` is the time since any fixed moment.
    ///
    /// A key is hot from a member's fair share on, and until it is under half of it, so that traffic near the threshold
    /// does not move between members all the time.
    pub fn count(&self, keys: PrefixKeys, members: usize, now: Duration) -> u64 {
        let second = now.as_secs() as u16;
        let total = Count::of(self.total.load(Ordering::Relaxed)).one_more(second);
        self.total.store(total.word(), Ordering::Relaxed);
        if keys.shared == keys.conversation {
            return keys.shared;
        }
        let place = self.place(keys.shared, second);
        let mut count = place.map_or_else(|| Count::new(keys.shared, second), |(_, count)| count).one_more(second);
        let part = count.value / total.value * members as f32;
        count.is_hot = count.value >= LEAST_COUNT && part >= if count.is_hot { 0.5 } else { 1.0 };
        if let Some((place, _)) = place {
            place.store(count.word(), Ordering::Relaxed);
        }
        if count.is_hot { keys.conversation } else { keys.shared }
    }

    /// Returns the place of a key with its count, or a free place. `None` if all places are taken.
    fn place(&self, key: u64, second: u16) -> Option<(&AtomicU64, Count)> {
        let bucket = (mix(key) as usize % BUCKETS) * WAYS;
        let places = self.counts.get(bucket..bucket + WAYS)?;
        let counts = places.iter().map(|place| (place, Count::of(place.load(Ordering::Relaxed))));
        let own = counts.clone().find(|(_, count)| count.tag == tag(key));
        own.or_else(|| {
            let least = counts.min_by(|(_, a), (_, b)| a.decayed(second).total_cmp(&b.decayed(second)))?;
            (least.1.decayed(second) < FORGOTTEN).then(|| (least.0, Count::new(key, second)))
        })
    }
}

/// Returns the part of a key that identifies it in its bucket; never 0, which is an empty place.
fn tag(key: u64) -> u64 {
    (key >> (u64::BITS - TAG_BITS)).max(1)
}

impl Count {
    fn new(key: u64, second: u16) -> Self {
        Self { tag: tag(key), is_hot: false, second, value: 0.0 }
    }

    fn of(word: u64) -> Self {
        Self {
            tag: word >> (u64::BITS - TAG_BITS),
            is_hot: word >> (u32::BITS + SECOND_BITS) & 1 == 1,
            second: (word >> u32::BITS) as u16,
            value: f32::from_bits(word as u32),
        }
    }

    fn word(self) -> u64 {
        self.tag << (u64::BITS - TAG_BITS)
            | u64::from(self.is_hot) << (u32::BITS + SECOND_BITS)
            | u64::from(self.second) << u32::BITS
            | u64::from(self.value.to_bits())
    }

    fn decayed(self, second: u16) -> f32 {
        match second.wrapping_sub(self.second) {
            0 => self.value,
            passed => self.value * (-f32::from(passed) / HALF_LIFE_SECONDS).exp2(),
        }
    }

    fn one_more(self, second: u16) -> Self {
        Self { value: self.decayed(second) + 1.0, second, ..self }
    }
}
