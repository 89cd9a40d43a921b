//! The finder for JSON: a state machine over bytes that finds the top-level `model`.
//!
//! Brackets, commas, colons and strings follow RFC 8259, so that every parser that accepts the body sees the same
//! top-level keys. Numbers and words are left to the backend.

use std::sync::Arc;

use super::byte_class::{begins_word, is_space, is_word_byte};
use super::error::{AmbiguousModel, FindError, InvalidBody, InvalidModel};
use super::json_state::{Role, State};
use super::limits::PREFIX_MAX_BYTES;
use super::prefix::{Place, PrefixHasher};
use super::stack::Stack;
use super::strings::{Key, KeyKind, Value};

/// The byte order mark of UTF-8, which is accepted at the start, as in Python's `json`.
const BOM: [u8; BOM_LEN as usize] = [0xef, 0xbb, 0xbf];

/// The length of [`BOM`].
const BOM_LEN: u8 = 3;

/// The model finder for JSON bodies.
#[derive(Debug, Clone)]
pub(super) struct JsonFinder {
    pub(super) state: State,
    pub(super) role: Role,
    pub(super) stack: Stack,
    /// The length of the chunks before the present one.
    offset: u64,
    /// The `\u` escape that is being read.
    unit: u16,
    key: Key,
    key_kind: KeyKind,
    value: Value,
    pub(super) ascii_only: bool,
    pub(super) model: Option<Arc<str>>,
    /// The hasher of the prompt's prefix, if there is one.
    pub(super) prefix: Option<Box<PrefixHasher>>,
}

impl JsonFinder {
    pub(super) fn new(ascii_only: bool) -> Self {
        Self {
            state: State::Start(0),
            role: Role::Skipped,
            stack: Stack::new(),
            offset: 0,
            unit: 0,
            key: Key::default(),
            key_kind: KeyKind::Other,
            value: Value::default(),
            ascii_only,
            model: None,
            prefix: None,
        }
    }

    pub(super) fn hash_prefix(&mut self) {
        self.prefix = Some(Box::new(PrefixHasher::new()));
    }

    pub(super) fn model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<(), FindError> {
        match &mut self.prefix {
            // The part of the body that counts must not depend on the chunks.
            Some(prefix) if !prefix.is_settled() && self.offset + chunk.len() as u64 > PREFIX_MAX_BYTES => {
                let within = usize::try_from(PREFIX_MAX_BYTES.saturating_sub(self.offset)).unwrap_or_default();
                let (head, tail) = chunk.split_at(chunk.len().min(within));
                self.feed_part(head)?;
                self.settle_prefix();
                self.feed_part(tail)
            }
            _ => self.feed_part(chunk),
        }
    }

    fn settle_prefix(&mut self) {
        if let Some(prefix) = &mut self.prefix {
            prefix.settle();
        }
    }

    fn feed_part(&mut self, chunk: &[u8]) -> Result<(), FindError> {
        let mut rest = self.fast_path(chunk);
        while let Some((&byte, after)) = rest.split_first() {
            let pos = chunk.len() - rest.len();
            match self.state {
                State::Text => self.text(byte)?,
                State::Escape => self.escape(byte, pos)?,
                State::Digits(left) => self.digit(left, byte, pos)?,
                State::End => break,
                _ => self.structure(byte, pos)?,
            }
            rest = self.fast_path(after);
        }
        self.offset += chunk.len() as u64;
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), FindError> {
        self.settle_prefix();
        match self.state {
            State::End if self.model.is_some() => Ok(()),
            State::End | State::Start(0 | BOM_LEN) | State::Object => Err(FindError::MissingModel),
            _ => Err(FindError::InvalidBody(InvalidBody::Truncated)),
        }
    }

