//! The headers of one form part: whether it is the model, and whether all servers read it alike.

use super::charset::Charset;
use super::error::{AmbiguousModel, FindError, InvalidBody, InvalidModel};
use super::header_params::{Params, is_token_byte, split_first};
use super::readings::{Place, Places};
use super::strings::MODEL;

/// The headers of a part, parsed line by line.
#[derive(Debug, Clone, Default)]
pub(super) struct PartHeaders {
    is_model: Option<bool>,
    has_file_name: bool,
    ascii_only: bool,
    has_type: bool,
    type_fault: bool,
    encoding_fault: bool,
}

/// The kind of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Model { ascii_only: bool },
    Other,
}

impl PartHeaders {
    /// Parses one header line, without its line end.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), FindError> {
        let colon = line.iter().position(|&b| b == b':');
        let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
            return Err(form("a part has a header line without a colon"));
        };
        if name.is_empty() || !name.iter().all(|&b| is_token_byte(b)) {
            return Err(form("a part has a header name with characters that are not allowed"));
        }
        let value = value.get(1..).unwrap_or_default();
        if value.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
            return Err(form("a part has a control character in its headers"));
        }
        let value = value.trim_ascii();
        match name.to_ascii_lowercase().as_slice() {
            b"content-disposition" => self.disposition(value),
            b"content-type" => {
                self.content_type(value);
                Ok(())
            }
            b"content-transfer-encoding" => {
                let identity: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
                self.encoding_fault |= !identity.iter().any(|e| value.eq_ignore_ascii_case(e));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the headers.
    pub(super) fn end(&self) -> Result<Part, FindError> {
        let refused = |reason| Err(FindError::InvalidModel(reason));
        match self.is_model {
            None => Err(form("a part has no `Content-Disposition: form-data` header")),
            Some(false) => Ok(Part::Other),
            Some(true) if self.has_file_name => refused(InvalidModel::File),
            Some(true) if self.type_fault => refused(InvalidModel::PartType),
            Some(true) if self.encoding_fault => refused(InvalidModel::PartEncoding),
            Some(true) => Ok(Part::Model { ascii_only: self.ascii_only }),
        }
    }

    /// Parses `form-data; name="model"`. A part that is the model in no reading of the header may have any header; one
    /// that is the model in some reading has to be in all of them.
    fn disposition(&mut self, value: &[u8]) -> Result<(), FindError> {
        if self.is_model.is_some() {
            return Err(form("a part has two Content-Disposition headers"));
        }
        let (kind, rest) = split_first(value);
        if !kind.eq_ignore_ascii_case(b"form-data") {
            return Err(form("a part has a Content-Disposition that is not `form-data`"));
        }
        let (mut names, mut may_be_model) = (0, false);
        for place in Places::of(b"name", rest).filter(Place::is_whole_name) {
            names += 1;
            may_be_model |= place.is_starred || place.values().any(|value| is_model(value) != Ok(false));
        }
        self.is_model = Some(match (names, may_be_model) {
            (0, _) => return Err(form("a part has no name")),
            (_, false) => false,
            (1, true) if is_model(self.clear_name(rest)?)? => true,
            (_, true) => return Err(named_unusually()),
        });
        Ok(())
    }

    /// Returns the name in a header that can be read in one way only.
    fn clear_name<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], FindError> {
        let mut name = None;
        for param in Params::new(rest) {
            let unclear = |_| form("a part has a Content-Disposition that can be read in two ways");
            let param = param.map_err(unclear)?;
            self.has_file_name |= param.name.to_ascii_lowercase().starts_with(b"filename");
            if param.name == b"name" {
                name = Some(param.value);
            }
        }
        name.ok_or_else(named_unusually)
    }

    /// Parses the type. Only plain text is a field for every server; some take a part of another type for a file.
    fn content_type(&mut self, value: &[u8]) {
        let (essence, rest) = split_first(value);
        self.type_fault |= std::mem::replace(&mut self.has_type, true) || !essence.eq_ignore_ascii_case(b"text/plain");
        for param in Params::new(rest) {
            match param {
                Ok(param) if param.name.eq_ignore_ascii_case(b"charset") => match Charset::parse(param.value) {
                    Charset::Utf8 => {}
                    Charset::AsciiCompatible => self.ascii_only = true,
                    Charset::Other => self.type_fault = true,
                },
                Ok(_) => {}
                Err(_) => self.type_fault = true,
            }
        }
    }
}

