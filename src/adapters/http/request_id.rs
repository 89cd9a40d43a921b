//! The id that every answer carries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue};

/// Where the caller's id stands, and ours.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a caller that is taken, in bytes.
const LONGEST: usize = 128;

/// `req-`, sixteen digits of the process, twelve of the request.
const OUR_LENGTH: usize = 4 + 16 + OUR_NUMBER;
/// The digits of a request's number: 48 bits.
const OUR_NUMBER: usize = 12;

/// Makes ids: the caller's if it is sane, else one of our own.
pub struct RequestIds {
    /// An id with the number zero.
    first: [u8; OUR_LENGTH],
    next: AtomicU64,
}

impl RequestIds {
    /// Ids that no other process makes.
    pub fn new() -> Self {
        let mut first = [b'0'; OUR_LENGTH];
        if let Some(prefix) = first.first_chunk_mut() {
            *prefix = *b"req-";
        }
        if let Some(process) = first.get_mut(4..OUR_LENGTH - OUR_NUMBER) {
            write_hex(RandomState::new().build_hasher().finish(), process);
        }
        Self { first, next: AtomicU64::new(1) }
    }

    /// The id for a request that came with this one, if it came with one.
    pub fn id_for(&self, theirs: Option<&HeaderValue>) -> HeaderValue {
        if let Some(theirs) = theirs.filter(|id| sane(id.as_bytes())) {
            return theirs.clone();
        }
        let mut id = self.first;
        if let Some(number) = id.last_chunk_mut::<OUR_NUMBER>() {
            write_hex(self.next.fetch_add(1, Ordering::Relaxed), number);
        }
        HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("req-unknown"))
    }
}

/// The last hexadecimal digits of a number, as many as there is room for. Each request gets an id: `format!` costs ten
/// times as much.
fn write_hex(mut number: u64, into: &mut [u8]) {
    for place in into.iter_mut().rev() {
        *place = b"0123456789abcdef".get((number & 15) as usize).copied().unwrap_or_default();
        number >>= 4;
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
            let theirs = HeaderValue::from_str(given).ok();
            assert_eq!(ids.id_for(theirs.as_ref()) == given, kept, "{given:?}");
        }
        assert_ne!(ids.id_for(None), ids.id_for(None));
    }

    #[test]
    fn our_ids_count_up_behind_what_names_the_process() {
        let ids = RequestIds::new();
        let mine = || ids.id_for(None).to_str().map(str::to_owned).unwrap_or_default();
        let (first, second) = (mine(), mine());
        assert!(first.starts_with("req-") && first.len() == OUR_LENGTH && sane(first.as_bytes()), "{first}");
        assert_eq!(first.strip_suffix("000000000001"), second.strip_suffix("000000000002"));
        let mut digits = [0; 5];
        write_hex(0xab_cdef, &mut digits);
        assert_eq!(&digits, b"bcdef");
    }
}
