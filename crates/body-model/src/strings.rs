//! The strings whose content matters: top-level keys, and the value of `model`.

use std::sync::Arc;

use super::error::{AmbiguousModel, FindError, InvalidModel};
use super::limits::MODEL_MAX_BYTES;

/// The key, or the name of the form part, of the model.
pub(super) const MODEL: &str = "model";

/// The kind of a top-level key or of a form part's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Model,
    Other,
}

/// One byte more than [`MODEL`]: enough to know that a key is longer.
const KEY_KEPT: usize = MODEL.len() + 1;

/// A key that is compared with `model` as it is read; it keeps no more than [`KEY_KEPT`] bytes.
///
/// Characters that are not printable ASCII are left out of the comparison and noted: a parser that drops them sees
/// another key than one that keeps them. A NUL ends the key, as it does for parsers with C strings.
#[derive(Debug, Clone, Default)]
pub(super) struct Key {
    kept: [u8; KEY_KEPT],
    len: usize,
    odd: bool,
    ended: bool,
}

impl Key {
    /// Adds an unescaped UTF-16 unit or byte of UTF-8.
    pub(super) fn push(&mut self, unit: u16) {
        match u8::try_from(unit) {
            _ if self.ended => {}
            Ok(0) => {
                self.odd = true;
                self.ended = true;
            }
            Ok(byte @ b' '..=b'~') => {
                if let Some(place) = self.kept.get_mut(self.len) {
                    *place = byte;
                    self.len += 1;
                }
            }
            _ => self.odd = true,
        }
    }

    /// Returns the kind of a complete key without escapes.
    pub(super) fn kind_of_plain(text: &[u8]) -> Result<KeyKind, FindError> {
        if is_clearly_other(text) {
            return Ok(KeyKind::Other);
        }
        let mut key = Self::default();
        text.iter().for_each(|&byte| key.push(byte.into()));
        key.kind()
    }

    /// Returns the kind of the key, once it is complete.
    pub(super) fn kind(&self) -> Result<KeyKind, FindError> {
        let kept = self.kept.get(..self.len).unwrap_or_default();
        if !kept.eq_ignore_ascii_case(MODEL.as_bytes()) {
            Ok(KeyKind::Other)
        } else if self.odd {
            Err(FindError::InvalidModel(InvalidModel::OddKey))
        } else if kept == MODEL.as_bytes() {
            Ok(KeyKind::Model)
        } else {
            Err(FindError::AmbiguousModel(AmbiguousModel::OtherCase))
        }
    }
}

/// Returns true if a key differs from `model` in a printable character, before any that is left out of the comparison.
fn is_clearly_other(key: &[u8]) -> bool {
    let differs = |(byte, letter): (&u8, u8)| !byte.eq_ignore_ascii_case(&letter);
    let first = key.iter().zip(MODEL.bytes()).find(|pair| differs(*pair));
    first.is_some_and(|(byte, _)| matches!(byte, b' '..=b'~'))
}

/// The value of `model` as it is read, of at most [`MODEL_MAX_BYTES`].
#[derive(Debug, Clone, Default)]
pub(super) struct Value {
    bytes: Vec<u8>,
    /// The first half of a surrogate pair that waits for the second.
    high: Option<u16>,
}

impl Value {
    /// Adds bytes of UTF-8.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), InvalidModel> {
        self.no_half()?;
        self.extend(bytes)
    }

    /// Adds a UTF-16 unit that was written as `\uXXXX`.
    pub(super) fn push_unit(&mut self, unit: u16) -> Result<(), InvalidModel> {
        let units = match (self.high.take(), unit) {
            (None, 0xd800..=0xdbff) => {
                self.high = Some(unit);
                return Ok(());
            }
            (None, _) => [unit, 0],
            (Some(high), _) => [high, unit],
        };
        let c = match char::decode_utf16(units).next() {
            Some(Ok(c)) if (units[1] != 0) == (c.len_utf16() == 2) => c,
            _ => return Err(InvalidModel::LoneSurrogate),
        };
        self.extend(c.encode_utf8(&mut [0; 4]).as_bytes())
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), InvalidModel> {
        if self.bytes.len() + bytes.len() > MODEL_MAX_BYTES {
            return Err(InvalidModel::TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the complete value. With `ascii_only`, other bytes are ambiguous in the charset of the body.
    pub(super) fn name(&self, ascii_only: bool) -> Result<Arc<str>, InvalidModel> {
        self.no_half()?;
        plain_name(&self.bytes, ascii_only)
    }

    fn no_half(&self) -> Result<(), InvalidModel> {
        match self.high {
            None => Ok(()),
            Some(_) => Err(InvalidModel::LoneSurrogate),
        }
    }
}

/// Returns a complete value without escapes. With `ascii_only`, other bytes are ambiguous in the charset of the body.
pub(super) fn plain_name(text: &[u8], ascii_only: bool) -> Result<Arc<str>, InvalidModel> {
    if ascii_only && !text.is_ascii() {
        return Err(InvalidModel::NotAscii);
    }
    let text = str::from_utf8(text).map_err(|_| InvalidModel::NotUtf8)?;
    match text.len() {
        0 => Err(InvalidModel::Empty),
        1..=MODEL_MAX_BYTES => Ok(Arc::from(text)),
        _ => Err(InvalidModel::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(units: &[u16]) -> Result<KeyKind, FindError> {
        let mut key = Key::default();
        units.iter().for_each(|&unit| key.push(unit));
        key.kind()
    }

    fn ascii(text: &str) -> Result<KeyKind, FindError> {
        let kind = key(&text.bytes().map(u16::from).collect::<Vec<_>>());
        assert_eq!(Key::kind_of_plain(text.as_bytes()), kind, "{text:?}");
        kind
    }

    #[test]
    fn keys_are_model_or_not_or_too_close_to_it() {
        assert_eq!(ascii("model"), Ok(KeyKind::Model));
        for other in ["", "mode", "models", "model ", " model", "xmodel", "модель"] {
            assert_eq!(ascii(other), Ok(KeyKind::Other), "{other}");
        }
        let case = Err(FindError::AmbiguousModel(AmbiguousModel::OtherCase));
        assert_eq!(ascii("Model"), case);
        assert_eq!(ascii("MODEL"), case);
        let odd = Err(FindError::InvalidModel(InvalidModel::OddKey));
        assert_eq!(ascii("model\0tail"), odd);
        assert_eq!(ascii("mo\u{200b}del"), odd);
        assert_eq!(ascii("\u{200b}MODEL"), odd);
        assert_eq!(ascii("mo\0dem"), Ok(KeyKind::Other));
        assert_eq!(ascii("mo\u{200b}tel"), Ok(KeyKind::Other));
        assert_eq!(key(&[0xd800, 109, 111, 100, 101, 108]), odd);
    }

    #[test]
    fn surrogate_pairs_make_one_character_and_halves_are_refused() {
        let name = |units: &[u16]| {
            let mut value = Value::default();
            units.iter().try_for_each(|&unit| value.push_unit(unit))?;
            value.name(false).map(|name| name.to_string())
        };
        assert_eq!(name(&[0xd83d, 0xde00]), Ok("😀".to_owned()));
        assert_eq!(name(&[0x61, 0xe9]), Ok("aé".to_owned()));
        for half in
            [&[0xd83d][..], &[0xde00], &[0xde00, 0xd83d], &[0xd83d, 0x61], &[0xd83d, 0], &[0xd83d, 0xd83d, 0xde00]]
        {
            assert_eq!(name(half), Err(InvalidModel::LoneSurrogate), "{half:x?}");
        }
    }
}
