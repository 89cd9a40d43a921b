//! Parameters of a header value such as `name; key=value; key="value"`. What parsers differ on is an error.

/// Returns the first element of a header value, and the rest.
pub(super) fn split_first(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
    let (first, rest) = value.split_at_checked(end).unwrap_or_default();
    (first.trim_ascii(), rest)
}

/// A parameter; the value is without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Param<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// The error for a header value that parsers may split in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclear;

/// An iterator over parameters, each of which begins with `;`.
///
/// White space around `=`, a backslash before a quote (escape or not?), an unquoted value that is not a token
/// (RFC 9110, section 5.6.6) and anything after a closing quote are [`Unclear`].
pub(super) struct Params<'a> {
    rest: &'a [u8],
}

impl<'a> Params<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// Parses one parameter after its `;`.
    fn read(&self) -> Result<(Param<'a>, &'a [u8]), Unclear> {
        let rest = self.rest.strip_prefix(b";").ok_or(Unclear)?;
        let rest = rest.trim_ascii_start();
        let (name, rest) = token(rest)?;
        let rest = rest.strip_prefix(b"=").ok_or(Unclear)?;
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(rest) => quoted(rest)?,
            None => token(rest)?,
        };
        Ok((Param { name, value }, rest.trim_ascii_start()))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Result<Param<'a>, Unclear>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.rest == b";" {
            return None;
        }
        let read = self.read();
        self.rest = read.map_or(&[][..], |(_, rest)| rest);
        Some(read.map(|(param, _)| param))
    }
}

/// Returns true if a token may contain this byte (RFC 9110, section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Splits off a token of at least one byte.
fn token(bytes: &[u8]) -> Result<(&[u8], &[u8]), Unclear> {
    let end = bytes.iter().position(|&b| !is_token_byte(b));
    match bytes.split_at_checked(end.unwrap_or(bytes.len())) {
        Some((token, rest)) if !token.is_empty() => Ok((token, rest)),
        _ => Err(Unclear),
    }
}

/// Splits off the text before the closing quote.
fn quoted(bytes: &[u8]) -> Result<(&[u8], &[u8]), Unclear> {
    let end = bytes.iter().position(|&b| b == b'"').ok_or(Unclear)?;
    let (text, rest) = bytes.split_at_checked(end).ok_or(Unclear)?;
    if text.ends_with(b"\\") {
        return Err(Unclear);
    }
    Ok((text, rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: &str) -> Result<Vec<(String, String)>, Unclear> {
        let (_, rest) = split_first(value.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Params::new(rest).map(|param| param.map(|p| (text(p.name), text(p.value)))).collect()
    }

    #[test]
    fn parameters_are_split_in_any_order_and_quoting() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(all("form-data"), Ok(vec![]));
        assert_eq!(
            all("form-data; name=\"a b\" ;filename=\"x;y.mp3\";z=1"),
            Ok(vec![pair("name", "a b"), pair("filename", "x;y.mp3"), pair("z", "1")])
        );
        assert_eq!(all("a; b=\"\""), Ok(vec![pair("b", "")]));
        assert_eq!(all("a; b=c;"), Ok(vec![pair("b", "c")]));
    }

    #[test]
    fn what_readers_differ_on_is_unclear() {
        for value in [
            "a; name = b",
            "a; name",
            "a; =b",
            "a; name=",
            "a; name=\"b",
            "a; name=\"b\\\"; name=\"c\"",
            "a; name=\"b\"c",
            "a; name=b c",
            "a; name=b\"c\"",
            "a;; b=c",
            "a; b=c;;",
        ] {
            assert_eq!(all(value), Err(Unclear), "{value}");
        }
    }
}
