//! The finder for `multipart/form-data` (RFC 2046, section 5.1; RFC 7578).
//!
//! Servers differ on malformed forms: line ends without CR, spaces after a boundary, text after the last one. Such
//! forms are errors.

use std::sync::Arc;

use super::error::{AmbiguousModel, FindError, InvalidBody};
use super::limits::{BOUNDARY_MAX_BYTES, PART_HEADERS_MAX_BYTES};
use super::part_headers::{Part, PartHeaders};
use super::scan::find_either;
use super::strings::Value;

/// The most bytes before the first boundary.
const PREAMBLE_MAX_BYTES: usize = 8 * 1024;

/// The next expected element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The text before the first boundary.
    Preamble,
    /// The content of a part.
    Content,
    /// The two bytes after a boundary: CRLF, or `--` at the last one.
    AfterBoundary,
    /// The LF of the boundary's line.
    BoundaryLf,
    /// The second dash of the last boundary.
    LastDash,
    /// A header line of a part.
    HeaderLine,
    /// The LF of a header line.
    HeaderLf,
    /// White space: the form is closed.
    End,
}

/// The bytes that may precede a boundary: it must be at the start of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineStart {
    /// The middle of a line.
    No,
    /// After the headers of a part.
    Headers,
    Cr,
    Lf,
    CrLf,
}

impl LineStart {
    /// Returns the bytes, which are content if no boundary follows.
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::No | Self::Headers => b"",
            Self::Cr => b"\r",
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

/// The model finder for forms.
#[derive(Debug, Clone)]
pub(super) struct MultipartFinder {
    state: State,
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    line_start: LineStart,
    /// The number of bytes of the delimiter after `line_start`.
    matched: usize,
    headers: PartHeaders,
    header_bytes: usize,
    /// The preamble, or the header line that is being read.
    line: Vec<u8>,
    part: Part,
    ascii_only: bool,
    seen_any: bool,
    value: Value,
    model: Option<Arc<str>>,
}

impl MultipartFinder {
    pub(super) fn new(boundary: &[u8], ascii_only: bool) -> Result<Self, FindError> {
        let allowed = |b: &u8| matches!(b, b' '..=b'~') && !b"\"\\;".contains(b);
        let sane = (1..=BOUNDARY_MAX_BYTES).contains(&boundary.len());
        if !sane || !boundary.iter().all(allowed) || boundary.ends_with(b" ") {
            return Err(FindError::InvalidBody(InvalidBody::Boundary));
        }
        Ok(Self {
            state: State::Preamble,
            delimiter: [b"--", boundary].concat(),
            line_start: LineStart::No,
            matched: 0,
            headers: PartHeaders::default(),
            header_bytes: 0,
            line: Vec::new(),
            part: Part::Other,
            ascii_only,
            seen_any: false,
            value: Value::default(),
            model: None,
        })
    }

    pub(super) fn model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<(), FindError> {
        self.seen_any |= !chunk.is_empty();
        let mut rest = chunk;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.state {
                State::Content if self.line_start == LineStart::No => self.content(rest)?,
                State::Content => match self.line_begins(byte)? {
                    true => after,
                    false => rest,
                },
                _ => {
                    self.step(byte)?;
                    after
                }
            };
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), FindError> {
        match self.state {
            State::End if self.model.is_some() => Ok(()),
            State::End => Err(FindError::MissingModel),
            _ if !self.seen_any => Err(FindError::MissingModel),
            _ => Err(FindError::InvalidBody(InvalidBody::Truncated)),
        }
    }

    /// Reads content up to a line end, or to the end of the chunk. Returns the rest.
    #[inline]
    fn content<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], FindError> {
        let rest = find_either::<b'\r', b'\n'>(bytes);
        let chunk = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
        self.keep(chunk)?;
        let Some((&byte, after)) = rest.split_first() else {
            return Ok(rest);
        };
        self.begin_line(if byte == b'\r' { LineStart::Cr } else { LineStart::Lf });
        Ok(after)
    }

    fn begin_line(&mut self, start: LineStart) {
        self.line_start = start;
        self.matched = 0;
    }

    /// Reads a byte at the start of a line, where a delimiter may be. Returns false if the byte is not part of one.
    fn line_begins(&mut self, byte: u8) -> Result<bool, FindError> {
        if self.line_start == LineStart::Cr && self.matched == 0 && byte == b'\n' {
            self.line_start = LineStart::CrLf;
            return Ok(true);
        }
        if self.delimiter.get(self.matched) != Some(&byte) {
            self.no_delimiter()?;
            return Ok(false);
        }
        self.matched += 1;
        if self.matched == self.delimiter.len() {
            if self.line_start != LineStart::CrLf {
                return Err(form("a boundary does not follow CR LF"));
            }
            self.state = State::AfterBoundary;
        }
        Ok(true)
    }

