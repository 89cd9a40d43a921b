//! Where messages end: what goes out and what comes back must leave no doubt about it.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request, Version};
use http_body::Body;

use crate::ports::upstream::{BodyError, BoxBody};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The largest head of a response, in bytes, a little less than the buffer that a connection has for it.
const HEAD_MAX_BYTES: usize = 15 * 1024;

/// How much earlier than the backend an idle connection is closed.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// Makes a request's framing agree with its body, and its version the one that is spoken here.
///
/// # Errors
/// The body is not what its headers say, so that the backend would take the next request for a part of it.
pub(super) fn settle_request(request: &mut Request<BoxBody>) -> Result<(), BodyError> {
    *request.version_mut() = Version::HTTP_11;
    let ended = request.body().is_end_stream();
    let exact = request.body().size_hint().exact();
    let headers = request.headers_mut();
    // Only the body decides; this is about one connection and cannot come from the caller.
    headers.remove(TRANSFER_ENCODING);
    let holds = if ended { Some(0) } else { exact };
    match (length(headers), holds) {
        (Err(reason), _) => Err(BodyError::Malformed(reason.into())),
        (Ok(Some(Length { bytes, .. })), Some(holds)) if bytes != holds => {
            Err(BodyError::Malformed(format!("its length is said to be {bytes}, but {holds} bytes are there")))
        }
        (Ok(None), None) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            Ok(())
        }
        (Ok(Some(length)), _) => {
            length.write_plainly(headers);
            Ok(())
        }
        (Ok(None), Some(_)) => Ok(()),
    }
}

/// The length that a head declares, if it does.
fn length(headers: &HeaderMap) -> Result<Option<Length>, &'static str> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    lines.try_fold(None, |before, line| Length::read(before, line.as_bytes()).map(Some))
}

/// Whether there is a transfer coding; the only one that is understood is `chunked`, once.
fn is_chunked(headers: &HeaderMap) -> Result<bool, &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err("a Transfer-Encoding that is not chunked"),
    }
}

/// A declared length: digits only, and if it stands there more than once, always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Length {
    bytes: u64,
    /// Whether it stands there once, as one decimal number without leading zeros.
    plain: bool,
}

impl Length {
    /// Reads one more line.
    fn read(before: Option<Self>, line: &[u8]) -> Result<Self, &'static str> {
        let mut length = before;
        for value in line.split(|byte| *byte == b',') {
            let text = value.trim_ascii();
            let bytes = digits(text).ok_or("an invalid Content-Length")?;
            if length.is_some_and(|before| before.bytes != bytes) {
                return Err("Content-Lengths that differ");
            }
            let leading_zero = text.len() > 1 && text.starts_with(b"0");
            length = Some(Self { bytes, plain: length.is_none() && !leading_zero });
        }
        length.ok_or("an invalid Content-Length")
    }

    /// Makes it one decimal number: some servers read a leading zero as octal.
    fn write_plainly(self, headers: &mut HeaderMap) {
        if !self.plain {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.bytes));
        }
    }
}

/// What an answer's framing allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reuse {
    /// How many more requests the backend takes on this connection.
    pub(super) more: u32,
    /// How long it waits for the next one, less a margin, if it says so.
    pub(super) within: Option<Duration>,
}

/// Checks an answer's framing, makes its length canonical, and reads what the backend says of the connection.
///
/// # Errors
/// What contradicts itself: nobody could say where this answer ends.
pub(super) fn check_answer(version: Version, headers: &mut HeaderMap) -> Result<Reuse, &'static str> {
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len());
    if lines.sum::<usize>() > HEAD_MAX_BYTES {
        return Err("a head of more than 15 KiB");
    }
    let chunked = is_chunked(headers)?;
    if let Some(length) = length(headers)? {
        if chunked {
            return Err("both Transfer-Encoding and Content-Length");
        }
        length.write_plainly(headers);
    }
    let mut reuse = headers.get(KEEP_ALIVE).map_or(Reuse { more: u32::MAX, within: None }, keep_alive);
    if version != Version::HTTP_11 {
        // An older backend may keep it open, but hyper would then speak the older version to it.
        reuse.more = 0;
    }
    Ok(reuse)
}

