//! What must hold of the search for a body's model, and of a model's name.
//!
//! The first byte of a finder's input says how the rest is cut into chunks.

use body_model::{FindError, ModelFinder};
use domain::model_name::{MODEL_NAME_MAX_BYTES, ModelName};

/// The boundary of all forms.
const BOUNDARY: &str = "b";

/// The answer does not depend on chunks, and is that of `serde_json` (the last key wins) where both give one.
pub fn model_finder_json(input: &[u8]) {
    let Some((found, body)) = find(&ModelFinder::json(), input) else {
        return;
    };
    let Ok(found) = found else {
        return;
    };
    // `Value` takes one document only; what follows the first one is ignored by the finder.
    let mut documents = serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>();
    if let Some(Ok(value)) = documents.next() {
        let judged = value.get("model").and_then(serde_json::Value::as_str);
        assert_eq!(judged, Some(found.as_str()));
    }
}

/// The answer does not depend on chunks, and a plain reading of the whole form finds that one `model`.
pub fn model_finder_multipart(input: &[u8]) {
    let finder = ModelFinder::multipart(BOUNDARY).expect("the boundary is valid");
    let Some((Ok(found), body)) = find(&finder, input) else {
        return;
    };
    let parts = parts(body);
    let named = |name: &str| {
        let is_named = |head: &[u8]| {
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            let mut lines = head.split("\r\n");
            let line = lines.find(|line| line.starts_with("content-disposition:"));
            line.is_some_and(|line| line.split(';').any(|piece| piece.trim() == name))
        };
        let parts = parts.iter().filter(|(head, _)| is_named(head));
        parts.map(|(_, content)| *content).collect::<Vec<_>>()
    };
    // No quoted text can hold a quote, so this spelling is a name wherever it stands; the bare one need not be.
    let quoted = named("name=\"model\"");
    assert!(quoted.len() <= 1, "{}", body.escape_ascii());
    let models = [quoted, named("name=model")].concat();
    assert!(models.contains(&found.as_bytes()), "{}", body.escape_ascii());
}

/// A name that is taken is taken as it is, and is safe to show.
pub fn model_name(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match ModelName::parse(text) {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            assert!((1..=MODEL_NAME_MAX_BYTES).contains(&text.len()));
            assert!(!text.chars().any(char::is_control));
            assert!(!text.trim().is_empty());
        }
        Err(reason) => assert!(!reason.to_string().chars().any(char::is_control)),
    }
}

/// Asks about a body in one piece, byte by byte, and in chunks of the size that the input names.
fn find<'a>(finder: &ModelFinder, input: &'a [u8]) -> Option<(Result<String, FindError>, &'a [u8])> {
    let (&size, body) = input.split_first()?;
    let whole = in_chunks(finder.clone(), [body]);
    assert_eq!(in_chunks(finder.clone(), body.chunks(1)), whole);
    let size = usize::from(size).max(1);
    assert_eq!(in_chunks(finder.clone(), body.chunks(size)), whole);
    Some((whole, body))
}

fn in_chunks<'a>(mut finder: ModelFinder, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<String, FindError> {
    for chunk in chunks {
        finder.feed(chunk)?;
    }
    finder.finish()?;
    Ok(finder.model().expect("finish checked it").to_string())
}

/// The head and the content of each part, split as the books say and without any care.
fn parts(body: &[u8]) -> Vec<(&[u8], &[u8])> {
    let delimiter = format!("\r\n--{BOUNDARY}");
    let first = delimiter.trim_start().as_bytes();
    let mut rest = match body.strip_prefix(first) {
        Some(rest) => rest,
        None => after(body, delimiter.as_bytes()).map_or(&b"--"[..], |(_, rest)| rest),
    };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let Some((part, next)) = after(rest, delimiter.as_bytes()) else {
            break;
        };
        if let Some((head, content)) = after(part, b"\r\n\r\n") {
            parts.push((head, content));
        }
        rest = next;
    }
    parts
}

/// What stands before and after the first place where `what` occurs.
fn after<'a>(bytes: &'a [u8], what: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(what.len()).position(|window| window == what)?;
    Some((&bytes[..at], &bytes[at + what.len()..]))
}
