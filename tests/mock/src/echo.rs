//! Answers that say what arrived: `/echo`, `/audio/transcriptions`; and `/blob`, many bytes.

use crate::connection::{Connection, Gone};
use crate::json::quote;
use crate::request::Request;

/// Largest body that is answered as text too.
const SMALL: usize = 16 * 1024;
/// Bytes of a blob that are written at once.
const BLOB_STEP: u64 = 64 * 1024;

/// Method, target and headers exactly as received, the body's length, hash (FNV-1a 64, hex) and, when small, text.
pub fn echo(to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let headers: Vec<String> =
        request.headers.iter().map(|(name, value)| format!("[{},{}]", quote(name), quote(value))).collect();
    let text = match std::str::from_utf8(&request.body.kept) {
        Ok(text) if text.len() <= SMALL => quote(text),
        _ => "null".to_owned(),
    };
    let body = format!(
        r#"{{"method":{},"target":{},"version":{},"headers":[{}],"body_length":{},"body_fnv1a":"{:016x}","body":{text}}}"#,
        quote(&request.method),
        quote(&request.target),
        quote(&request.version),
        headers.join(","),
        request.body.length,
        request.body.hash,
    );
    to.json(200, &body)
}

/// The length of the whole form, as a text: enough to see that it arrived whole.
pub fn transcription(to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let multipart = request.header("content-type").is_some_and(|kind| kind.starts_with("multipart/form-data"));
    if !multipart {
        return to
            .json(400, r#"{"error":{"message":"not a multipart form","type":"mock_error","param":null,"code":400}}"#);
    }
    let text = format!("received {} bytes", request.body.length);
    to.json(200, &format!(r#"{{"text":{}}}"#, quote(&text)))
}

/// `?bytes=N`: a body of N letters with a content length, written as fast as the client reads.
pub fn blob(to: &mut Connection, request: &Request) -> Result<(), Gone> {
    let mut left = request.query_number("bytes").unwrap_or(BLOB_STEP);
    let head = to.head(200, "application/octet-stream", &format!("content-length: {left}"));
    to.write(head.as_bytes())?;
    let step = vec![b'x'; BLOB_STEP as usize];
    while left > 0 {
        let take = left.min(BLOB_STEP);
        to.write(&step[..take as usize])?;
        left -= take;
    }
    Ok(())
}
