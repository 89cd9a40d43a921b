//! Runs the finder on a body that is split into chunks in different ways.

use body_model::{FindError, ModelFinder};

/// Returns the model or the error of a body in these chunks.
pub fn in_chunks<'a>(mut finder: ModelFinder, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<String, FindError> {
    for chunk in chunks {
        if let Err(error) = finder.feed(chunk) {
            assert_eq!(finder.feed(b"{}"), Err(error.clone()), "it stays failed");
            assert_eq!(finder.finish(), Err(error.clone()), "it stays failed");
            assert_eq!(finder.model(), None, "no model after an error");
            return Err(error);
        }
    }
    finder.finish()?;
    Ok(finder.model().expect("finish checked it").to_string())
}

/// Returns the model or the error of a body, which has to be the same for all chunk sizes.
pub fn find(finder: &ModelFinder, body: &[u8]) -> Result<String, FindError> {
    let whole = in_chunks(finder.clone(), [body]);
    for size in [1, 2, 3, 7, 8, 31] {
        let split = in_chunks(finder.clone(), body.chunks(size));
        assert_eq!(split, whole, "chunks of {size}: {}", body.escape_ascii());
    }
    whole
}

/// Returns the model, or the code of the error.
pub fn model_or_code(finder: &ModelFinder, body: &[u8]) -> String {
    find(finder, body).unwrap_or_else(|error| format!("<{}>", error.code()))
}
