//! Where messages end: what goes out and what comes back must leave no doubt about it.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request, Version};
use http_body::Body;
use ports::upstream::{BodyError, BoxBody};

/// The largest head of a response, in bytes, a little less than the buffer that a connection has for it.
const HEAD_MAX_BYTES: usize = 15 * 1024;

/// How much earlier than the backend an idle connection is closed.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// Makes a request's framing agree with its body, and its version the one that is spoken here. Returns the protocols
/// that it wants to switch to.
///
/// # Errors
/// The body is not what its headers say, so that the backend would take the next request for a part of it.
pub(super) fn settle_request(request: &mut Request<BoxBody>) -> Result<Option<HeaderValue>, BodyError> {
    *request.version_mut() = Version::HTTP_11;
    let ended = request.body().is_end_stream();
    let exact = request.body().size_hint().exact();
    let headers = request.headers_mut();
    let head = Head::read(headers);
    if head.coding != Coding::None {
        // Only the body decides; this is about one connection and cannot come from the caller.
        headers.remove(TRANSFER_ENCODING);
    }
    let holds = if ended { Some(0) } else { exact };
    match (head.length, holds) {
        (Err(reason), _) => return Err(BodyError::Malformed(reason.into())),
        (Ok(Some(Length { bytes, .. })), Some(holds)) if bytes != holds => {
            return Err(BodyError::Malformed(format!("its length is said to be {bytes}, but {holds} bytes are there")));
        }
        (Ok(None), None) => drop(headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
        (Ok(Some(length)), _) => length.write_plainly(headers),
        (Ok(None), Some(_)) => {}
    }
    Ok(head.upgrades.then(|| headers.get(UPGRADE).cloned()).flatten())
}

/// What a head says of its message and its connection. One pass over all headers costs less than a search for each.
struct Head {
    /// Its size on the wire, without the first line.
    bytes: usize,
    coding: Coding,
    /// The length that it declares, if it does.
    length: Result<Option<Length>, &'static str>,
    reuse: Reuse,
    /// Whether there is an `Upgrade`.
    upgrades: bool,
}

/// The transfer codings of a head. The only one that is understood is `chunked`, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    Chunked,
    Other,
}

impl Head {
    fn read(headers: &HeaderMap) -> Self {
        let reuse = Reuse { more: u32::MAX, within: None };
        let mut head = Self { bytes: 0, coding: Coding::None, length: Ok(None), reuse, upgrades: false };
        for (name, value) in headers {
            let name = name.as_str();
            head.bytes += name.len() + ": \r\n".len() + value.len();
            match name {
                "content-length" => {
                    head.length = head.length.and_then(|before| Length::read(before, value.as_bytes()).map(Some));
                }
                "transfer-encoding" => {
                    let is_chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
                    let is_first = head.coding == Coding::None;
                    head.coding = if is_first && is_chunked { Coding::Chunked } else { Coding::Other };
                }
                "keep-alive" => head.reuse = keep_alive(value),
                "upgrade" => head.upgrades = true,
                _ => {}
            }
        }
        head
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

/// How the end of an answer's body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Chunked,
    Length,
    Close,
}

/// What an answer's framing allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub(super) fn check_response(version: Version, headers: &mut HeaderMap) -> Result<(Ending, Reuse), &'static str> {
    let Head { bytes, coding, length, mut reuse, .. } = Head::read(headers);
    if bytes > HEAD_MAX_BYTES {
        return Err("a head of more than 15 KiB");
    }
    let ending = match (coding, length?) {
        (Coding::Other, _) => return Err("a Transfer-Encoding that is not chunked"),
        (Coding::Chunked, Some(_)) => return Err("both Transfer-Encoding and Content-Length"),
        (Coding::Chunked, None) => Ending::Chunked,
        (Coding::None, None) => Ending::Close,
        (Coding::None, Some(length)) => {
            length.write_plainly(headers);
            Ending::Length
        }
    };
    if version != Version::HTTP_11 {
        // An older backend may keep it open, but hyper would then speak the older version to it.
        reuse.more = 0;
    }
    Ok((ending, reuse))
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
    use http::HeaderName;

    use super::*;

    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

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
            assert!(check_response(Version::HTTP_11, &mut headers(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_head_may_be_large_but_not_larger_than_the_buffer() {
        for (bytes, fits) in [(HEAD_MAX_BYTES - 20, true), (HEAD_MAX_BYTES, false), (HEAD_MAX_BYTES * 3, false)] {
            let large = HeaderValue::from_str(&"x".repeat(bytes)).ok();
            let mut headers: HeaderMap = large.into_iter().map(|value| (KEEP_ALIVE, value)).collect();
            assert_eq!(check_response(Version::HTTP_11, &mut headers).is_ok(), fits, "{bytes}");
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
            assert!(check_response(Version::HTTP_11, &mut headers).is_ok());
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
        assert_eq!(check_response(Version::HTTP_10, &mut HeaderMap::new()).map(|(_, reuse)| reuse.more), Ok(0));
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