/// Whether the answer switches to a protocol that the request asked for.
pub(super) fn switch_was_asked(asked: Option<&HeaderValue>, answered: &HeaderMap) -> bool {
    let (Some(asked), Some(answered)) = (asked, answered.get(UPGRADE)) else { return false };
    let (Ok(asked), Ok(answered)) = (asked.to_str(), answered.to_str()) else { return false };
    let is_asked = |protocol: &str| asked.split(',').any(|one| one.trim().eq_ignore_ascii_case(protocol.trim()));
    answered.split(',').all(is_asked)
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// `Keep-Alive: timeout=5, max=100`. Parameters that cannot be read are left out.
fn keep_alive(value: &HeaderValue) -> Reuse {
    let mut reuse = Reuse { more: u32::MAX, within: None };
    for parameter in value.as_bytes().split(|byte| *byte == b',') {
        let mut sides = parameter.splitn(2, |byte| *byte == b'=');
        let name = sides.next().unwrap_or_default().trim_ascii();
        let Some(number) = sides.next().and_then(|number| digits(number.trim_ascii())) else { continue };
        if name.eq_ignore_ascii_case(b"max") {
            reuse.more = u32::try_from(number).unwrap_or(u32::MAX);
        } else if name.eq_ignore_ascii_case(b"timeout") {
            let whole = Duration::from_secs(number);
            // One second is all that some give: half of it is better than none.
            reuse.within = Some(whole.saturating_sub(KEEP_ALIVE_MARGIN).max(whole / 2));
        }
    }
    reuse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).fold(
            HeaderMap::new(),
            |mut all, (name, value)| {
                all.append(name, value);
                all
            },
        )
    }

    #[test]
    fn framing_that_contradicts_itself_is_refused() {
        for pairs in [
            &[("transfer-encoding", "gzip")][..],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "")],
            &[("transfer-encoding", "chunked"), ("content-length", "5")],
            &[("content-length", "5"), ("content-length", "6")],
            &[("content-length", "5, 6")],
            &[("content-length", "+5")],
            &[("content-length", "-1")],
            &[("content-length", "")],
            &[("content-length", "0x5")],
            &[("content-length", "18446744073709551616")],
        ] {
            assert!(check_answer(Version::HTTP_11, &mut headers(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_head_may_be_large_but_not_larger_than_the_buffer() {
        for (bytes, fits) in [(HEAD_MAX_BYTES - 20, true), (HEAD_MAX_BYTES, false), (HEAD_MAX_BYTES * 3, false)] {
            let large = HeaderValue::from_str(&"x".repeat(bytes)).ok();
            let mut headers: HeaderMap = large.into_iter().map(|value| (KEEP_ALIVE, value)).collect();
            assert_eq!(check_answer(Version::HTTP_11, &mut headers).is_ok(), fits, "{bytes}");
        }
    }

    #[test]
    fn a_length_said_twice_or_with_a_leading_zero_becomes_one_plain_number() {
        for pairs in [
            &[("content-length", "5"), ("content-length", "5")][..],
            &[("content-length", "5, 5")],
            &[("content-length", "05")],
            &[("content-length", "5")],
        ] {
            let mut headers = headers(pairs);
            assert!(check_answer(Version::HTTP_11, &mut headers).is_ok());
            let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(lengths, ["5"], "{pairs:?}");
        }
    }

    #[test]
    fn keep_alive_says_how_often_and_how_long() {
        for (value, more, within) in [
            ("timeout=5, max=100", 100, Some(4000)),
            ("TIMEOUT = 1", u32::MAX, Some(500)),
            ("timeout=0", u32::MAX, Some(0)),
            ("max=0", 0, None),
            ("max=99999999999", u32::MAX, None),
            ("timeout=x, max", u32::MAX, None),
            ("", u32::MAX, None),
        ] {
            let reuse = keep_alive(&HeaderValue::from_static(value));
            assert_eq!((reuse.more, reuse.within), (more, within.map(Duration::from_millis)), "{value:?}");
        }
    }

    #[test]
    fn an_http_1_0_connection_is_not_used_again() {
        assert_eq!(check_answer(Version::HTTP_10, &mut HeaderMap::new()).map(|reuse| reuse.more), Ok(0));
    }

    #[test]
    fn a_switch_counts_as_asked_for_only_to_a_protocol_of_the_request() {
        let asked = HeaderValue::from_static("websocket, x-other");
        for (answered, expected) in [
            (&[("upgrade", "WebSocket")][..], true),
            (&[("upgrade", "h2c")], false),
            (&[("upgrade", "websocket, h2c")], false),
            (&[], false),
        ] {
            assert_eq!(switch_was_asked(Some(&asked), &headers(answered)), expected, "{answered:?}");
            assert!(!switch_was_asked(None, &headers(answered)));
        }
    }
}