    /// Keeps a partial delimiter as content.
    fn no_delimiter(&mut self) -> Result<(), FindError> {
        let start = std::mem::replace(&mut self.line_start, LineStart::No);
        self.keep(start.bytes())?;
        if let Part::Model { .. } = self.part {
            let seen = self.delimiter.get(..self.matched).unwrap_or_default();
            self.value.push_bytes(seen).map_err(FindError::InvalidModel)?;
        }
        Ok(())
    }

    /// Keeps content of the `model` part.
    fn keep(&mut self, chunk: &[u8]) -> Result<(), FindError> {
        match self.part {
            Part::Model { .. } => self.value.push_bytes(chunk).map_err(FindError::InvalidModel),
            Part::Other => Ok(()),
        }
    }

    /// Reads one byte between a boundary and the content of its part, or after the last boundary.
    fn step(&mut self, byte: u8) -> Result<(), FindError> {
        self.state = match (self.state, byte) {
            (State::Preamble, _) => self.preamble(byte)?,
            (State::AfterBoundary, b'\r') => State::BoundaryLf,
            (State::AfterBoundary, b'-') => State::LastDash,
            (State::BoundaryLf, b'\n') => {
                self.close_part()?;
                State::HeaderLine
            }
            (State::LastDash, b'-') => {
                self.close_part()?;
                State::End
            }
            (State::AfterBoundary | State::BoundaryLf | State::LastDash, _) => {
                return Err(form("a boundary is followed by something else on its line"));
            }
            (State::HeaderLine, b'\r') => State::HeaderLf,
            (State::HeaderLine, b'\n') => return Err(form("a line of headers ends without CR")),
            (State::HeaderLine, _) => {
                self.count_header_byte()?;
                self.line.push(byte);
                State::HeaderLine
            }
            (State::HeaderLf, b'\n') => self.header_line()?,
            (State::HeaderLf, _) => return Err(form("there is a CR without LF in the headers of a part")),
            (State::End, b' ' | b'\t' | b'\r' | b'\n') => State::End,
            (State::End, _) => return Err(form("something follows the last boundary")),
            (State::Content, _) => State::Content,
        };
        Ok(())
    }

    /// Reads one byte before the end of the first boundary. Some servers accept it anywhere, others only at the start
    /// of a line.
    fn preamble(&mut self, byte: u8) -> Result<State, FindError> {
        self.line.push(byte);
        match self.line.strip_suffix(&*self.delimiter) {
            Some(before) if before.is_empty() || before.ends_with(b"\r\n") => {
                self.line.clear();
                Ok(State::AfterBoundary)
            }
            Some(_) => Err(form("the first boundary is not at the start of a line")),
            None if self.line.len() > PREAMBLE_MAX_BYTES => {
                Err(form("there is too much text before the first boundary"))
            }
            None => Ok(State::Preamble),
        }
    }

    fn count_header_byte(&mut self) -> Result<(), FindError> {
        self.header_bytes += 1;
        if self.header_bytes > PART_HEADERS_MAX_BYTES {
            return Err(FindError::InvalidBody(InvalidBody::PartHeadersTooLong));
        }
        Ok(())
    }

    /// Reads a complete header line; an empty one ends the headers.
    fn header_line(&mut self) -> Result<State, FindError> {
        self.count_header_byte()?;
        if !self.line.is_empty() {
            // Servers that split at boundaries before they split lines would end the part here.
            if self.line.starts_with(&self.delimiter) {
                return Err(form("there is a boundary in the headers of a part"));
            }
            self.headers.line(&self.line)?;
            self.line.clear();
            return Ok(State::HeaderLine);
        }
        self.part = std::mem::take(&mut self.headers).end()?;
        self.header_bytes = 0;
        if matches!(self.part, Part::Model { .. }) && self.model.is_some() {
            return Err(FindError::AmbiguousModel(AmbiguousModel::Repeated));
        }
        self.begin_line(LineStart::Headers);
        Ok(State::Content)
    }

    /// Completes the part before a boundary.
    fn close_part(&mut self) -> Result<(), FindError> {
        if let Part::Model { ascii_only } = self.part {
            let name = self.value.name(ascii_only || self.ascii_only);
            self.model = Some(name.map_err(FindError::InvalidModel)?);
            self.part = Part::Other;
        }
        Ok(())
    }
}

fn form(what: &'static str) -> FindError {
    FindError::InvalidBody(InvalidBody::Form(what))
}
