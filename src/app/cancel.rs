//! How somebody else ends what a client's connection is doing: one word and one waker for each connection.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

/// The backend is dead: end the request if it has to wait for it.
const SEVERED: u8 = 1;
/// The drain deadline has come: end the request.
const CUT: u8 = 2;
/// Take no further request on this connection.
const CLOSE: u8 = 4;
/// End the connection.
const ABORT: u8 = 8;
/// An answer's head was handed over: from here on an end must break the message.
const STREAMING: u8 = 16;

/// Belongs to one client connection, which carries one request at a time.
///
/// A word of flags and a waker cost less than a channel for each request, and there is one of them for each open
/// stream.
#[derive(Debug, Default)]
pub struct RequestCancel {
    flags: AtomicU8,
    received: AtomicU64,
    waker: AtomicWaker,
}

impl RequestCancel {
    /// Nothing is asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes this task when something is asked for. Called by whoever drives the connection, before it looks.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// A new request begins: what was asked of the one before it is over.
    pub(super) fn begin_request(&self) {
        self.flags.fetch_and(!(SEVERED | CUT | STREAMING), Ordering::AcqRel);
    }

    /// Something came from the backend. Counted here and not for each backend: no other request writes to this word.
    pub(super) fn note_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something came from backends, over all requests of the connection.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The head of an answer is about to be handed over.
    pub(super) fn begin_streaming(&self) {
        self.flags.fetch_or(STREAMING, Ordering::AcqRel);
    }

    pub(super) fn fail_waiting(&self) {
        self.raise(SEVERED);
    }

    pub(super) fn cut(&self) {
        self.raise(CUT);
    }

    /// Asks for the connection to end after its present request.
    pub fn close(&self) {
        self.raise(CLOSE);
    }

    /// Asks for the connection to end now.
    pub fn abort(&self) {
        self.raise(ABORT);
    }

    /// Asks for nothing but a look at how the connection stands.
    pub fn look(&self) {
        self.waker.wake();
    }

    /// Whether the request must not wait for its backend any more.
    pub fn must_fail_waiting(&self) -> bool {
        self.any(SEVERED)
    }

    /// Whether the request must end.
    pub fn is_force_closed(&self) -> bool {
        self.any(CUT)
    }

    /// Whether a drain is over, the backend's or the process's, and ends the request.
    pub fn is_drain_over(&self) -> bool {
        self.any(CUT | ABORT)
    }

    /// Whether an answer that was already begun must end, even where nobody reads it: the connection has to break.
    pub fn must_break(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (CUT | STREAMING) == CUT | STREAMING
    }

    /// Whether the connection takes no further request.
    pub fn is_closing(&self) -> bool {
        self.any(CLOSE)
    }

    /// Whether the connection must end now.
    pub fn is_aborted(&self) -> bool {
        self.any(ABORT)
    }

    fn raise(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
        self.waker.wake();
    }

    fn any(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }
}