/// Returns true if the name of a part is `model`. A name that some servers turn into `model` (percent escapes,
/// backslashes, white space, brackets as in `model[]`, a NUL, another case, the encoded words of RFC 2047) is an error.
fn is_model(name: &[u8]) -> Result<bool, FindError> {
    if name == MODEL.as_bytes() {
        return Ok(true);
    }
    if name.eq_ignore_ascii_case(b"_charset_") {
        return Err(form("a `_charset_` field is not supported, send UTF-8"));
    }
    let plain = percent_decoded(name);
    let plain = plain.split(|&b| b == b'[' || b == 0).next();
    let plain: Vec<u8> = plain
        .unwrap_or_default()
        .iter()
        .filter(|b| b.is_ascii_graphic() && !b"\\\"'<>".contains(b))
        .map(u8::to_ascii_lowercase)
        .collect();
    let is_encoded_word = name.windows(2).any(|pair| pair == b"=?");
    if plain != MODEL.as_bytes() && !is_encoded_word {
        return Ok(false);
    }
    Err(FindError::AmbiguousModel(if name.eq_ignore_ascii_case(MODEL.as_bytes()) {
        AmbiguousModel::OtherCase
    } else {
        AmbiguousModel::OddPartName
    }))
}

/// Decodes percent escapes such as `%6d`.
fn percent_decoded(name: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&b| char::from(b).to_digit(16));
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high << 4 | low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

fn form(what: &'static str) -> FindError {
    FindError::InvalidBody(InvalidBody::Form(what))
}

fn named_unusually() -> FindError {
    form("a part is named twice or in an unusual way")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(lines: &[&str]) -> Result<Part, FindError> {
        let mut headers = PartHeaders::default();
        for line in lines {
            headers.line(line.as_bytes())?;
        }
        headers.end()
    }

    fn code(lines: &[&str]) -> &'static str {
        part(lines).map_or_else(|error| error.code(), |_| "taken")
    }

    const NAMED: &str = "Content-Disposition: form-data; name=\"model\"";

    #[test]
    fn the_part_named_model_is_found_however_its_header_is_spelled() {
        for line in [
            NAMED,
            "content-disposition:form-data;name=model",
            "CONTENT-DISPOSITION: Form-Data ; x=\"y\"; name=\"model\"",
        ] {
            assert_eq!(part(&[line]), Ok(Part::Model { ascii_only: false }), "{line}");
        }
        for name in ["file", "models", "my model", "model_name", "50% model", "ü"] {
            let line = format!("Content-Disposition: form-data; name=\"{name}\"");
            assert_eq!(part(&[&line]), Ok(Part::Other), "{line}");
        }
    }

    #[test]
    fn names_that_some_servers_take_for_model_are_ambiguous() {
        for name in [
            "Model",
            "mo\\del",
            "%6dodel",
            "mod%65l",
            " model",
            "model ",
            "model[]",
            "model[0]",
            "model%00",
            "'model'",
            "mo\u{200b}del",
        ] {
            let line = format!("Content-Disposition: form-data; name=\"{name}\"");
            assert_eq!(code(&[&line]), "ambiguous_model", "{line}");
        }
    }

    #[test]
    fn headers_that_can_be_read_in_two_ways_are_refused() {
        for line in [
            "Content-Disposition: attachment; name=\"model\"",
            "Content-Disposition: form-data",
            "Content-Disposition: form-data; NAME=\"model\"",
            "Content-Disposition: form-data; name*=utf-8''model",
            "Content-Disposition: form-data; name*0=mo; name*1=del",
            "Content-Disposition: form-data; name=\"a\"; name=\"model\"",
            "Content-Disposition: form-data; name = \"model\"",
            "Content-Disposition: form-data; filename=\"a\\\"; name=\"model\"",
            "Content-Disposition: form-data; name=\"_charset_\"",
            "Content-Disposition : form-data; name=\"model\"",
            " Content-Disposition: form-data; name=\"model\"",
            "Content-Disposition form-data",
            "Content-Disposition: form-data; name=\"mo\0del\"",
            "Content-Type: text/plain",
            "X: a\rb",
        ] {
            assert_eq!(code(&[line]), "invalid_body", "{line}");
        }
        assert_eq!(code(&[NAMED, NAMED]), "invalid_body");
        assert_eq!(code(&[]), "invalid_body");
    }

    #[test]
    fn the_model_is_a_plain_text_field() {
        for line in [
            "Content-Type: text/plain",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "Content-Transfer-Encoding: Binary",
            "Content-Length: 5",
        ] {
            assert_eq!(part(&[NAMED, line]), Ok(Part::Model { ascii_only: false }), "{line}");
        }
        let latin = "Content-Type: text/plain; charset=ISO-8859-1";
        assert_eq!(part(&[latin, NAMED]), Ok(Part::Model { ascii_only: true }));
        for line in [
            "Content-Type: application/json",
            "Content-Type: application/octet-stream",
            "Content-Type: text/plain; charset=utf-16",
            "Content-Type: text/plain; charset = utf-8",
            "Content-Transfer-Encoding: base64",
            "Content-Transfer-Encoding: quoted-printable",
        ] {
            assert_eq!(code(&[NAMED, line]), "invalid_model", "{line}");
            assert_eq!(code(&[line, NAMED]), "invalid_model", "{line}");
            assert_eq!(code(&[line, "Content-Disposition: form-data; name=x"]), "taken");
        }
        for param in ["filename=\"\"", "filename=a", "filename*=utf-8''a", "FileName=x"] {
            assert_eq!(code(&[&format!("{NAMED}; {param}")]), "invalid_model", "{param}");
        }
    }
}