    /// Reads one byte outside of strings.
    fn structure(&mut self, byte: u8, pos: usize) -> Result<(), FindError> {
        match self.state {
            State::Start(seen) => return self.start(seen, byte, pos),
            State::Word if is_word_byte(byte) => return Ok(()),
            State::Word => self.state = State::CommaOrEnd,
            _ => {}
        }
        match (self.state, byte) {
            _ if is_space(byte) => {}
            (State::Object, b'{') => self.open(true, State::KeyOrEnd)?,
            (State::Key | State::KeyOrEnd, b'"') => self.open_key(),
            (State::Colon, b':') => self.state = self.after_colon(),
            (State::Model, b'"') => self.open_text(Role::Model),
            (State::Value | State::ValueOrEnd, b'"') => self.open_text(Role::Skipped),
            (State::Value | State::ValueOrEnd, b'{') => self.open(true, State::KeyOrEnd)?,
            (State::Value | State::ValueOrEnd, b'[') => self.open(false, State::ValueOrEnd)?,
            (State::Value | State::ValueOrEnd, _) if begins_word(byte) => self.state = State::Word,
            (State::CommaOrEnd, b',') if self.stack.in_object() => self.state = State::Key,
            (State::CommaOrEnd, b',') => self.state = State::Value,
            (State::CommaOrEnd | State::KeyOrEnd, b'}') if self.stack.close(true) => {
                self.closed();
            }
            (State::CommaOrEnd | State::ValueOrEnd, b']') if self.stack.close(false) => {
                self.closed();
            }
            _ => return Err(self.unexpected(byte, pos)),
        }
        Ok(())
    }

    /// Reads one byte after this many of the byte order mark.
    fn start(&mut self, seen: u8, byte: u8, pos: usize) -> Result<(), FindError> {
        match (seen, BOM.get(usize::from(seen)) == Some(&byte)) {
            (_, true) => {
                self.state = State::Start(seen + 1);
                Ok(())
            }
            (0 | BOM_LEN, false) => {
                self.state = State::Object;
                self.structure(byte, pos)
            }
            _ => Err(FindError::InvalidBody(InvalidBody::NotAnObject)),
        }
    }

    fn open(&mut self, object: bool, next: State) -> Result<(), FindError> {
        if !self.stack.open(object) {
            return Err(FindError::InvalidBody(InvalidBody::TooDeep));
        }
        self.state = next;
        Ok(())
    }

    fn closed(&mut self) {
        self.state = match self.stack.depth() {
            0 => State::End,
            _ => State::CommaOrEnd,
        };
    }

    fn open_text(&mut self, role: Role) {
        self.role = role;
        self.state = State::Text;
    }

    fn open_key(&mut self) {
        if self.stack.depth() == 1 {
            self.key = Key::default();
            self.open_text(Role::TopKey);
        } else {
            self.open_text(Role::NestedKey);
        }
    }

    fn after_colon(&mut self) -> State {
        match std::mem::replace(&mut self.key_kind, KeyKind::Other) {
            KeyKind::Model => State::Model,
            KeyKind::Other => State::Value,
        }
    }

    /// Reads one byte of a string.
    fn text(&mut self, byte: u8) -> Result<(), FindError> {
        self.note_byte(byte);
        match byte {
            b'"' => self.close_text(),
            b'\\' => {
                self.state = State::Escape;
                Ok(())
            }
            _ => self.keep(byte),
        }
    }

    /// Passes a raw byte of a string to the hasher.
    fn note_byte(&mut self, byte: u8) {
        if self.prefix.is_none() {
            return;
        }
        let ends = self.state == State::Text && byte == b'"';
        let chunk = [byte];
        let chunk = if ends { &[][..] } else { &chunk };
        self.note_string(self.role, chunk, ends);
    }

    /// Passes a raw chunk of a string to the hasher.
    #[inline(always)]
    pub(super) fn note_string(&mut self, role: Role, chunk: &[u8], ends: bool) {
        let Some(prefix) = &mut self.prefix else { return };
        let (depth, element) = (self.stack.depth(), self.stack.elements());
        match role {
            Role::TopKey => prefix.top_key_chunk(chunk, ends),
            Role::Model => {}
            Role::NestedKey | Role::Skipped => prefix.string(chunk, Place { role, depth, element, ends }),
        }
    }

