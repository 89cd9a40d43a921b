//! What a backend has shown of its connections: after which kinds of response it keeps them, and for how long.
//!
//! HTTP/1.1 keeps a connection unless one side announces its end, but some servers close without a word. A request that
//! is already on its way then is lost, and cannot be sent again. So a connection is used again at once only after a
//! kind of response that this backend has been seen to keep connections after.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::response::Parts;

use super::framing::Ending;

/// How many connections have to stay open, one after another, before a kind of response is trusted for the first time.
const PROOFS_AT_FIRST: u32 = 1;
/// The most that are demanded of a backend that closed again and again. Each close doubles the number.
const PROOFS_MAX: u32 = 1024;
/// How many kinds of response are told apart.
const KINDS: usize = 8;

/// A kind of response after which a server may treat its connection differently: how its end is marked, and whether it
/// is an error.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResponseKind(usize);

impl ResponseKind {
    /// The kind of the response with this head. One without a body, such as one to HEAD, says nothing of what follows the
    /// body that its head describes.
    pub(super) fn of(head: &Parts, ending: Ending) -> Self {
        let is_stream = |value: &http::HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
        let framing = match ending {
            Ending::Chunked => usize::from(head.headers.get(CONTENT_TYPE).is_some_and(is_stream)),
            Ending::Length => 2,
            Ending::Close => 3,
        };
        let is_error = head.status.is_client_error() || head.status.is_server_error();
        Self(framing * 2 + usize::from(is_error))
    }
}

/// The record of one backend.
#[derive(Debug)]
pub(super) struct Probation {
    kinds: [Record; KINDS],
    /// How long a connection has to stay open to count as kept.
    watch: Duration,
    /// How long a connection may be idle: less than the shortest time after which the backend was seen to close one.
    idle: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// How many more connections have to stay open until the kind is trusted.
    missing: u32,
    /// How many there had to be.
    demanded: u32,
}

impl Probation {
    /// Nothing is known of the backend. Where `watch` is zero, every kind is trusted until it disappoints.
    pub(super) fn new(watch: Duration, idle: Duration) -> Self {
        let missing = if watch.is_zero() { 0 } else { PROOFS_AT_FIRST };
        Self { kinds: [Record { missing, demanded: PROOFS_AT_FIRST }; KINDS], watch, idle }
    }

    /// Returns true if connections are known to stay open after this kind of response.
    pub(super) fn is_trusted(&self, kind: ResponseKind) -> bool {
        self.kinds.get(kind.0).is_some_and(|record| record.missing == 0)
    }

    /// How long a connection may be idle, and how long it is watched before that where its kind is not trusted.
    pub(super) fn times(&self, may_idle: Duration) -> (Duration, Duration) {
        let idle = may_idle.min(self.idle);
        (idle, self.watch.min(idle / 2))
    }

    /// A connection stayed open for as long as it was watched.
    pub(super) fn kept(&mut self, kind: ResponseKind) {
        if let Some(record) = self.kinds.get_mut(kind.0) {
            record.missing = record.missing.saturating_sub(1);
        }
    }

    /// The backend closed a connection without a word, at most this long after its last response. A close soon after a
    /// response speaks against the kind, a later one only against so long a pause.
    pub(super) fn closed(&mut self, kind: ResponseKind, after: Duration) {
        if after > self.watch {
            self.idle = self.idle.min(after / 2).max(self.watch);
        } else if let Some(record) = self.kinds.get_mut(kind.0) {
            record.demanded = record.demanded.saturating_mul(2).min(PROOFS_MAX);
            record.missing = record.demanded;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCH: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(3);
    const KIND: ResponseKind = ResponseKind(2);

    #[test]
    fn a_kind_is_trusted_once_a_connection_stayed_open_and_the_others_are_not() {
        let mut backend = Probation::new(WATCH, IDLE);
        assert!(!backend.is_trusted(KIND));
        backend.kept(KIND);
        assert!(backend.is_trusted(KIND));
        assert!(!backend.is_trusted(ResponseKind(0)));
    }

    #[test]
    fn each_close_doubles_what_is_demanded_up_to_a_bound() {
        let mut backend = Probation::new(WATCH, IDLE);
        for demanded in [2, 4, 8] {
            backend.closed(KIND, Duration::ZERO);
            for _ in 1..demanded {
                backend.kept(KIND);
                assert!(!backend.is_trusted(KIND));
            }
            backend.kept(KIND);
            assert!(backend.is_trusted(KIND), "after {demanded}");
        }
        (0..100).for_each(|_| backend.closed(KIND, WATCH));
        (0..PROOFS_MAX).for_each(|_| backend.kept(KIND));
        assert!(backend.is_trusted(KIND));
    }

    #[test]
    fn a_late_close_shortens_the_pause_and_keeps_the_trust() {
        let mut backend = Probation::new(WATCH, IDLE);
        backend.kept(KIND);
        backend.closed(KIND, IDLE);
        assert!(backend.is_trusted(KIND));
        assert_eq!(backend.times(IDLE).0, IDLE / 2);
        (0..9).for_each(|_| backend.closed(KIND, WATCH * 2));
        assert_eq!(backend.times(IDLE).0, WATCH);
    }

    #[test]
    fn a_pause_that_the_backend_announces_is_watched_for_half_of_it() {
        let backend = Probation::new(WATCH, IDLE);
        assert_eq!(backend.times(IDLE), (IDLE, WATCH));
        assert_eq!(backend.times(WATCH / 2), (WATCH / 2, WATCH / 4));
    }

    #[test]
    fn kinds_are_told_apart_by_framing_and_by_failure() {
        let kind = |status: u16, content_type: &str, ending: Ending| {
            let response = http::Response::builder().status(status).header(CONTENT_TYPE, content_type);
            response.body(()).map(|response| ResponseKind::of(&response.into_parts().0, ending).0).unwrap_or(KINDS)
        };
        let heads = [
            ("text/event-stream; charset=utf-8", Ending::Chunked),
            ("application/json", Ending::Chunked),
            ("text/event-stream", Ending::Length),
            ("text/event-stream", Ending::Close),
        ];
        let mut all: Vec<_> = heads
            .iter()
            .flat_map(|(kind_of, ending)| [200, 404, 500].map(|status| kind(status, kind_of, *ending)))
            .collect();
        all.dedup();
        assert_eq!(all.len(), KINDS);
        assert!(all.iter().all(|kind| *kind < KINDS));
    }
}
