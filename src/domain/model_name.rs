//! The name that routes a request.

use std::sync::Arc;

/// A model's name. (Replaced by the finder's branch.)
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Arc<str>);
