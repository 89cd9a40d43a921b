//! Names of models.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest name of a model, in bytes of UTF-8.
pub const MODEL_NAME_MAX_BYTES: usize = 256;

/// A valid name of a model: not empty, short, and safe to show in logs and headers.
///
/// Two names are the same only if their bytes are; case counts. Clones share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

impl ModelName {
    /// Parses a name. Nothing is trimmed or changed.
    ///
    /// # Errors
    /// Returns the fault of the name, without repeating it.
    pub fn parse(name: &str) -> Result<Self, InvalidModelName> {
        Self::check(name)?;
        Ok(Self(Arc::from(name)))
    }

    /// Parses a name without copying it.
    ///
    /// # Errors
    /// Returns the fault of the name, without repeating it.
    pub fn from_shared(name: Arc<str>) -> Result<Self, InvalidModelName> {
        Self::check(&name)?;
        Ok(Self(name))
    }

    fn check(name: &str) -> Result<(), InvalidModelName> {
        if name.is_empty() {
            return Err(InvalidModelName::Empty);
        }
        if name.len() > MODEL_NAME_MAX_BYTES {
            return Err(InvalidModelName::TooLong);
        }
        // Nearly every name is printable ASCII.
        if name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(());
        }
        if let Some(fault) = name.chars().find_map(fault_of) {
            return Err(fault);
        }
        if name.chars().all(char::is_whitespace) {
            return Err(InvalidModelName::OnlyWhitespace);
        }
        Ok(())
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a character may not stand in a name: it would forge or reorder a line of log.
fn fault_of(c: char) -> Option<InvalidModelName> {
    match c {
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Some(InvalidModelName::ControlCharacter),
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some(InvalidModelName::BidirectionalControl)
        }
        '\u{2028}' | '\u{2029}' => Some(InvalidModelName::LineSeparator),
        _ => None,
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Shares the name, without copying it.
impl From<&ModelName> for Arc<str> {
    fn from(name: &ModelName) -> Self {
        Self::clone(&name.0)
    }
}

impl Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ModelName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The most of an invalid id that is shown, in characters.
const SHOWN_ID_CHARS: usize = 64;

/// Returns an invalid id, made safe to show, with its fault.
pub fn unusable(id: &str, why: InvalidModelName) -> String {
    let mut shown: String = id.chars().take(SHOWN_ID_CHARS).flat_map(shown_char).collect();
    if id.chars().nth(SHOWN_ID_CHARS).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\": {why}")
}

fn shown_char(c: char) -> impl Iterator<Item = char> {
    let safe = fault_of(c).is_none() && c != '"' && c != '\\';
    let (plain, escaped) = if safe { (Some(c), None) } else { (None, Some(c.escape_default())) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

/// The fault of an invalid name. The text never repeats the name, as it may not be safe to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidModelName {
    /// It is empty.
    Empty,
    /// It is longer than [`MODEL_NAME_MAX_BYTES`].
    TooLong,
    /// It is white space and nothing else.
    OnlyWhitespace,
    /// It has a C0 or C1 control character, or DEL.
    ControlCharacter,
    /// It has a character that changes the direction of the text around it (Unicode UAX #9).
    BidirectionalControl,
    /// It has U+2028 or U+2029, which some readers take for a line end.
    LineSeparator,
}

impl fmt::Display for InvalidModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => write!(f, "it is longer than {MODEL_NAME_MAX_BYTES} bytes"),
            Self::OnlyWhitespace => f.write_str("it is only white space"),
            Self::ControlCharacter => f.write_str("it contains a control character"),
            Self::BidirectionalControl => f.write_str("it contains a character that changes the direction of the text"),
            Self::LineSeparator => f.write_str("it contains a Unicode line or paragraph separator"),
        }
    }
}

impl std::error::Error for InvalidModelName {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_that_servers_use_are_taken_as_they_are() {
        for name in ["gpt-4o", "Qwen/Qwen2.5-7B-Instruct", "llama3:8b", " padded ", "模型", "é", "😀", "a b"] {
            let parsed = ModelName::parse(name).unwrap();
            assert_eq!(parsed.as_str(), name);
            assert_eq!(parsed.to_string(), name);
        }
    }

    #[test]
    fn names_that_are_refused_and_why() {
        use InvalidModelName::*;
        let long = "x".repeat(MODEL_NAME_MAX_BYTES + 1);
        let table: &[(&str, InvalidModelName)] = &[
            ("", Empty),
            (&long, TooLong),
            (" \u{3000}\u{a0}", OnlyWhitespace),
            ("\t", ControlCharacter),
            ("a\0", ControlCharacter),
            ("a\r\nb", ControlCharacter),
            ("\u{1b}[31m", ControlCharacter),
            ("\u{7f}", ControlCharacter),
            ("\u{85}", ControlCharacter),
            ("\u{9f}", ControlCharacter),
            ("a\u{202e}b", BidirectionalControl),
            ("\u{202a}", BidirectionalControl),
            ("\u{2066}", BidirectionalControl),
            ("\u{2069}", BidirectionalControl),
            ("\u{200e}", BidirectionalControl),
            ("\u{200f}", BidirectionalControl),
            ("\u{61c}", BidirectionalControl),
            ("\u{2028}", LineSeparator),
            ("a\u{2029}", LineSeparator),
        ];
        for (name, fault) in table {
            assert_eq!(ModelName::parse(name), Err(*fault), "{name:?}");
        }
    }

    #[test]
    fn the_longest_name_is_counted_in_bytes() {
        assert!(ModelName::parse(&"x".repeat(MODEL_NAME_MAX_BYTES)).is_ok());
        assert!(ModelName::parse(&"é".repeat(MODEL_NAME_MAX_BYTES / 2)).is_ok());
        assert_eq!(ModelName::parse(&"é".repeat(MODEL_NAME_MAX_BYTES / 2 + 1)), Err(InvalidModelName::TooLong));
    }

    #[test]
    fn a_map_is_searched_with_plain_text() {
        let mut map = std::collections::HashMap::new();
        map.insert(ModelName::parse("m").unwrap(), 1);
        assert_eq!(map.get("m"), Some(&1));
        assert_eq!(map.get("M"), None);
    }

    #[test]
    fn the_refusal_never_repeats_the_name() {
        let text = ModelName::parse("evil\u{1b}name").unwrap_err().to_string();
        assert!(!text.contains("evil") && !text.contains('\u{1b}'));
    }
}
