//! A request as it stood on the wire.

use std::fmt;

/// A request as it stood on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct RawRequest {
    /// The head, with its line ends, with the empty line.
    pub head: String,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The trailer lines of a chunked body.
    pub trailers: String,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl RawRequest {
    /// `GET /path HTTP/1.1`.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The header lines in their order, as they are.
    pub fn headers(&self) -> Vec<&str> {
        self.head.lines().skip(1).filter(|line| !line.is_empty()).collect()
    }

    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

impl fmt::Debug for RawRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {:?} + {} bytes", self.connection, self.head, self.body.len())
    }
}

/// The first header of that name in a head, whatever its case.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
