//! The limits of what is searched.

/// The deepest nesting of a body that is accepted. Python's own parser gives up near 1,000.
pub const MAX_DEPTH: usize = 1024;

/// The longest model, in bytes of UTF-8.
pub const MODEL_MAX_BYTES: usize = 256;

/// The longest boundary, in bytes. RFC 2046 allows 70, but no known server counts them.
pub const BOUNDARY_MAX_BYTES: usize = 256;

/// The most bytes of headers of one part of a form.
pub const PART_HEADERS_MAX_BYTES: usize = 8 * 1024;

/// The part of a body, in bytes, that decides on the prefix of its prompt.
pub const PREFIX_MAX_BYTES: u64 = 256 * 1024;
