//! The fast path through the parts of a body that cannot hold the model: nested values, and strings nobody needs.
//!
//! It follows the rules of [`super::json`] and stops before the first byte that it does not take: an error, or
//! something that goes on in the next chunk. The byte-by-byte path then says what is wrong, or remembers where it is.

use super::json::{JsonFinder, Role, State};
use super::scan::find_either;

impl JsonFinder {
    /// Passes over what can be passed over. Returns what is left of the chunk.
    #[inline]
    pub(super) fn skim<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        if self.state == State::Text && self.role.is_skipped() {
            let (after, closed) = pass_text(rest);
            if !closed {
                return after;
            }
            rest = after;
            self.state = self.role.after();
        }
        if self.nesting.depth() > 1 {
            rest = self.skim_nested(rest);
        }
        rest
    }

    /// Passes over nested values, until the top level or something unusual comes.
    fn skim_nested<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while let Some((&byte, mut after)) = rest.split_first() {
            self.state = match (self.state, byte) {
                (State::Key | State::KeyOrEnd, b'"') => {
                    let closed;
                    (after, closed) = pass_text(after);
                    if !closed {
                        self.role = Role::NestedKey;
                        self.state = State::Text;
                        return after;
                    }
                    State::Colon
                }
                (State::Value | State::ValueOrEnd, b'"') => {
                    let closed;
                    (after, closed) = pass_text(after);
                    if !closed {
                        self.role = Role::Skipped;
                        self.state = State::Text;
                        return after;
                    }
                    State::CommaOrEnd
                }
                (State::Colon, b':') => State::Value,
                (State::CommaOrEnd, b',') if self.nesting.in_object() => State::Key,
                (State::CommaOrEnd, b',') => State::Value,
                (State::Value | State::ValueOrEnd, b'{') if self.nesting.open(true) => {
                    State::KeyOrEnd
                }
                (State::Value | State::ValueOrEnd, b'[') if self.nesting.open(false) => {
                    State::ValueOrEnd
                }
                (State::CommaOrEnd | State::KeyOrEnd, b'}') if self.nesting.close(true) => {
                    State::CommaOrEnd
                }
                (State::CommaOrEnd | State::ValueOrEnd, b']') if self.nesting.close(false) => {
                    State::CommaOrEnd
                }
                (
                    State::Key
                    | State::KeyOrEnd
                    | State::Value
                    | State::ValueOrEnd
                    | State::Colon
                    | State::CommaOrEnd,
                    b' ' | b'\t' | b'\n' | b'\r',
                ) => {
                    after = pass_space(after);
                    self.state
                }
                (State::Value | State::ValueOrEnd, _) if begins_word(byte) => {
                    after = pass_word(after);
                    if after.is_empty() {
                        State::Word
                    } else {
                        State::CommaOrEnd
                    }
                }
                _ => return rest,
            };
            rest = after;
            if self.nesting.depth() == 1 {
                break;
            }
        }
        rest
    }
}

/// Passes over the rest of a string. True: it is closed, and what is left comes after its quote. False: what is left
/// is empty, or begins with a backslash whose escape is wrong or not complete in this chunk.
#[inline]
fn pass_text(bytes: &[u8]) -> (&[u8], bool) {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return (rest, false),
            [b'"', after @ ..] => return (after, true),
            [b'\\', b'u', a, b, c, d, after @ ..]
                if is_hex(*a) & is_hex(*b) & is_hex(*c) & is_hex(*d) =>
            {
                after
            }
            [
                b'\\',
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                after @ ..,
            ] => after,
            [b'\\', ..] => return (rest, false),
            _ => find_either::<b'"', b'\\'>(rest),
        };
    }
}

/// Passes over spaces, as indented JSON has them.
#[inline]
fn pass_space(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        if *word != [b' '; 8] {
            break;
        }
        rest = after;
    }
    while let [b' ', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// Passes over the rest of a number or a word.
#[inline]
fn pass_word(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if !is_word_byte(byte) {
            break;
        }
        rest = after;
    }
    rest
}

/// Whether a number or a word may begin with this byte; words are `true`, `false`, `null`, `NaN` and `Infinity`.
#[inline]
pub(super) fn begins_word(byte: u8) -> bool {
    matches!(byte, b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I')
}

/// Whether the byte may stand in a number or a word. What it makes is not checked: it cannot hide a key.
#[inline]
pub(super) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

#[inline]
fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}
