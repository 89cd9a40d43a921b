//! A plan as bytes: bodies that are the same at both ends, heads, chunks of odd sizes, and the segments they leave in.

use std::time::Duration;

use super::plan::{Body, ModelAt, Request, Response, Segments, Version};
use super::support::dice::Dice;

/// How many bytes leave one by one, and how many segments of odd sizes there are; the rest leaves at once.
const SINGLE_BYTES: usize = 300;
const ODD_SEGMENTS: usize = 40;
const LARGEST_ODD: u64 = 1500;
/// A pause behind some segments.
const PAUSE: Duration = Duration::from_millis(1);
/// The trailer of chunked bodies that have one.
pub const TRAILER: &str = "x-sum: 7\r\n";

/// Text that no two bodies share.
pub fn letters(seed: u64, count: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut text = Vec::with_capacity(count + 8);
    while text.len() < count {
        let bits = dice.up_to(u64::MAX);
        text.extend(bits.to_le_bytes().map(|byte| b'a' + byte % 26));
    }
    text.truncate(count);
    text
}

/// The body of a request, without its framing.
pub fn request_body(request: &Request, model: &str, seed: u64) -> Vec<u8> {
    let text = String::from_utf8(letters(seed, request.body.letters())).unwrap_or_default();
    match (request.body, request.model_at) {
        (Body::None, _) => Vec::new(),
        (_, ModelAt::Last) => format!(r#"{{"x":"{text}","model":"{model}"}}"#).into_bytes(),
        _ => format!(r#"{{"model":"{model}","x":"{text}"}}"#).into_bytes(),
    }
}

/// A whole request: its head, and its body as it is framed.
pub fn request(request: &Request, path: &str, model: &str, body: &[u8], seed: u64) -> (Vec<u8>, Vec<u8>) {
    let query = if request.model_at == ModelAt::Query { format!("?model={model}") } else { String::new() };
    let version = if request.version == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut head = format!("{} {path}{query} {version}\r\nhost: storm\r\n", request.method);
    if let Some(value) = request.connection {
        head.push_str(&format!("connection: {value}\r\n"));
    }
    if request.expects_continue {
        head.push_str("expect: 100-continue\r\n");
    }
    head.push_str(&framing(request.body, body.len()));
    head.push_str("\r\n");
    (head.into_bytes(), framed(request.body, body, seed))
}

/// The header lines that frame a body.
pub fn framing(body: Body, length: usize) -> String {
    match body {
        Body::None | Body::UntilClose(_) => String::new(),
        Body::Length(_) => format!("content-length: {length}\r\n"),
        Body::Chunked { trailers: true, .. } => "trailer: x-sum\r\ntransfer-encoding: chunked\r\n".to_owned(),
        Body::Chunked { .. } => "transfer-encoding: chunked\r\n".to_owned(),
    }
}

/// A body with its framing.
pub fn framed(body: Body, bytes: &[u8], seed: u64) -> Vec<u8> {
    let Body::Chunked { most, trailers, .. } = body else { return bytes.to_vec() };
    let mut framed = chunks(bytes, most, seed);
    framed.extend_from_slice(b"0\r\n");
    if trailers {
        framed.extend_from_slice(TRAILER.as_bytes());
    }
    framed.extend_from_slice(b"\r\n");
    framed
}

/// Bytes in chunks of odd sizes, without the last one.
pub fn chunks(mut bytes: &[u8], most: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed ^ 0xc4);
    let mut chunks = Vec::with_capacity(bytes.len() + 64);
    while !bytes.is_empty() {
        let size = usize::try_from(1 + dice.up_to(most as u64)).unwrap_or(1).min(bytes.len());
        chunks.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        chunks.extend_from_slice(&bytes[..size]);
        chunks.extend_from_slice(b"\r\n");
        bytes = &bytes[size..];
    }
    chunks
}

/// The head of a response in the version of the server.
pub fn response_head(response: &Response, is_old: bool, length: usize, connection: Option<&str>) -> String {
    let version = if is_old { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut head = format!("{version} {} Status\r\nx-storm: 1\r\n", response.status);
    if let Some(value) = connection {
        head.push_str(&format!("connection: {value}\r\n"));
    }
    if !matches!(response.status, 204 | 304) {
        head.push_str(&framing(response.body, length));
    }
    head.push_str("\r\n");
    head
}

/// Where bytes are cut into segments, and after which of them there is a pause.
pub fn segments(kind: Segments, length: usize, seed: u64) -> Vec<(usize, Option<Duration>)> {
    let mut dice = Dice::new(seed ^ 0x5e);
    let mut segments = Vec::new();
    let mut left = length;
    let mut take = |size: usize, pause| {
        let size = size.min(left);
        left -= size;
        if size > 0 {
            segments.push((size, pause));
        }
    };
    match kind {
        Segments::AtOnce => {}
        Segments::Bytes => (0..SINGLE_BYTES).for_each(|_| take(1, None)),
        Segments::Odd => {
            for _ in 0..ODD_SEGMENTS {
                let pause = dice.one_in(4).then_some(PAUSE);
                take(usize::try_from(1 + dice.up_to(LARGEST_ODD)).unwrap_or(1), pause);
            }
        }
    }
    take(length, None);
    segments
}
