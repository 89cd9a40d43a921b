//! The fast path through the parts of a body that cannot hold the model: nested values, and strings nobody needs.
//!
//! It follows the rules of [`super::json`] and stops before the first byte that it does not take: an error, or
//! something that goes on in the next chunk. The byte-by-byte path then says what is wrong, or remembers where it is.

use super::bytes::{begins_word, is_space};
use super::json::{JsonFinder, Role, State};
use super::scan::{pass_space, pass_word, to_quote};

/// What comes next, and what is left of the chunk.
type Place<'a> = (State, &'a [u8]);

impl JsonFinder {
    /// Passes over what can be passed over. Returns what is left of the chunk.
    #[inline]
    pub(super) fn skim<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        if self.state == State::Text && self.role.is_skipped() {
            (self.state, rest) = self.text_of(self.role, rest);
        }
        if self.nesting.depth() > 1 && !matches!(self.state, State::Text | State::Word) {
            (self.state, rest) = self.skim_nested(self.state, rest);
        }
        rest
    }

    /// Passes over nested values, until the top level or something unusual comes.
    fn skim_nested<'a>(&mut self, start: State, bytes: &'a [u8]) -> Place<'a> {
        let (mut state, mut rest) = (start, bytes);
        while let Some((&byte, after)) = rest.split_first() {
            (state, rest) = match state {
                _ if is_space(byte) => (state, pass_space(after)),
                State::Key | State::KeyOrEnd if byte == b'"' => self.members(after),
                State::Colon if byte == b':' => (State::Value, after),
                State::CommaOrEnd if byte == b',' => match self.nesting.in_object() {
                    true => (State::Key, after),
                    false => (State::Value, after),
                },
                State::Value | State::ValueOrEnd if byte == b'{' && self.nesting.open(true) => match spaces(after) {
                    [b'"', after @ ..] => self.members(after),
                    after => (State::KeyOrEnd, after),
                },
                State::Value | State::ValueOrEnd if byte == b'[' && self.nesting.open(false) => {
                    (State::ValueOrEnd, after)
                }
                State::Value | State::ValueOrEnd if byte == b'"' || begins_word(byte) => {
                    match self.nesting.in_object() {
                        true => self.scalar(rest),
                        false => self.elements(rest),
                    }
                }
                State::KeyOrEnd | State::CommaOrEnd if byte == b'}' && self.nesting.close(true) => {
                    (State::CommaOrEnd, after)
                }
                State::ValueOrEnd | State::CommaOrEnd if byte == b']' && self.nesting.close(false) => {
                    (State::CommaOrEnd, after)
                }
                _ => break,
            };
            if self.nesting.depth() == 1 || matches!(state, State::Text | State::Word) {
                break;
            }
        }
        (state, rest)
    }

    /// Passes over the members of an object from behind the quote that opens a key, as long as they are strings,
    /// numbers and words.
    fn members<'a>(&mut self, bytes: &'a [u8]) -> Place<'a> {
        let mut rest = bytes;
        loop {
            let (state, after) = self.text_of(Role::NestedKey, rest);
            if state != State::Colon {
                return (state, after);
            }
            let [b':', after @ ..] = spaces(after) else {
                return (State::Colon, after);
            };
            let (state, after) = self.scalar(spaces(after));
            if state != State::CommaOrEnd {
                return (state, after);
            }
            let [b',', after @ ..] = spaces(after) else {
                return (State::CommaOrEnd, after);
            };
            let [b'"', after @ ..] = spaces(after) else {
                return (State::Key, after);
            };
            rest = after;
        }
    }

    /// Passes over the elements of an array, as long as they are strings, numbers and words.
    fn elements<'a>(&mut self, bytes: &'a [u8]) -> Place<'a> {
        let mut rest = bytes;
        loop {
            let (state, after) = self.scalar(spaces(rest));
            if state != State::CommaOrEnd {
                return (state, after);
            }
            let [b',', after @ ..] = spaces(after) else {
                return (State::CommaOrEnd, after);
            };
            rest = after;
        }
    }

    /// Passes over a string, a number or a word. What is none of them stays, and so does the state.
    #[inline]
    fn scalar<'a>(&mut self, bytes: &'a [u8]) -> Place<'a> {
        match bytes.split_first() {
            Some((b'"', after)) => self.text_of(Role::Skipped, after),
            Some((&byte, after)) if begins_word(byte) => match pass_word(after) {
                [] => (State::Word, &[]),
                after => (State::CommaOrEnd, after),
            },
            _ => (State::Value, bytes),
        }
    }

    /// Passes over the rest of a string.
    #[inline]
    fn text_of<'a>(&mut self, role: Role, bytes: &'a [u8]) -> Place<'a> {
        match to_quote(bytes) {
            [b'"', rest @ ..] => (role.after(), rest),
            rest => {
                self.role = role;
                (State::Text, rest)
            }
        }
    }
}

/// Passes over white space, if there is any.
#[inline]
fn spaces(bytes: &[u8]) -> &[u8] {
    match bytes.split_first() {
        Some((&byte, after)) if is_space(byte) => pass_space(after),
        _ => bytes,
    }
}
