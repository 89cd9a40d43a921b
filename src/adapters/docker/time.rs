//! The engine's times, as numbers.

use domain::container::EngineTime;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Reads a time as engines write it: RFC 3339, with up to nine digits behind the second and any offset.
/// The year 1, which means "never", and what is before 1970 become zero. `None` for what is no time.
pub fn rfc3339(text: &str) -> Option<EngineTime> {
    let (date, clock) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.splitn(3, '-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let zone_at = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at(zone_at);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = whole.splitn(3, ':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !in_range || year > 9999 || fraction.len() > 9 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    let nanos = match fraction.is_empty() {
        true => 0,
        false => number(&format!("{fraction:0<9}"))?,
    };
    let Ok(seconds) = u64::try_from(seconds) else { return Some(EngineTime(0)) };
    Some(EngineTime(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(u64::try_from(nanos).ok()?)))
}

/// Reads the `Date` header. Whole seconds, rounded down.
pub fn http_date(text: &str) -> Option<EngineTime> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(EngineTime(since.as_secs().saturating_mul(NANOS_PER_SECOND)))
}

/// Writes a time as the `since` of `GET /events` wants it: Unix seconds with nine digits behind the point.
pub fn since(time: EngineTime) -> String {
    format!("{}.{:09}", time.0 / NANOS_PER_SECOND, time.0 % NANOS_PER_SECOND)
}

/// Digits only; a sign would be read as one by `parse`.
fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let seconds = number(hours)? * 3600 + number(minutes)? * 60;
    Some(if zone.starts_with('-') { -seconds } else { seconds })
}

/// Counts days in the Gregorian calendar, with years that begin in March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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
