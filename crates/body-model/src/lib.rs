//! Finds the model that a request body names, while the body arrives in chunks.
//!
//! For every body that a backend's parser accepts, the result is the model that this parser finds, or an error. Only
//! the model itself is allocated; a body of any size takes a few hundred bytes.
//!
//! ```
//! use body_model::ModelFinder;
//!
//! # fn main() -> Result<(), body_model::FindError> {
//! let mut finder = ModelFinder::for_content_type(Some(b"application/json"))?;
//! finder.feed(br#"{"messages": [{"role": "user", "content": "Hi"}], "mod"#)?;
//! assert_eq!(finder.model(), None);
//!
//! // The model is known as soon as its value ends, before the end of the body.
//! finder.feed(br#"el": "org/model-7b", "stream": "#)?;
//! assert_eq!(finder.model().map(|model| &**model), Some("org/model-7b"));
//!
//! // A second model would be an error, so the search goes on to the end.
//! finder.feed(b"true}")?;
//! finder.finish()?;
//! # Ok(())
//! # }
//! ```

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

/// An incremental search for the model of a body, which may be split anywhere into chunks.
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
    /// Returns a finder for a JSON object in UTF-8 (RFC 8259).
    #[must_use]
    pub fn json() -> Self {
        Self::new(Format::Json(JsonFinder::new(false)))
    }

    /// Returns a finder for `multipart/form-data` (RFC 2046, RFC 7578) with this boundary, unquoted.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidBody::Boundary`] if servers differ on such a boundary, or it is too long.
    pub fn multipart(boundary: &str) -> Result<Self, FindError> {
        let finder = MultipartFinder::new(boundary.as_bytes(), false)?;
        Ok(Self::new(Format::Multipart(finder)))
    }

    /// Returns a finder for a body with this `Content-Type`: a form if it is `multipart/form-data`, else JSON, as most
    /// servers parse JSON whatever the type.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidBody`] for a form without a usable boundary, or a charset that is not compatible with ASCII.
    pub fn for_content_type(content_type: Option<&[u8]>) -> Result<Self, FindError> {
        Ok(Self::new(match BodyKind::parse(content_type)? {
            BodyKind::Json { ascii_only } => Format::Json(JsonFinder::new(ascii_only)),
            BodyKind::Form { boundary, ascii_only } => Format::Multipart(MultipartFinder::new(&boundary, ascii_only)?),
        }))
    }

    /// Makes the finder hash the prefix of the prompt as well. Only JSON bodies have one.
    pub fn hash_prefix(&mut self) {
        if let Format::Json(finder) = &mut self.format {
            finder.hash_prefix();
        }
    }

    /// Returns true if further chunks may change [`Self::prefix`]: before the end of the body and of its first
    /// [`PREFIX_MAX_BYTES`].
    #[must_use]
    pub fn awaits_prefix(&self) -> bool {
        match &self.format {
            Format::Json(finder) => finder.prefix.as_ref().is_some_and(|prefix| !prefix.is_settled()),
            Format::Multipart(_) => false,
        }
    }

    /// Returns the prefix of the prompt so far; `None` if there is none, or [`Self::hash_prefix`] was not called.
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

    /// Reads the next chunk. The search goes on after the model, so that a second one is found.
    ///
    /// # Errors
    ///
    /// Returns the fault of the body. From then on every call returns the same error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), FindError> {
        self.live()?;
        let result = match &mut self.format {
            Format::Json(finder) => finder.feed(chunk),
            Format::Multipart(finder) => finder.feed(chunk),
        };
        self.remember(result)
    }

    /// Returns the model once its value is complete; `None` before, and after an error.
    #[must_use]
    pub fn model(&self) -> Option<&Arc<str>> {
        match &self.format {
            _ if self.failed.is_some() => None,
            Format::Json(finder) => finder.model(),
            Format::Multipart(finder) => finder.model(),
        }
    }

    /// Ends the search at the end of the body.
    ///
    /// # Errors
    ///
    /// Returns [`FindError::MissingModel`] if there is no model, [`FindError::InvalidBody`] if the body is truncated,
    /// or the error of an earlier call.
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
