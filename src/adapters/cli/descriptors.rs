//! The limit of open files, and the number of client connections that fit into it.

use std::io;

/// The descriptors reserved for anything but client connections: the listener, the engine's socket, probes and model
/// lists of backends, the runtime's own.
const RESERVE_MAX: u64 = 256;
/// A client connection and the connection to its backend.
const PER_CONNECTION: u64 = 2;

/// Raises the soft limit of open descriptors to the hard limit, and returns it.
pub fn raise_limit() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Returns how many client connections fit into a limit, at most `wanted`.
pub fn connections_within(limit: u64, wanted: usize) -> usize {
    let reserve = RESERVE_MAX.min(limit / 4);
    let fit = limit.saturating_sub(reserve) / PER_CONNECTION;
    usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_two_descriptors_and_some_are_kept_back() {
        for (limit, wanted, expected) in [
            (1_048_576, 16_384, 16_384),
            (1024, 16_384, 384),
            (128, 16_384, 48),
            (1024, 10, 10),
            (0, 10, 1),
            (u64::MAX, usize::MAX, usize::MAX / 2 - 128),
        ] {
            assert_eq!(connections_within(limit, wanted), expected, "{limit}, {wanted}");
        }
    }
}
