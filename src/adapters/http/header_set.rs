//! Which of the headers that the proxy cares for stand in a message's head.
//!
//! One look at each name costs less than a search for each header, and most messages have few of them.

use std::ops::BitOr;

use http::HeaderMap;

/// A set of headers, or of kinds of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderSet(u16);

impl HeaderSet {
    /// `Connection`.
    pub const CONNECTION: Self = Self(1);
    /// Another header that does not go on, or one that servers may take for a header of ours, because they read an
    /// underscore as a dash.
    pub const STAYS_BEHIND: Self = Self(1 << 1);
    /// `Transfer-Encoding`.
    pub const TRANSFER_ENCODING: Self = Self(1 << 2);
    /// `Content-Encoding`.
    pub const CONTENT_ENCODING: Self = Self(1 << 3);
    /// `X-Forwarded-For`.
    pub const FORWARDED_FOR: Self = Self(1 << 4);
    /// `X-Forwarded-Host`.
    pub const FORWARDED_HOST: Self = Self(1 << 5);
    /// `X-Forwarded-Proto`.
    pub const FORWARDED_PROTO: Self = Self(1 << 6);
    /// `Forwarded`.
    pub const FORWARDED: Self = Self(1 << 7);
    /// `X-Request-Id`.
    pub const REQUEST_ID: Self = Self(1 << 8);
    /// `Anthropic-Version`.
    pub const ANTHROPIC_VERSION: Self = Self(1 << 9);
    /// `Host`.
    pub const HOST: Self = Self(1 << 10);

    /// What stands in these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::default(), |present, name| present | Self::kind(name.as_str()))
    }

    /// Whether any of these is among them.
    pub fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    #[inline]
    fn kind(name: &str) -> Self {
        match name {
            "connection" => Self::CONNECTION,
            "transfer-encoding" => Self::TRANSFER_ENCODING | Self::STAYS_BEHIND,
            "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "upgrade"
            | "expect"
            | "http2-settings"
            | "x_forwarded_for"
            | "x_forwarded_host"
            | "x_forwarded_proto" => Self::STAYS_BEHIND,
            "content-encoding" => Self::CONTENT_ENCODING,
            "x-forwarded-for" => Self::FORWARDED_FOR,
            "x-forwarded-host" => Self::FORWARDED_HOST,
            "x-forwarded-proto" => Self::FORWARDED_PROTO,
            "forwarded" => Self::FORWARDED,
            "x-request-id" => Self::REQUEST_ID,
            "anthropic-version" => Self::ANTHROPIC_VERSION,
            "host" => Self::HOST,
            _ => Self::default(),
        }
    }
}

impl BitOr for HeaderSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_is_noted_as_what_it_is() {
        let headers = HeaderMap::from_iter(
            ["host", "te", "x-request-id", "accept"]
                .map(|name| (http::HeaderName::from_static(name), http::HeaderValue::from_static(""))),
        );
        let present = HeaderSet::of(&headers);
        assert_eq!(present, HeaderSet::HOST | HeaderSet::STAYS_BEHIND | HeaderSet::REQUEST_ID);
        assert!(
            present.any(HeaderSet::HOST | HeaderSet::FORWARDED)
                && !present.any(HeaderSet::FORWARDED | HeaderSet::CONNECTION)
        );
    }
}
