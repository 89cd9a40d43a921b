//! Finds the model that a request body names, while the body arrives in chunks.
//!
//! The promise: for every body that a backend's parser accepts, the model found here is the one which that parser
//! finds, or an error. Nothing is allocated but the model itself; a body of any size costs a few hundred bytes.

mod byte_class;
mod charset;
mod content_type;
mod error;
mod fast_path;
mod header_params;
mod json;
mod json_state;
mod limits;
mod multipart;
mod part_headers;
mod prefix;
mod readings;
mod scan;
mod simd;
mod stack;
mod strings;

pub use error::{AmbiguousModel, FindError, InvalidBody, InvalidModel};
pub use limits::{BOUNDARY_MAX_BYTES, MAX_DEPTH, MODEL_MAX_BYTES, PART_HEADERS_MAX_BYTES, PREFIX_MAX_BYTES};
pub use prefix::Prefix;

use std::sync::Arc;

use content_type::BodyKind;
use json::JsonFinder;
use multipart::MultipartFinder;

/// Takes a body in chunks, cut anywhere, and tells its model as soon as that was read.
#[derive(Debug, Clone)]
pub struct ModelFinder {
    format: Format,
    failed: Option<FindError>,
}

#[derive(Debug, Clone)]
enum Format {
    Json(JsonFinder),
    Multipart(MultipartFinder),
}

impl ModelFinder {
    /// A finder for a JSON object in UTF-8 (RFC 8259).
    #[must_use]
    pub fn json() -> Self {
        Self::new(Format::Json(JsonFinder::new(false)))
    }

    /// A finder for `multipart/form-data` (RFC 2046, RFC 7578) with this boundary, unquoted.
    ///
    /// # Errors
    ///
    /// [`InvalidBody::Boundary`] if servers differ on such a boundary, or it is too long.
    pub fn multipart(boundary: &str) -> Result<Self, FindError> {
        let finder = MultipartFinder::new(boundary.as_bytes(), false)?;
        Ok(Self::new(Format::Multipart(finder)))
    }

    /// The finder for a body with this `Content-Type`: a form if it says `multipart/form-data`, else JSON, as most
    /// servers parse it whatever it is called.
    ///
    /// # Errors
    ///
    /// [`InvalidBody`]: a form without a usable boundary, or a charset that is not compatible with ASCII.
    pub fn for_content_type(content_type: Option<&[u8]>) -> Result<Self, FindError> {
        Ok(Self::new(match BodyKind::parse(content_type)? {
            BodyKind::Json { ascii_only } => Format::Json(JsonFinder::new(ascii_only)),
            BodyKind::Form { boundary, ascii_only } => Format::Multipart(MultipartFinder::new(&boundary, ascii_only)?),
        }))
    }

    /// Has it look, too, at how the prompt begins. Only bodies in JSON have one.
    pub fn hash_prefix(&mut self) {
        if let Format::Json(finder) = &mut self.format {
            finder.hash_prefix();
        }
    }

    /// Returns true while what is still to come may change [`Self::prefix`]: before the end of the body and of its first
    /// [`PREFIX_MAX_BYTES`].
    #[must_use]
    pub fn awaits_prefix(&self) -> bool {
        match &self.format {
            Format::Json(finder) => finder.prefix.as_ref().is_some_and(|prefix| !prefix.is_settled()),
            Format::Multipart(_) => false,
        }
    }

    /// How the prompt begins, as far as it was read; `None` if it has none or it was not asked for.
    #[must_use]
    pub fn prefix(&self) -> Option<Prefix> {
        match &self.format {
            Format::Json(finder) => finder.prefix.as_ref()?.prefix(),
            Format::Multipart(_) => None,
        }
    }

    fn new(format: Format) -> Self {
        Self { format, failed: None }
    }

    /// Reads the next chunk. Goes on after the model was found, so that a second one is noticed.
    ///
    /// # Errors
    ///
    /// Why the body gives no model. From then on every call returns the same error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), FindError> {
        self.live()?;
        let result = match &mut self.format {
            Format::Json(finder) => finder.feed(chunk),
            Format::Multipart(finder) => finder.feed(chunk),
        };
        self.remember(result)
    }

    /// The model, as soon as its value was completely read; `None` before, and after an error.
    #[must_use]
    pub fn model(&self) -> Option<&Arc<str>> {
        match &self.format {
            _ if self.failed.is_some() => None,
            Format::Json(finder) => finder.model(),
            Format::Multipart(finder) => finder.model(),
        }
    }

    /// Takes the end of the body.
    ///
    /// # Errors
    ///
    /// [`FindError::MissingModel`] if it named none, [`FindError::InvalidBody`] if it is cut off, or the error of an
    /// earlier call.
    pub fn finish(&mut self) -> Result<(), FindError> {
        self.live()?;
        let result = match &mut self.format {
            Format::Json(finder) => finder.finish(),
            Format::Multipart(finder) => finder.finish(),
        };
        self.remember(result)
    }

    fn live(&self) -> Result<(), FindError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn remember(&mut self, result: Result<(), FindError>) -> Result<(), FindError> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }
}
