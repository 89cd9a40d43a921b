//! Times and sizes, as people write them.

use std::time::Duration;

/// A time as people write it: `90s`, `1m30s`, `500ms`. A bare number has no unit and is refused, but for `0`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok()
}

/// A size: digits, and one of `B`, `KiB`, `MiB`, `GiB`, `k`, `M`, `G` (powers of 1024) or nothing.
pub(super) fn bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.trim() {
        "" | "B" => 0,
        "k" | "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}
