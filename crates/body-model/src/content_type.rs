//! The kind of a body, by its `Content-Type`.

use super::charset::Charset;
use super::error::{FindError, InvalidBody};
use super::header_params::split_first;
use super::readings::Places;

/// The kind of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyKind {
    Json { ascii_only: bool },
    Form { boundary: Vec<u8>, ascii_only: bool },
}

impl BodyKind {
    /// Parses the value of the header, if present.
    pub(super) fn parse(content_type: Option<&[u8]>) -> Result<Self, FindError> {
        let value = content_type.unwrap_or_default();
        let (essence, rest) = split_first(value);
        let ascii_only = ascii_only(rest)?;
        if essence.eq_ignore_ascii_case(b"application/json") {
            return Ok(Self::Json { ascii_only });
        }
        if essence.eq_ignore_ascii_case(FORM) {
            return Ok(Self::Form { boundary: boundary(value)?.to_vec(), ascii_only });
        }
        // Some servers search the value for this type, and would take the body for a form.
        match value.windows(FORM.len()).any(|part| part.eq_ignore_ascii_case(FORM)) {
            true => Err(FindError::InvalidBody(InvalidBody::Boundary)),
            false => Ok(Self::Json { ascii_only }),
        }
    }
}

const FORM: &[u8] = b"multipart/form-data";

/// Returns the boundary, if every server that accepts the form reads the same one. It needs no quotes, even if the
/// grammar requires them for `=`, `/` and `:`; servers that insist on the grammar reject the form.
fn boundary(value: &[u8]) -> Result<&[u8], FindError> {
    let refused = || FindError::InvalidBody(InvalidBody::Boundary);
    let mut places = Places::of(b"boundary", value);
    let (Some(place), None) = (places.next(), places.next()) else { return Err(refused()) };
    if !place.is_plain || !place.before.trim_ascii_end().ends_with(b";") {
        return Err(refused());
    }
    let (boundary, rest) = match place.after.strip_prefix(b"\"") {
        Some(quoted) => quoted.split_at_checked(quoted.iter().position(|&b| b == b'"').ok_or_else(refused)?),
        None => {
            let end = place.after.iter().position(|&b| b == b';');
            let (bare, rest) = place.after.split_at_checked(end.unwrap_or(place.after.len())).unwrap_or_default();
            let bare = bare.trim_ascii_end();
            let plain = bare.iter().all(|b| b.is_ascii_graphic() && !b",\"<>".contains(b));
            plain.then_some((bare, rest))
        }
    }
    .ok_or_else(refused)?;
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest).trim_ascii_start();
    match rest.is_empty() || rest.starts_with(b";") {
        true => Ok(boundary),
        false => Err(refused()),
    }
}

/// Returns true if a `charset` parameter limits the body to ASCII. Every one counts, even in a value that is malformed
/// otherwise: some servers decode the body by it.
fn ascii_only(rest: &[u8]) -> Result<bool, FindError> {
    let mut ascii_only = false;
    for param in rest.split(|&b| b == b';' || b == b',') {
        let mut sides = param.splitn(2, |&b| b == b'=');
        let name = sides.next().unwrap_or_default().trim_ascii();
        let value = sides.next().unwrap_or_default().trim_ascii();
        if !name.eq_ignore_ascii_case(b"charset") {
            continue;
        }
        match Charset::parse(value) {
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
    fn charsets_that_keep_ascii_are_searched_as_ascii() {
        for charset in [
            "ISO-8859-1",
            "latin1",
            "latin-1",
            "Latin_1",
            "l1",
            "iso_8859-1:1987",
            "iso8859-1",
            "8859",
            "cp819",
            "IBM819",
            "iso-ir-100",
            "csISOLatin1",
            "iso-8859-15",
            "ISO-8859-16",
            "iso-8859-8-i",
            "latin-9",
            "latin10",
            "windows-1252",
            "cp1252",
            "CP-1251",
            "windows-1251",
            "x-cp1250",
            "win1251",
            "1252",
            "windows-874",
            "cp437",
            "ibm866",
            "866",
            "cp850",
            "koi8-r",
            "KOI8-U",
            "koi8_t",
            "macintosh",
            "x-mac-roman",
            "mac-cyrillic",
            "x-mac-ukrainian",
            "us-ascii",
            "ASCII",
            "ansi_x3.4-1968",
            "iso646-us",
            "tis-620",
            "hp-roman8",
            "arabic",
            "ISO-8859-6-E",
            "greek",
            "hebrew",
            "cyrillic",
            "euc-jp",
            "EUC-KR",
            "eucjp",
            "kz-1048",
            "x-user-defined",
            "'latin1'",
            "\"cp1252\"",
        ] {
            assert_eq!(parse(&format!("application/json; charset={charset}")), json(true), "{charset}");
        }
        for charset in
            ["UTF-8", "utf8", "UTF_8", "\"utf-8\"", "'utf-8'", "unicode-1-1-utf-8", "cp65001", "utf-8-sig", "utf8mb4"]
        {
            assert_eq!(parse(&format!("application/json; charset={charset}")), json(false), "{charset}");
        }
    }

    #[test]
    fn charsets_that_could_hide_quotes_are_refused() {
        for charset in [
            "utf-16",
            "utf-16le",
            "UTF-16BE",
            "utf-32",
            "ucs-2",
            "utf-7",
            "unicode",
            "hz-gb-2312",
            "iso-2022-jp",
            "iso-2022-kr",
            "shift_jis",
            "sjis",
            "cp932",
            "ms932",
            "big5",
            "big5-hkscs",
            "cp950",
            "gbk",
            "gb18030",
            "gb2312",
            "cp936",
            "cp949",
            "johab",
            "cp037",
            "cp500",
            "cp1026",
            "cp1140",
            "ibm1047",
            "iso-8859-17",
            "iso-8859-0",
            "iso-8859-12x",
            "latin-11",
            "windows-125",
            "windows-1259",
            "cp12520",
            "none",
            "x",
            "scsu",
            "bocu-1",
            "iso646-fr",
        ] {
            let refused = Err(FindError::InvalidBody(InvalidBody::Charset));
            assert_eq!(parse(&format!("application/json; charset={charset}")), refused, "{charset}");
        }
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
            "multipart/form-data2; boundary=a",
            "multipart/form-data boundary=a",
            "application/json, multipart/form-data; boundary=a",
        ] {
            let refused = Err(FindError::InvalidBody(InvalidBody::Boundary));
            assert_eq!(parse(value), refused, "{value}");
        }
    }
}
