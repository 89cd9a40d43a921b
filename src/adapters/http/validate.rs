//! What a request's head must be before it is passed on. hyper reads heads leniently; a proxy must not, because the
//! server behind it may read them otherwise (RFC 9112, sections 2, 3 and 6).

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Version};

use super::error::ErrorResponse;
use super::header_set::HeaderSet;

/// The longest target that is passed on, in bytes.
const TARGET_MAX_BYTES: usize = 8 * 1024;
/// Proxies, each of which notes itself in `X-Forwarded-For`, that a request may have come through. More is a loop.
const HOPS_MAX: usize = 32;
/// Where proxies note whom they got a request from.
pub const X_FORWARDED_FOR: http::HeaderName = http::HeaderName::from_static("x-forwarded-for");

/// Checks the head of a request.
///
/// # Errors
/// The answer to the client, where it cannot be passed on.
pub fn check(parts: &Parts, present: HeaderSet) -> Result<(), ErrorResponse> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        let message = "the proxy takes no CONNECT and no TRACE";
        return Err(ErrorResponse {
            close: true,
            ..ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        });
    }
    host(parts)?;
    if present.any(HeaderSet::TRANSFER_ENCODING) {
        transfer_encoding(parts)?;
    }
    target(parts)?;
    if present.any(HeaderSet::FORWARDED_FOR) {
        hops(parts)?;
    }
    Ok(())
}

/// Exactly one valid `Host`, which a target in absolute form must not contradict (RFC 9112, section 3.2).
fn host(parts: &Parts) -> Result<(), ErrorResponse> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.as_bytes(),
        (None, _) if parts.version == Version::HTTP_10 => return Ok(()),
        (None, _) => return Err(ErrorResponse::malformed("the request has no Host header")),
        _ => return Err(ErrorResponse::malformed("the request has more than one Host header")),
    };
    if host.is_empty() && parts.uri.authority().is_none() {
        return Ok(());
    }
    if is_common_host(host) && parts.uri.authority().is_none() {
        return Ok(());
    }
    let plain = host.iter().all(|b| b.is_ascii_alphanumeric() || b".-_:[]%~!$&'()*+,;=".contains(b));
    if !plain || !Authority::try_from(host).is_ok_and(|host| port_is_plain(host.as_str())) {
        return Err(ErrorResponse::malformed("the request's Host header is not a host"));
    }
    match parts.uri.authority() {
        Some(authority) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host) => {
            Err(ErrorResponse::malformed("the request's target names another host than its Host header"))
        }
        _ => Ok(()),
    }
}

/// A name or an IPv4 address, perhaps with a port: what nearly every host is, and what needs no closer look.
fn is_common_host(host: &[u8]) -> bool {
    let of_name = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let name = host.iter().take_while(of_name).count();
    let port = host.get(name..).unwrap_or_default();
    name > 0 && (port.is_empty() || port.strip_prefix(b":").is_some_and(|port| port.iter().all(u8::is_ascii_digit)))
}

/// Digits or nothing behind the last colon that is not within the brackets of an IPv6 address.
fn port_is_plain(host: &str) -> bool {
    let behind_address = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    behind_address.split_once(':').is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

/// One `Transfer-Encoding: chunked` or none: anything else is read differently by different servers.
fn transfer_encoding(parts: &Parts) -> Result<(), ErrorResponse> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        // A length beside it is gone: hyper drops it, and ends the connection with this request (RFC 9112, section 6.3).
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(ErrorResponse::malformed("the request's Transfer-Encoding is not exactly one \"chunked\"")),
    }
}

/// The target goes to the backend byte for byte, or not at all: whatever some server would resolve is refused. The id of a
/// model that is answered from memory may be anything.
fn target(parts: &Parts) -> Result<(), ErrorResponse> {
    let Some(whole) = parts.uri.path_and_query() else {
        return Err(ErrorResponse::malformed("the request's target is not a path"));
    };
    if whole.as_str().len() > TARGET_MAX_BYTES {
        let message = format!("the request's target is longer than {TARGET_MAX_BYTES} bytes");
        return Err(ErrorResponse {
            close: true,
            ..ErrorResponse::new(StatusCode::URI_TOO_LONG, "target_too_long", message)
        });
    }
    match path_is_plain(whole.path()) || is_retrieval(&parts.method, whole.path()) {
        true => Ok(()),
        false => Err(odd_path()),
    }
}

