//! The engine's timestamps.

use domain::container::EngineTime;
use jiff::Timestamp;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Parses a timestamp of RFC 3339, as engines write it. The year 1, which means "never", and anything before 1970 become
/// zero.
pub fn rfc3339(text: &str) -> Option<EngineTime> {
    let time: Timestamp = text.parse().ok()?;
    Some(EngineTime(u64::try_from(time.as_nanosecond().max(0)).unwrap_or(u64::MAX)))
}

/// Parses a `Date` header, which has whole seconds, rounded down.
pub fn http_date(text: &str) -> Option<EngineTime> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(EngineTime(since.as_secs().saturating_mul(NANOS_PER_SECOND)))
}

/// Formats a time for the `since` of `GET /events`: Unix seconds with nine decimals.
pub fn since(time: EngineTime) -> String {
    format!("{}.{:09}", time.0 / NANOS_PER_SECOND, time.0 % NANOS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_engines_write() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:01.5Z", 1_500_000_000),
            ("2026-11-22T13:20:15.933913425Z", 1_795_353_615_933_913_425),
            ("2026-11-22T14:20:15.933913425+01:00", 1_795_353_615_933_913_425),
            ("2026-11-22T12:50:15.933913425-00:30", 1_795_353_615_933_913_425),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000_000),
            ("0001-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(rfc3339(text), Some(EngineTime(nanos)), "{text}");
        }
        for text in ["", "now", "2026-11-22", "2026-13-01T00:00:00Z", "2026-11-22T00:00:00", "2026-11-22T+1:00:00Z"] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn the_date_header_and_since_agree() {
        let date = http_date("Sun, 22 Nov 2026 13:20:15 GMT").unwrap_or_default();
        assert_eq!(since(date), "1795353615.000000000");
        assert_eq!(since(EngineTime(1_000_000_007)), "1.000000007");
    }
}
