//! Reads from a `Content-Type` how a body has to be searched.

use super::error::{FindError, InvalidBody};
use super::params::{Params, split_first};

/// How a body has to be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyKind {
    Json { ascii_only: bool },
    Form { boundary: Vec<u8>, ascii_only: bool },
}

/// How far a charset is from UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    /// ASCII bytes mean ASCII, all others something else than in UTF-8.
    AsciiCompatible,
    /// May hide quotes and brackets (UTF-7, UTF-16, Shift_JIS and others).
    Other,
}

impl Charset {
    pub(super) fn parse(name: &[u8]) -> Self {
        match name.to_ascii_lowercase().as_slice() {
            b"utf-8" | b"utf8" => Self::Utf8,
            b"us-ascii" | b"ascii" | b"iso-8859-1" | b"latin1" | b"windows-1252" => Self::AsciiCompatible,
            _ => Self::Other,
        }
    }
}

impl BodyKind {
    /// Parses the value of the header, if there is one.
    pub(super) fn parse(content_type: Option<&[u8]>) -> Result<Self, FindError> {
        let (essence, rest) = split_first(content_type.unwrap_or_default());
        let ascii_only = ascii_only(rest)?;
        if !essence.eq_ignore_ascii_case(b"multipart/form-data") {
            return Ok(Self::Json { ascii_only });
        }
        let mut boundary = None;
        for param in Params::new(rest) {
            let param = param.map_err(|_| FindError::InvalidBody(InvalidBody::Boundary))?;
            let name = param.name.to_ascii_lowercase();
            if name == b"boundary" && boundary.is_none() {
                boundary = Some(param.value.to_vec());
            } else if name.starts_with(b"boundary") {
                return Err(FindError::InvalidBody(InvalidBody::Boundary));
            }
        }
        let boundary = boundary.ok_or(FindError::InvalidBody(InvalidBody::Boundary))?;
        Ok(Self::Form { boundary, ascii_only })
    }
}

/// Looks at every `charset` parameter, also in a header value that is otherwise out of shape: some servers decode
/// the body by it.
fn ascii_only(rest: &[u8]) -> Result<bool, FindError> {
    let mut ascii_only = false;
    for piece in rest.split(|&b| b == b';' || b == b',') {
        let mut sides = piece.splitn(2, |&b| b == b'=');
        let name = sides.next().unwrap_or_default().trim_ascii();
        let value = sides.next().unwrap_or_default().trim_ascii();
        if !name.eq_ignore_ascii_case(b"charset") {
            continue;
        }
        let bare = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
        match Charset::parse(bare.unwrap_or(value)) {
            Charset::Utf8 => {}
            Charset::AsciiCompatible => ascii_only = true,
            Charset::Other => return Err(FindError::InvalidBody(InvalidBody::Charset)),
        }
    }
    Ok(ascii_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(ascii_only: bool) -> Result<BodyKind, FindError> {
        Ok(BodyKind::Json { ascii_only })
    }

    fn form(boundary: &str) -> Result<BodyKind, FindError> {
        Ok(BodyKind::Form { boundary: boundary.as_bytes().to_vec(), ascii_only: false })
    }

    fn parse(value: &str) -> Result<BodyKind, FindError> {
        BodyKind::parse(Some(value.as_bytes()))
    }

    #[test]
    fn everything_that_is_no_form_is_searched_as_json() {
        assert_eq!(BodyKind::parse(None), json(false));
        for value in [
            "",
            "application/json",
            "text/plain",
            "text/plain; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "multipart/mixed; boundary=x",
            "application/vnd.api+json; profile = odd",
        ] {
            assert_eq!(parse(value), json(false), "{value}");
        }
    }

    #[test]
    fn charsets_that_could_hide_quotes_are_refused() {
        assert_eq!(parse("text/plain; charset=ISO-8859-1"), json(true));
        for value in [
            "application/json; charset=utf-7",
            "application/json; charset = utf-16",
            "application/json; charset=",
            "application/json; x=1; CHARSET=\"shift_jis\"",
            "multipart/form-data; boundary=x; charset=utf-16le",
        ] {
            let refused = Err(FindError::InvalidBody(InvalidBody::Charset));
            assert_eq!(parse(value), refused, "{value}");
        }
    }

    #[test]
    fn the_boundary_is_read_as_rfc_2046_writes_it() {
        assert_eq!(parse("multipart/form-data; boundary=abc"), form("abc"));
        assert_eq!(parse("Multipart/Form-Data;BOUNDARY=\"a b:c\""), form("a b:c"));
        for value in [
            "multipart/form-data",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary*=utf-8''a",
            "multipart/form-data; boundary=a, application/json",
            "multipart/form-data; boundary=\"a\\\"b\"",
            "multipart/form-data; boundary=a b",
        ] {
            let refused = Err(FindError::InvalidBody(InvalidBody::Boundary));
            assert_eq!(parse(value), refused, "{value}");
        }
    }
}