/// Whether the path names one model, whose id is looked up here and never passed on.
fn is_retrieval(method: &Method, path: &str) -> bool {
    (method == Method::GET || method == Method::HEAD) && path.starts_with("/v1/models/")
}

/// The answer to a path that some server would resolve.
pub fn odd_path() -> ErrorResponse {
    ErrorResponse::malformed(
        "the request's path must begin with one slash and have no dot segments, backslashes or control characters",
    )
}

/// Whether every server reads this path alike. `%2F` is allowed: it stands in model ids.
pub fn path_is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') || bytes.starts_with(b"//") {
        return false;
    }
    // Nearly every path is decided by these: a dot segment needs a dot right behind a slash, or an escape.
    // Without a way out of the loop, it is done for many bytes at once.
    if !bytes.iter().fold(false, |odd, b| odd | matches!(b, b'%' | b'\\' | b'.' | b'#')) {
        return true;
    }
    // A slash in disguise begins a segment of its own for whoever decodes it.
    !bytes.contains(&b'#')
        && unescaped(bytes).is_some_and(|path| {
            let odd = |byte: &u8| matches!(byte, b'\\' | 0..0x20 | 0x7f);
            !path.iter().any(odd) && !path.split(|byte| *byte == b'/').any(|part| part == b"." || part == b"..")
        })
}

/// The bytes behind the escapes; `None` where an escape is none.
fn unescaped(path: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((first, behind)) = rest.split_first() {
        let (byte, next) = match first {
            b'%' => (escaped(behind)?, behind.get(2..)?),
            byte => (*byte, behind),
        };
        bytes.push(byte);
        rest = next;
    }
    Some(bytes)
}

fn escaped(behind: &[u8]) -> Option<u8> {
    let digit = |at: usize| behind.get(at).and_then(|b| char::from(*b).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// A request that came through too many proxies goes in circles.
fn hops(parts: &Parts) -> Result<(), ErrorResponse> {
    let values = parts.headers.get_all(X_FORWARDED_FOR).iter();
    let hops: usize = values.map(|value| 1 + value.as_bytes().iter().filter(|b| **b == b',').count()).sum();
    match hops > HOPS_MAX {
        false => Ok(()),
        true => Err(ErrorResponse::new(
            StatusCode::LOOP_DETECTED,
            "loop_detected",
            "the request came through too many proxies; a container that is labelled as a backend leads back here",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_servers_read_alike_pass() {
        for path in [
            "/v1/chat/completions",
            "/v1/models/org%2Fname",
            "/v1/models/org%2fname-1.5",
            "/v1/a.b/..c/d..",
            "/v1/x//y",
            "/v1/%7Euser",
            "/v1/files/%23a",
            "/v1/@169.254.169.254/",
            "/v1/…",
        ] {
            assert!(path_is_plain(path), "{path}");
        }
    }

    #[test]
    fn paths_that_some_server_resolves_are_refused() {
        for path in [
            "",
            "v1/x",
            "//evil/v1",
            "/v1/../metrics",
            "/v1/./x",
            "/v1/..",
            "/v1/%2e%2e/metrics",
            "/v1/%2E/x",
            "/v1/.%2e/x",
            "/v1/%2e%2e%2fmetrics",
            "/v1/..%2fmetrics",
            "/v1/x%2f%2e",
            "/v1/x%2f..%2fy",
            "/v1/a\\b",
            "/v1/a%5cb",
            "/v1/%00",
            "/v1/%0a",
            "/v1/%7f",
            "/v1/%zz",
            "/v1/%2",
            "/v1/a#b",
        ] {
            assert!(!path_is_plain(path), "{path}");
        }
    }
}
