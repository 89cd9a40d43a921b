//! How many files and sockets the process may have open: as many as the system lets it, and connections to fit.

use std::io;

/// The most descriptors that are kept for everything that is no client's connection: the listener, the engine's socket,
/// backends that are asked for their models, the runtime's own.
const RESERVE_MAX: u64 = 256;
/// A client's connection, and the one to its backend.
const PER_CONNECTION: u64 = 2;

/// Raises the soft limit of open descriptors as far as it may be, and answers what it is then.
///
/// # Errors
/// The system does not tell the limit, or does not let it be raised.
pub fn raise_limit() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// How many client connections go with this limit, at most `wanted`.
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
