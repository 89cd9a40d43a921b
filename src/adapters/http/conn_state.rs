//! A client connection, as its socket, its requests and the listener know it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use app::cancel::RequestCancel;
use app::leased_body::Tunnel;
use http::HeaderValue;
use hyper::body::Incoming;

use super::headers;
use super::request_body::{RequestBody, RequestProgress};

/// The rounds that an idle connection lives: the more, the closer to its limit it ends, and the more often all
/// connections are looked at.
pub(super) const IDLE_ROUNDS: u8 = 16;

/// The state of a connection. It decides which deadline applies, whether a stop may end the connection, and whether its
/// age counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ConnState {
    /// No byte of the first head has come.
    New,
    /// A part of a head has come.
    Head,
    /// A request is being worked on, until the last byte of its answer has left.
    Serving,
    /// The answer has left; the rest of the request's body is read and discarded.
    Draining,
    /// The protocol was switched.
    Tunnel,
    /// Nothing is under way.
    Idle,
    /// No further request is taken; what the client still sends is discarded.
    Closing,
}

/// A client connection.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// The peer as it is present for backends: written once, not for each request.
    pub(super) client: HeaderValue,
    pub(super) cancel: Arc<RequestCancel>,
    pub(super) request: Arc<RequestProgress>,
    pub(super) idle: IdleAge,
    pub(super) flushes: Flushes,
    state: AtomicU8,
    /// Whether the answer is over, up to what has not left yet.
    answered: AtomicBool,
    /// Whether the end of the connection is the end of the answer.
    closes_response: AtomicBool,
    /// Whether the socket had nothing to read and wakes the connection for the next byte, or the end.
    reads: AtomicBool,
    tunnel: Mutex<Option<Box<Tunnel>>>,
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self {
            peer,
            client: headers::client(peer.ip()),
            cancel: Arc::new(RequestCancel::new()),
            request: Arc::default(),
            idle: IdleAge::default(),
            flushes: Flushes::default(),
            state: AtomicU8::new(ConnState::New as u8),
            answered: AtomicBool::new(false),
            closes_response: AtomicBool::new(false),
            reads: AtomicBool::new(false),
            tunnel: Mutex::new(None),
        }
    }

    /// Returns its state.
    pub(super) fn state(&self) -> ConnState {
        const STATES: [ConnState; 6] = [
            ConnState::New,
            ConnState::Head,
            ConnState::Serving,
            ConnState::Draining,
            ConnState::Tunnel,
            ConnState::Idle,
        ];
        STATES.get(usize::from(self.state.load(Ordering::Relaxed))).copied().unwrap_or(ConnState::Closing)
    }

    fn set(&self, state: ConnState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Notes that bytes came. Returns true if they begin a head on a connection that was idle.
    pub(super) fn bytes_came(&self) -> bool {
        let state = self.state();
        if matches!(state, ConnState::New | ConnState::Idle) {
            self.set(ConnState::Head);
        }
        state == ConnState::Idle
    }

    /// Notes that a head was read whole.
    pub(super) fn begin_request(&self, body: Incoming) -> RequestBody {
        self.begin_serving();
        self.request.begin(body)
    }

    pub(super) fn begin_serving(&self) {
        self.set(ConnState::Serving);
        self.answered.store(false, Ordering::Relaxed);
        self.closes_response.store(false, Ordering::Relaxed);
    }

    /// Notes that nothing is added to the answer any more.
    pub(super) fn end_response(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Notes that everything that was written has left.
    pub(super) fn flushed(&self, cx: &Context<'_>) {
        self.flushes.add(cx);
        if self.answered.load(Ordering::Relaxed) {
            self.answered.store(false, Ordering::Relaxed);
            match self.request.is_unread() {
                true => self.set(ConnState::Draining),
                false => self.become_idle(),
            }
        }
    }

    /// Notes that the rest of the request's body was read.
    pub(super) fn drained(&self) {
        if self.state() == ConnState::Draining {
            self.become_idle();
        }
    }

    fn become_idle(&self) {
        self.idle.reset();
        self.set(ConnState::Idle);
    }

    /// Notes that no further request is taken.
    pub(super) fn begin_closing(&self) {
        self.set(ConnState::Closing);
    }

    /// Returns true if it carries a request, an answer or a tunnel.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self.state(), ConnState::Serving | ConnState::Tunnel)
    }

    /// One more round of the listener. Returns true if that was one too many for an idle connection.
    pub(super) fn grows_older(&self) -> bool {
        self.state() == ConnState::Idle && self.idle.grow()
    }

    /// Returns true if it is idle, and has been for [`IDLE_ROUNDS`].
    pub(super) fn has_expired(&self) -> bool {
        self.state() == ConnState::Idle && self.idle.has_expired()
    }

    /// Notes whether only the end of the connection tells the client that the answer is over.
    pub(super) fn set_closes_response(&self, closes: bool) {
        self.closes_response.store(closes, Ordering::Relaxed);
    }

    /// Returns true if an end of the connection in order would make an answer look complete that is not.
    pub(super) fn must_reset(&self) -> bool {
        self.closes_response.load(Ordering::Relaxed) && self.state() == ConnState::Serving
    }

    /// Notes whether the socket wakes the connection for what comes.
    pub(super) fn set_reads(&self, reads: bool) {
        self.reads.store(reads, Ordering::Relaxed);
    }

    /// Returns true if a client that leaves would not be noticed: its request is served, and the socket is not read.
    pub(super) fn may_miss_the_end(&self) -> bool {
        !self.reads.load(Ordering::Relaxed) && self.state() == ConnState::Serving
    }

    /// Leaves the backend's side of a switched connection to the one that drives this one.
    pub(super) fn put_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tunnel));
    }

    /// The backend's side, once the answer has told the client of the switch.
    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        let tunnel = self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.set(ConnState::Tunnel);
        Some(tunnel)
    }
}

