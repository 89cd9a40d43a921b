//! Load balancing: the choice of the replica that takes a request.
//!
//! A choice is a function of the load of the members, the key of the request, the time and a random number. Proxies
//! that see the same members choose alike for a key, without sharing any state.

mod hot_keys;
mod outlier;
mod policy;
mod recent_keys;
#[cfg(test)]
mod tests;

pub use hot_keys::{HotKeys, PrefixKeys};
pub use outlier::{EJECT_AFTER_FAILURES, Outlier};
pub use policy::{Choice, Member, Policy, choose, choose_among_equals};
pub use recent_keys::{KeyState, RecentKeys, short_id};

/// Spreads the bits of a number (the finalizer of SplitMix64), so that similar numbers become dissimilar.
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns a hash of a text that is the same in every process (FNV-1a, mixed).
pub fn stable_hash(text: &str) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}
