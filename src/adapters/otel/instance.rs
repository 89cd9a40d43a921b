//! The id of this proxy: without one, two proxies that report to the same collector would write the same series.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::adapters::shared::own_container;

/// The version and variant bits of a random UUID (RFC 9562).
const RANDOM_UUID: u128 = 0x4000_8000_0000_0000_0000;
/// The bits that [`RANDOM_UUID`] replaces.
const MARKED_BITS: u128 = 0xf000_c000_0000_0000_0000;

/// Returns the container's id if the proxy is its main process, and a random UUID otherwise: each of several processes
/// in one container, or on one host, is an instance.
pub(super) fn id() -> String {
    match std::process::id() {
        1 => own_container::id().unwrap_or_else(random_uuid),
        _ => random_uuid(),
    }
}

fn random_uuid() -> String {
    let random = || u128::from(RandomState::new().build_hasher().finish());
    let hex = format!("{:032x}", (random() << 64 | random()) & !MARKED_BITS | RANDOM_UUID);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_uuids_of_version_4_and_differ() {
        let id = random_uuid();
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(id.get(14..15) == Some("4") && id.get(19..20).is_some_and(|c| "89ab".contains(c)), "{id}");
        assert_ne!(id, random_uuid());
    }
}