    /// Keeps a byte of a key or a model.
    fn keep(&mut self, byte: u8) -> Result<(), FindError> {
        match self.role {
            Role::TopKey => self.key.push(byte.into()),
            Role::Model => self.value.push_bytes(&[byte]).map_err(FindError::InvalidModel)?,
            Role::NestedKey | Role::Skipped => {}
        }
        Ok(())
    }

    fn close_text(&mut self) -> Result<(), FindError> {
        self.state = self.role.after();
        match self.role {
            Role::TopKey => self.close_top_key(),
            Role::Model => {
                let name = self.value.name(self.ascii_only);
                self.model = Some(name.map_err(FindError::InvalidModel)?);
                Ok(())
            }
            Role::NestedKey | Role::Skipped => Ok(()),
        }
    }

    fn close_top_key(&mut self) -> Result<(), FindError> {
        self.key_kind = self.key.kind()?;
        if self.key_kind == KeyKind::Model && self.model.is_some() {
            return Err(FindError::AmbiguousModel(AmbiguousModel::Repeated));
        }
        Ok(())
    }

    /// Reads the character after a backslash.
    fn escape(&mut self, byte: u8, pos: usize) -> Result<(), FindError> {
        self.note_byte(byte);
        let unit = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.unit = 0;
                self.state = State::Digits(4);
                return Ok(());
            }
            _ => return Err(self.malformed(pos, "a character that may follow a backslash")),
        };
        self.state = State::Text;
        self.keep(unit)
    }

    /// Reads one of the four digits of a `\u` escape.
    fn digit(&mut self, left: u8, byte: u8, pos: usize) -> Result<(), FindError> {
        self.note_byte(byte);
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Err(self.malformed(pos, "a hexadecimal digit"));
        };
        self.unit = self.unit << 4 | digit as u16;
        self.state = State::Digits(left - 1);
        if left == 1 {
            self.state = State::Text;
            match self.role {
                Role::TopKey => self.key.push(self.unit),
                Role::Model => self.value.push_unit(self.unit).map_err(FindError::InvalidModel)?,
                Role::NestedKey | Role::Skipped => {}
            }
        }
        Ok(())
    }

    /// Returns the error for an invalid byte outside of strings.
    #[cold]
    fn unexpected(&self, byte: u8, pos: usize) -> FindError {
        let expected = match self.state {
            State::Object if matches!(byte, 0 | 0xfe | 0xff) => {
                return FindError::InvalidBody(InvalidBody::WideEncoding);
            }
            State::Object => return FindError::InvalidBody(InvalidBody::NotAnObject),
            State::Model => match found(byte) {
                Some(found) => return FindError::InvalidModel(InvalidModel::NotAString(found)),
                None => "a string",
            },
            _ if byte == 0 => return FindError::InvalidBody(InvalidBody::WideEncoding),
            State::Key => "a key in double quotes",
            State::KeyOrEnd => "a key in double quotes or `}`",
            State::Colon => "`:`",
            State::Value => "a value",
            State::ValueOrEnd => "a value or `]`",
            _ if self.stack.in_object() => "`,` or `}`",
            _ => "`,` or `]`",
        };
        self.malformed(pos, expected)
    }

    #[cold]
    fn malformed(&self, pos: usize, expected: &'static str) -> FindError {
        FindError::InvalidBody(InvalidBody::Malformed { offset: self.offset + pos as u64, expected })
    }
}

/// Returns the kind of the value that begins with this byte.
fn found(byte: u8) -> Option<&'static str> {
    match byte {
        b'n' => Some("null"),
        b't' | b'f' => Some("a boolean"),
        b'-' | b'0'..=b'9' | b'N' | b'I' => Some("a number"),
        b'{' => Some("an object"),
        b'[' => Some("an array"),
        _ => None,
    }
}
