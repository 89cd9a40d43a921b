//! The states of the JSON finder.

/// The next expected token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The start of the body, after this many bytes of a byte order mark.
    Start(u8),
    /// The `{` of the top-level object.
    Object,
    KeyOrEnd,
    Key,
    Colon,
    Value,
    ValueOrEnd,
    /// The value of the top-level `model`.
    Model,
    CommaOrEnd,
    /// The rest of a number or a word.
    Word,
    /// The rest of a string, whose kind is in [`Role`].
    Text,
    /// The character after a backslash.
    Escape,
    /// This many more digits of a `\u` escape.
    Digits(u8),
    /// The object is closed, and the rest does not matter.
    End,
}

/// The kind of the string that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A key of a nested object.
    NestedKey,
    /// A value that is skipped.
    Skipped,
    TopKey,
    Model,
}

impl Role {
    /// Returns the state after the closing quote.
    pub(super) fn after(self) -> State {
        match self {
            Self::NestedKey | Self::TopKey => State::Colon,
            Self::Skipped | Self::Model => State::CommaOrEnd,
        }
    }

    /// Returns true if the content of the string is skipped.
    pub(super) fn is_skipped(self) -> bool {
        matches!(self, Self::NestedKey | Self::Skipped)
    }
}
