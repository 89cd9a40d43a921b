//! What tells one proxy from another that reports to the same collector: without it, both write the same series.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::adapters::shared::own_container;

/// The version and the variant that mark a UUID as a random one (RFC 9562).
const RANDOM_UUID: u128 = 0x4000_8000_0000_0000_0000;
/// The bits that these replace.
const MARKED_BITS: u128 = 0xf000_c000_0000_0000_0000;

/// The container's id, where the proxy is the container's own process; else a random UUID. Several processes of one
/// container, or of one host, are several instances.
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
