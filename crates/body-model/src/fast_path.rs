//! The fast path over nested values, skipped strings, and members of the top level that are complete in one chunk and
//! have no escapes in their keys.
//!
//! It follows the rules of [`super::json`] and stops before the first byte that it cannot handle: an error, or a token
//! that goes on in the next chunk. The byte-by-byte path then returns the error, or keeps the state.

use super::byte_class::{begins_word, is_space};
use super::json::JsonFinder;
use super::json_state::{Role, State};
use super::scan::{pass_space, pass_word, to_quote, to_special};
use super::strings::{Key, KeyKind, plain_name};

impl JsonFinder {
    /// Skips what the fast path can handle. Returns the rest of the chunk.
    #[inline]
    pub(super) fn fast_path<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        if self.state == State::Text && self.role.is_skipped() {
            rest = self.text_of(self.role, rest);
        }
        loop {
            if self.stack.depth() > 1 {
                rest = self.fast_nested(rest);
            }
            if self.stack.depth() != 1 || !matches!(self.state, State::Key | State::KeyOrEnd | State::CommaOrEnd) {
                return rest;
            }
            let before = rest.len();
            rest = self.fast_top_level(rest);
            if rest.len() == before {
                return rest;
            }
        }
    }

    /// Skips members of the top level, up to one that is unusual or opens a bracket.
    fn fast_top_level<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        loop {
            rest = match (self.state, spaces(rest)) {
                (State::CommaOrEnd, [b',', after @ ..]) => self.next(State::Key, after),
                (State::Key | State::KeyOrEnd, [b'"', after @ ..]) => match self.top_member(after) {
                    Some(after) => after,
                    None => return rest,
                },
                _ => return rest,
            };
            if self.state != State::CommaOrEnd && self.state != State::Key {
                return rest;
            }
        }
    }

    /// Skips one member of the top level after the opening quote of its key: all of it if its value is a string, a
    /// number or a word, else up to its value. Returns `None`, and changes nothing, if it needs the byte-by-byte path.
    #[inline]
    fn top_member<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (key, after) = plain_text(bytes)?;
        let [b':', after @ ..] = spaces(after) else { return None };
        let value = spaces(after);
        let kind = Key::kind_of_plain(key);
        if let (Some(prefix), Ok(KeyKind::Other)) = (&mut self.prefix, &kind) {
            prefix.top_key(key);
        }
        match kind {
            Ok(KeyKind::Other) if value.first().copied().is_some_and(begins_scalar) => Some(self.scalar(value)),
            Ok(KeyKind::Other) => Some(self.next(State::Value, value)),
            Ok(KeyKind::Model) if self.model.is_none() => {
                let [b'"', after @ ..] = value else { return None };
                let (name, after) = plain_text(after)?;
                self.model = Some(plain_name(name, self.ascii_only).ok()?);
                Some(self.next(State::CommaOrEnd, after))
            }
            _ => None,
        }
    }

    /// Skips nested values, up to the top level or something unusual.
    fn fast_nested<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.state {
                State::Text | State::Word => break,
                State::Key | State::KeyOrEnd if byte == b'"' => self.members(after),
                State::Colon if byte == b':' => self.next(State::Value, after),
                State::CommaOrEnd if byte == b',' => match self.stack.in_object() {
                    true => self.next(State::Key, after),
                    false => self.next(State::Value, after),
                },
                State::Value | State::ValueOrEnd if byte == b'{' && self.stack.open(true) => {
                    self.next(State::KeyOrEnd, after)
                }
                State::Value | State::ValueOrEnd if byte == b'[' && self.stack.open(false) => {
                    self.next(State::ValueOrEnd, after)
                }
                State::Value | State::ValueOrEnd if begins_scalar(byte) => match self.stack.in_object() {
                    true => self.scalar(rest),
                    false => self.elements(rest),
                },
                State::KeyOrEnd | State::CommaOrEnd if byte == b'}' && self.stack.close(true) => {
                    self.after_object(after)
                }
                State::ValueOrEnd | State::CommaOrEnd if byte == b']' && self.stack.close(false) => {
                    self.next(State::CommaOrEnd, after)
                }
                _ if is_space(byte) => pass_space(after),
                _ => break,
            };
            if self.stack.depth() == 1 {
                break;
            }
        }
        rest
    }

    /// Goes on after an object. Most are in an array, before another one like it.
    #[inline(always)]
    fn after_object<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match bytes {
            [b',', b'{', b'"', rest @ ..]
                if self.stack.depth() > 1 && !self.stack.in_object() && self.stack.open(true) =>
            {
                self.members(rest)
            }
            _ => self.next(State::CommaOrEnd, bytes),
        }
    }

    /// Skips members of an object after the opening quote of a key, as long as they are strings, numbers and words.
    fn members<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        loop {
            rest = self.text_of(Role::NestedKey, rest);
            if self.state != State::Colon {
                return rest;
            }
            let [b':', after @ ..] = spaces(rest) else {
                return rest;
            };
            rest = spaces(after);
            if !rest.first().copied().is_some_and(begins_scalar) {
                return self.next(State::Value, rest);
            }
            rest = self.scalar(rest);
            if self.state != State::CommaOrEnd {
                return rest;
            }
            let [b',', after @ ..] = spaces(rest) else {
                return rest;
            };
            let [b'"', after @ ..] = spaces(after) else {
                return self.next(State::Key, after);
            };
            rest = after;
        }
    }

    /// Skips elements of an array, as long as they are strings, numbers and words.
    fn elements<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        loop {
            rest = self.scalar(rest);
            if self.state != State::CommaOrEnd {
                return rest;
            }
            let [b',', after @ ..] = spaces(rest) else {
                return rest;
            };
            rest = spaces(after);
            if !rest.first().copied().is_some_and(begins_scalar) {
                return self.next(State::Value, rest);
            }
        }
    }

    /// Skips a string, a number or a word, which must be there.
    #[inline(always)]
    fn scalar<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match bytes {
            [b'"', after @ ..] => self.text_of(Role::Skipped, after),
            _ => match pass_word(bytes) {
                [] => self.next(State::Word, &[]),
                after => self.next(State::CommaOrEnd, after),
            },
        }
    }

    /// Skips the rest of a string.
    #[inline(always)]
    fn text_of<'a>(&mut self, role: Role, bytes: &'a [u8]) -> &'a [u8] {
        match to_quote(bytes) {
            [b'"', rest @ ..] => {
                if self.prefix.is_some() {
                    self.note_string(role, bytes.get(..bytes.len() - rest.len() - 1).unwrap_or_default(), true);
                }
                self.next(role.after(), rest)
            }
            rest => {
                if self.prefix.is_some() {
                    self.note_string(role, bytes.get(..bytes.len() - rest.len()).unwrap_or_default(), false);
                }
                self.role = role;
                self.next(State::Text, rest)
            }
        }
    }

    #[inline(always)]
    fn next<'a>(&mut self, state: State, rest: &'a [u8]) -> &'a [u8] {
        self.state = state;
        rest
    }
}

/// Returns the rest of a string that closes in this chunk and has no escapes, and the bytes after it.
#[inline(always)]
fn plain_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [b'"', after @ ..] = to_special(bytes) else { return None };
    let text = bytes.get(..bytes.len() - after.len() - 1)?;
    Some((text, after))
}

/// Returns true if a string, a number or a word begins with this byte.
#[inline(always)]
fn begins_scalar(byte: u8) -> bool {
    byte == b'"' || begins_word(byte)
}

/// Skips white space, if there is any.
#[inline]
fn spaces(bytes: &[u8]) -> &[u8] {
    match bytes.split_first() {
        Some((&byte, after)) if is_space(byte) => pass_space(after),
        _ => bytes,
    }
}
