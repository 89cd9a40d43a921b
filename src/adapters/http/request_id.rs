//! The id that every answer carries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Where the caller's id stands, and ours.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a caller that is taken, in bytes.
const LONGEST: usize = 128;

/// Makes ids: the caller's if it is sane, else one of our own.
pub struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids that no other process makes.
    pub fn new() -> Self {
        Self { process: RandomState::new().build_hasher().finish(), next: AtomicU64::new(1) }
    }

    /// The id for a request.
    pub fn id_for(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(theirs) = headers.get(X_REQUEST_ID).filter(|id| sane(id.as_bytes())) {
            return theirs.clone();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("req-{:016x}{number:08x}", self.process))
            .unwrap_or_else(|_| HeaderValue::from_static("req-unknown"))
    }
}

/// Short, and of characters that mean nothing anywhere.
fn sane(id: &[u8]) -> bool {
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b);
    !id.is_empty() && id.len() <= LONGEST && id.iter().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_of_the_caller_is_kept_and_any_other_is_replaced() {
        let ids = RequestIds::new();
        let long = "a".repeat(LONGEST + 1);
        for (given, kept) in
            [("abc-123", true), ("a b", false), ("", false), ("<script>", false), (long.as_str(), false)]
        {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(given) {
                headers.insert(X_REQUEST_ID, value);
            }
            assert_eq!(ids.id_for(&headers) == given, kept, "{given:?}");
        }
        assert_ne!(ids.id_for(&HeaderMap::new()), ids.id_for(&HeaderMap::new()));
    }
}
