//! Errors, as sentences for API clients.

use std::fmt;

use super::limits::{MAX_DEPTH, MODEL_MAX_BYTES, PART_HEADERS_MAX_BYTES};

/// The reason why a body has no usable model. The text is a sentence for the client, and repeats nothing of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindError {
    /// The body is complete and has no model.
    MissingModel,
    /// The model is not a valid, non-empty string.
    InvalidModel(InvalidModel),
    /// Parsers may find different models in the body.
    AmbiguousModel(AmbiguousModel),
    /// The body is not a JSON object or a form, or is truncated.
    InvalidBody(InvalidBody),
}

impl FindError {
    /// Returns the machine-readable code of the error response.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingModel => "missing_model",
            Self::InvalidModel(_) => "invalid_model",
            Self::AmbiguousModel(_) => "ambiguous_model",
            Self::InvalidBody(_) => "invalid_body",
        }
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingModel => f.write_str(
                "The request names no model: set `model`, at the top level of the JSON body, as a field of the form, or \
                 in the query (`?model=`) of a request without a body, to one of the ids that GET /v1/models lists.",
            ),
            Self::InvalidModel(reason) => write!(
                f,
                "The `model` of the request cannot be used: {reason}. Set it to one of the ids that GET /v1/models \
                 lists."
            ),
            Self::AmbiguousModel(reason) => {
                write!(f, "The request does not say clearly which model it wants: {reason}. Name one `model`, once.")
            }
            Self::InvalidBody(reason) => write!(f, "The body of the request cannot be read: {reason}."),
        }
    }
}

impl std::error::Error for FindError {}

/// The fault of a `model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidModel {
    /// It is a JSON value of this other kind (`null`, `a number`, …).
    NotAString(&'static str),
    /// It is empty.
    Empty,
    /// It is longer than [`MODEL_MAX_BYTES`].
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
    /// It has half of a surrogate pair, written as an escape.
    LoneSurrogate,
    /// It is not ASCII, in a body that is declared as ISO-8859-1 or similar: parsers disagree on its meaning.
    NotAscii,
    /// Its key is `model` except for control or non-ASCII characters in it.
    OddKey,
    /// Its form part has a file name.
    File,
    /// Its form part has a `Content-Type` other than plain text in UTF-8.
    PartType,
    /// Its form part has a `Content-Transfer-Encoding` that changes the bytes.
    PartEncoding,
}

impl fmt::Display for InvalidModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAString(found) => write!(f, "it is {found}, not a string"),
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => write!(f, "it is longer than {MODEL_MAX_BYTES} bytes"),
            Self::NotUtf8 => f.write_str("it is not valid UTF-8"),
            Self::LoneSurrogate => f.write_str("it contains half of a surrogate pair"),
            Self::NotAscii => f.write_str("it is not ASCII and the body is not declared as UTF-8"),
            Self::OddKey => f.write_str("its key contains characters that do not belong there"),
            Self::File => f.write_str("it is sent as a file; send it as a plain field"),
            Self::PartType => f.write_str("its form part is not plain text in UTF-8"),
            Self::PartEncoding => f.write_str("its form part has a transfer encoding"),
        }
    }
}

/// The reason why parsers may find different models in one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmbiguousModel {
    /// Two top-level keys, or two form parts, are `model`.
    Repeated,
    /// A top-level key or a part's name is `model` only if case is ignored, as some servers do.
    OtherCase,
    /// A part's name is `model` to some servers only: it has escapes, white space or brackets.
    OddPartName,
}

impl fmt::Display for AmbiguousModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repeated => "`model` is there more than once",
            Self::OtherCase => "there is a `model` that is not written in small letters",
            Self::OddPartName => "the name of a form part is nearly `model`",
        })
    }
}

/// The fault of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidBody {
    /// The first byte that is not white space is not `{`.
    NotAnObject,
    /// It is UTF-16 or UTF-32.
    WideEncoding,
    /// Its charset is neither UTF-8 nor compatible with ASCII.
    Charset,
    /// It has two `Content-Type` headers: servers use the first, the last or both.
    TwoTypes,
    /// It is not valid JSON.
    Malformed {
        /// The offset of the first wrong byte in the body.
        offset: u64,
        /// What is valid there.
        expected: &'static str,
    },
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It ends before the object or the form is complete.
    Truncated,
    /// It is `multipart/form-data` without a usable `boundary`.
    Boundary,
    /// It breaks the rules of RFC 2046 or RFC 7578 for forms in this way.
    Form(&'static str),
    /// The headers of a form part are longer than [`PART_HEADERS_MAX_BYTES`].
    PartHeadersTooLong,
}

impl fmt::Display for InvalidBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("it is not a JSON object"),
            Self::WideEncoding => f.write_str("it is UTF-16 or UTF-32; send JSON in UTF-8"),
            Self::TwoTypes => f.write_str("it has more than one Content-Type"),
            Self::Charset => f.write_str("its Content-Type names a charset in which quotes may be hidden; send UTF-8"),
            Self::Malformed { offset, expected } => {
                write!(f, "it is not valid JSON, byte {offset} should be {expected}")
            }
            Self::TooDeep => write!(f, "it is nested deeper than {MAX_DEPTH} levels"),
            Self::Truncated => f.write_str("it ends before it is complete"),
            Self::Boundary => {
                f.write_str("its Content-Type is multipart/form-data without one clear boundary (RFC 2046)")
            }
            Self::Form(what) => write!(f, "it is not a valid multipart form, {what}"),
            Self::PartHeadersTooLong => {
                write!(f, "the headers of a form part are longer than {PART_HEADERS_MAX_BYTES} bytes")
            }
        }
    }
}
