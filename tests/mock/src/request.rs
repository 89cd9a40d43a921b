//! One HTTP/1.1 request as it came in: head exactly as received, body counted, hashed and partly kept.

use std::io::{self, BufRead, Read};

/// Longest request head that is read.
const MAX_HEAD: u64 = 256 * 1024;
/// How much of a body is kept; the rest is counted and hashed only.
const KEEP_BODY: usize = 32 * 1024 * 1024;

/// A request with its body.
#[derive(Debug, Default)]
pub struct Request {
    pub method: String,
    /// As received, query included.
    pub target: String,
    pub version: String,
    /// As received, in order.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// A body: its beginning, its length and its hash.
#[derive(Debug)]
pub struct Body {
    pub kept: Vec<u8>,
    pub length: u64,
    /// FNV-1a, 64 bits, over all bytes.
    pub hash: u64,
}

impl Default for Body {
    fn default() -> Self {
        Self { kept: Vec::new(), length: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Body {
    fn add(&mut self, bytes: &[u8]) {
        let room = KEEP_BODY.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
        self.length += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A part `name=value` of the query, as received.
    pub fn query_part(&self, name: &str) -> Option<&str> {
        self.query().split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    }

    /// As [`Request::query_part`], as a number.
    pub fn query_number(&self, name: &str) -> Option<u64> {
        self.query_part(name)?.parse().ok()
    }

    /// Whether the connection may serve another request after this one.
    pub fn keep_alive(&self) -> bool {
        let asked = self.header("connection").unwrap_or_default().to_ascii_lowercase();
        match self.version.as_str() {
            "HTTP/1.1" => !asked.contains("close"),
            _ => asked.contains("keep-alive"),
        }
    }
}

/// Reads the head. `None`: the peer closed before a request began.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut from = from.take(MAX_HEAD);
    let first = line(&mut from)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.splitn(3, ' ');
    let mut word = || words.next().map(str::to_owned).ok_or_else(|| bad("request line"));
    let mut request = Request { method: word()?, target: word()?, version: word()?, ..Request::default() };
    loop {
        let next = line(&mut from)?;
        if next.is_empty() {
            return Ok(Some(request));
        }
        let (name, value) = next.split_once(':').ok_or_else(|| bad("header line"))?;
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// Reads the body that the head announces.
pub fn read_body(from: &mut impl BufRead, head: &Request) -> io::Result<Body> {
    let mut body = Body::default();
    let coding = head.header("transfer-encoding").unwrap_or_default();
    if coding.eq_ignore_ascii_case("chunked") {
        read_chunks(from, &mut body)?;
    } else if let Some(length) = head.header("content-length") {
        let length = length.parse().map_err(|_| bad("content-length"))?;
        read_exactly(from, length, &mut body)?;
    }
    Ok(body)
}

fn read_chunks(from: &mut impl BufRead, body: &mut Body) -> io::Result<()> {
    loop {
        let size = line(from)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| bad("chunk size"))?;
        if size == 0 {
            while !line(from)?.is_empty() {}
            return Ok(());
        }
        read_exactly(from, size, body)?;
        if !line(from)?.is_empty() {
            return Err(bad("chunk end"));
        }
    }
}

fn read_exactly(from: &mut impl BufRead, mut left: u64, body: &mut Body) -> io::Result<()> {
    while left > 0 {
        let ready = from.fill_buf()?;
        if ready.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let take = ready.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        body.add(&ready[..take]);
        from.consume(take);
        left -= take as u64;
    }
    Ok(())
}

/// One line without its end. Bytes that are no UTF-8 are replaced.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(MAX_HEAD).read_until(b'\n', &mut bytes)?;
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::{read_body, read_head};

    #[test]
    fn a_chunked_body_is_put_together() {
        let mut raw = &b"POST /v1/echo?a=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\nGET"[..];
        let head = read_head(&mut raw).expect("head").expect("a request");
        let body = read_body(&mut raw, &head).expect("body");
        assert_eq!((body.kept.as_slice(), body.length), (&b"abcde"[..], 5));
        assert_eq!((head.path(), head.query_part("a"), raw), ("/v1/echo", Some("1"), &b"GET"[..]));
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let mut raw = &b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc"[..];
        let head = read_head(&mut raw).expect("head").expect("a request");
        assert!(read_body(&mut raw, &head).is_err());
    }
}
