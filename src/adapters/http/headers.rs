//! Which headers go on, in either direction (RFC 9110, section 7.6.1), and who is present as having sent a request.

use std::net::IpAddr;

use http::header::{
    CONNECTION, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, StatusCode, Version};

use super::header_set::HeaderSet;
use super::request_id::X_REQUEST_ID;
use super::validate::X_FORWARDED_FOR;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Headers that some servers take for ours, because they read an underscore as a dash.
const FORWARDED_TWINS: [&str; 3] = ["x_forwarded_for", "x_forwarded_host", "x_forwarded_proto"];

/// What a `Connection` header can never remove: who asks, what for, and where the message ends.
const PROTECTED: [&str; 9] = [
    "host",
    "authorization",
    "x-api-key",
    "x-real-ip",
    "forwarded",
    "traceparent",
    "tracestate",
    "anthropic-version",
    "cookie",
];

/// The client of a connection, as it is present in `X-Forwarded-For`.
pub fn client(peer: IpAddr) -> HeaderValue {
    HeaderValue::try_from(peer.to_canonical().to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Takes away what belongs to the client's own connection, and notes the client and the id of the request. Gives the protocol that the request
/// wants to switch to, if it does.
pub fn prepare_request(
    version: Version,
    headers: &mut HeaderMap,
    present: HeaderSet,
    client: &HeaderValue,
    request_id: &HeaderValue,
) -> Option<HeaderValue> {
    if !present.any(HeaderSet::HOST) {
        // HTTP/1.0 needs no host; what goes on is HTTP/1.1.
        headers.insert(HOST, HeaderValue::from_static(""));
    }
    let switch = match present.any(HeaderSet::STAYS_BEHIND) {
        true => take_away(version, headers),
        false => {
            if present.any(HeaderSet::CONNECTION) {
                strip_connection(headers);
            }
            None
        }
    };
    note_client(headers, present, client);
    // The one that is answered with, so that logs can be joined. Where the caller's is sane it is the same.
    headers.insert(X_REQUEST_ID, request_id.clone());
    switch
}

fn take_away(version: Version, headers: &mut HeaderMap) -> Option<HeaderValue> {
    // HTTP/1.0 knows no switch (RFC 9110, section 7.8).
    let switch = wanted_protocol(headers).filter(|_| version == Version::HTTP_11);
    let trailers = headers.get(TE).is_some_and(|te| has_token(te.as_bytes(), b"trailers"));
    strip(headers);
    headers.remove(EXPECT);
    headers.remove(HTTP2_SETTINGS);
    for twin in FORWARDED_TWINS {
        headers.remove(twin);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &switch {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    switch
}

/// Takes away what belongs to the backend's own connection. `Trailer` stays: it announces what comes behind the body.
pub fn prepare_response(status: StatusCode, headers: &mut HeaderMap) {
    let present = HeaderSet::of(headers);
    if !present.any(HeaderSet::STAYS_BEHIND | HeaderSet::CONNECTION) {
        return;
    }
    let switched = (status == StatusCode::SWITCHING_PROTOCOLS).then(|| headers.get(UPGRADE).cloned()).flatten();
    strip(headers);
    if let Some(protocol) = switched {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// The protocol of a request that asks for a switch. HTTP/2 in the clear is not passed on: behind it a backend would
/// take requests that nobody here has seen.
fn wanted_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let asked = headers.get_all(CONNECTION).iter().any(|value| has_token(value.as_bytes(), b"upgrade"));
    let h2 = protocol.as_bytes().to_ascii_lowercase().windows(2).any(|pair| pair == b"h2");
    (asked && !h2).then(|| protocol.clone())
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

fn strip(headers: &mut HeaderMap) {
    strip_connection(headers);
    for name in [KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE]
    {
        headers.remove(name);
    }
}

fn strip_connection(headers: &mut HeaderMap) {
    // Nearly all say nothing else.
    let common = |value: &HeaderValue| value == "keep-alive" || value == "Keep-Alive" || value == "close";
    if !headers.get_all(CONNECTION).iter().all(common) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    headers.remove(CONNECTION);
}

/// What `Connection` names, as far as it may. `close` and `keep-alive` are no headers and cost nothing here.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    values
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.eq_ignore_ascii_case(b"close") && !token.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| {
            let name = name.as_str();
            !PROTECTED.contains(&name) && !name.starts_with("content-") && !name.starts_with("x-forwarded-")
        })
        .filter(|name| name != TRAILER)
        .collect()
}

/// Adds the client to `X-Forwarded-For`; the host and the scheme only where no proxy before us has present them.
fn note_client(headers: &mut HeaderMap, present: HeaderSet, client: &HeaderValue) {
    let hops = match present.any(HeaderSet::FORWARDED_FOR) {
        true => behind_the_others(headers, client),
        false => client.clone(),
    };
    headers.insert(X_FORWARDED_FOR, hops);
    if !present.any(HeaderSet::FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).filter(|host| !host.is_empty()).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if !present.any(HeaderSet::FORWARDED_PROTO | HeaderSet::FORWARDED) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
}

fn behind_the_others(headers: &HeaderMap, client: &HeaderValue) -> HeaderValue {
    let mut hops = Vec::with_capacity(64);
    for value in headers.get_all(X_FORWARDED_FOR) {
        hops.extend_from_slice(value.as_bytes());
        hops.extend_from_slice(b", ");
    }
    hops.extend_from_slice(client.as_bytes());
    HeaderValue::try_from(hops).unwrap_or_else(|_| client.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: HeaderValue = HeaderValue::from_static("192.0.2.7");
    const ID: HeaderValue = HeaderValue::from_static("req-1");

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn prepare(request: &mut HeaderMap) -> Option<HeaderValue> {
        let present = HeaderSet::of(request);
        prepare_request(Version::HTTP_11, request, present, &PEER, &ID)
    }

    fn has(headers: &HeaderMap, name: &str, value: &str) -> bool {
        headers.get(name).is_some_and(|v| v == value)
    }

    #[test]
    fn what_belongs_to_the_connection_stays_behind() {
        let mut request = headers(&[
            ("connection", "Keep-Alive, x-mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("proxy-authorization", "secret"),
            ("expect", "100-continue"),
            ("x-other", "2"),
        ]);
        assert_eq!(prepare(&mut request), None);
        for gone in ["connection", "x-mine", "keep-alive", "proxy-authorization", "expect"] {
            assert!(!request.contains_key(gone), "{gone}");
        }
        assert!(has(&request, "te", "trailers") && has(&request, "x-other", "2"));
    }

    #[test]
    fn each_of_them_stays_behind_also_where_it_stands_alone() {
        for name in [KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING]
            .into_iter()
            .chain([UPGRADE, EXPECT, HTTP2_SETTINGS, CONNECTION])
            .chain(FORWARDED_TWINS.map(HeaderName::from_static))
        {
            let mut request = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x-mine"))]);
            prepare(&mut request);
            assert!(!request.contains_key(&name), "{name}");
        }
    }

    #[test]
    fn a_client_is_noted_by_its_plain_address() {
        assert_eq!(client([192, 0, 2, 7].into()), PEER);
        assert_eq!(client(std::net::Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().into()), PEER);
        assert_eq!(client(std::net::Ipv6Addr::LOCALHOST.into()), "::1");
    }

    #[test]
    fn connection_cannot_remove_what_says_who_asks() {
        let mut request = headers(&[
            ("connection", "authorization, X-Api-Key, content-type, x-forwarded-for, host, traceparent"),
            ("authorization", "a"),
            ("x-api-key", "b"),
            ("content-type", "c"),
            ("x-forwarded-for", "198.51.100.1"),
            ("host", "h"),
            ("traceparent", "t"),
        ]);
        prepare(&mut request);
        for kept in ["authorization", "x-api-key", "content-type", "host", "traceparent"] {
            assert!(request.contains_key(kept), "{kept}");
        }
        assert!(has(&request, "x-forwarded-for", "198.51.100.1, 192.0.2.7"));
    }

    #[test]
    fn the_client_is_noted_once_and_a_proxy_before_us_is_believed() {
        let mut request = headers(&[("host", "llm.example"), ("x_forwarded_for", "10.0.0.1")]);
        prepare(&mut request);
        assert!(has(&request, "x-forwarded-for", "192.0.2.7"));
        assert!(has(&request, "x-forwarded-host", "llm.example") && has(&request, "x-forwarded-proto", "http"));
        assert!(!request.contains_key("x_forwarded_for"));

        let mut request = headers(&[("host", "inside"), ("x-forwarded-host", "out"), ("x-forwarded-proto", "https")]);
        prepare(&mut request);
        assert!(has(&request, "x-forwarded-host", "out") && has(&request, "x-forwarded-proto", "https"));
    }

    #[test]
    fn a_switch_of_protocols_goes_on_but_not_to_http_2() {
        let mut request = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert!(prepare(&mut request).is_some());
        assert!(has(&request, "connection", "upgrade") && has(&request, "upgrade", "websocket"));

        let mut request =
            headers(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAMA")]);
        assert!(prepare(&mut request).is_none());
        assert!(!request.contains_key("upgrade") && !request.contains_key("http2-settings"));
    }

    #[test]
    fn an_answer_keeps_its_trailer_and_loses_its_connection() {
        let mut answer = headers(&[("connection", "close"), ("trailer", "x-sum"), ("keep-alive", "max=9")]);
        prepare_response(StatusCode::OK, &mut answer);
        assert!(has(&answer, "trailer", "x-sum"));
        assert!(!answer.contains_key("connection") && !answer.contains_key("keep-alive"));
    }
}