/// The age of an idle connection, in rounds of the listener. That costs a connection nothing, where a timer of its own
/// would have to be set for each request.
#[derive(Debug, Default)]
pub(super) struct IdleAge(AtomicU8);

impl IdleAge {
    /// One more round. Returns true if it was one too many.
    pub(super) fn grow(&self) -> bool {
        let rounds = self.0.load(Ordering::Relaxed).saturating_add(1);
        self.0.store(rounds, Ordering::Relaxed);
        rounds > IDLE_ROUNDS
    }

    fn has_expired(&self) -> bool {
        self.0.load(Ordering::Relaxed) > IDLE_ROUNDS
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How often everything that was written has left.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    count: AtomicU32,
    awaited: AtomicBool,
}

impl Flushes {
    /// Returns the count. The connection is woken the next time.
    pub(super) fn awaited(&self) -> u32 {
        self.awaited.store(true, Ordering::Relaxed);
        self.count()
    }

    /// Returns the count.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns true if everything has left since the count was this.
    pub(super) fn any_since(&self, before: u32) -> bool {
        self.count() != before
    }

    fn add(&self, cx: &Context<'_>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.awaited.swap(false, Ordering::Relaxed) {
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn connection() -> Connection {
        Connection::new(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    fn flush(connection: &Connection) {
        connection.flushed(&Context::from_waker(Waker::noop()));
    }

    /// Whether so many rounds leave the connection open.
    fn survives(connection: &Connection, rounds: u8) -> bool {
        (0..rounds).all(|_| !connection.grows_older()) && !connection.has_expired()
    }

    #[test]
    fn only_a_connection_that_is_idle_for_long_expires() {
        let connection = connection();
        assert!(survives(&connection, 100), "its first head is due");
        assert!(!connection.bytes_came(), "its first head had a deadline before");
        assert_eq!(connection.state(), ConnState::Head);
        connection.begin_serving();
        assert!(survives(&connection, 100), "an answer is on its way");
        connection.end_response();
        assert!(survives(&connection, 100), "its last bytes have not left");
        flush(&connection);
        assert!(survives(&connection, IDLE_ROUNDS));
        assert!(connection.bytes_came(), "a head begins");
        assert!(survives(&connection, 100), "a head is on its way");
        connection.begin_serving();
        connection.end_response();
        flush(&connection);
        assert!(survives(&connection, IDLE_ROUNDS) && !survives(&connection, 1));
    }

    #[test]
    fn a_flush_in_the_middle_of_an_answer_ends_nothing() {
        let connection = connection();
        connection.begin_serving();
        flush(&connection);
        assert_eq!((connection.state(), connection.flushes.count()), (ConnState::Serving, 1));
        assert!(!connection.bytes_came(), "a byte ahead is not a head");
        assert!(connection.is_in_use());
        connection.end_response();
        flush(&connection);
        assert_eq!(connection.state(), ConnState::Idle);
    }

    #[test]
    fn only_an_answer_without_an_end_of_its_own_needs_a_reset() {
        let connection = connection();
        connection.begin_serving();
        assert!(!connection.must_reset());
        connection.set_closes_response(true);
        assert!(connection.must_reset());
        connection.end_response();
        flush(&connection);
        assert!(!connection.must_reset(), "it is complete");
    }

    #[test]
    fn each_state_is_what_was_set() {
        let connection = connection();
        for state in [
            ConnState::New,
            ConnState::Head,
            ConnState::Serving,
            ConnState::Draining,
            ConnState::Tunnel,
            ConnState::Idle,
            ConnState::Closing,
        ] {
            connection.set(state);
            assert_eq!(connection.state(), state);
        }
    }
}
