//! One playing of a visit: what both ends share while it lasts, and what each of them saw.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::bytes;
use super::plan::{How, Visit};

/// The longest that one step of one end may take. No deadline of the proxy that a visit meets is so long.
pub const STEP: Duration = Duration::from_secs(15);
/// How soon a backend must see that its client has left.
pub const NOTICED: Duration = Duration::from_secs(5);

/// What happened, line by line.
#[derive(Clone)]
pub struct Log {
    begun: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub fn new() -> Self {
        Self { begun: Instant::now(), lines: Arc::default() }
    }

    pub fn note(&self, line: impl fmt::Display) {
        let line = format!("{:>9.1} ms {line}", self.begun.elapsed().as_secs_f64() * 1000.0);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n    ")
    }
}

/// What became of a response, for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    Response(Seen),
    /// The connection ended, or could not be made, before the head of a response was complete.
    Nothing,
    /// The client left, as planned.
    Left,
    /// A step did not end.
    Hung(String),
    /// Something that is no HTTP.
    Wrong(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub status: u16,
    /// How many bytes of a body came, and whether they are a beginning of what was sent.
    pub bytes: usize,
    pub is_right: bool,
    /// How the body was cut off, if it was.
    pub cut: Option<How>,
    pub trailers: bool,
    /// Whether the connection takes the next request, as far as the response says.
    pub keeps: bool,
    /// How it ended, where the response said that it would.
    pub closed: Option<How>,
}

/// A request as the backend saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrived {
    /// `None`: it broke off.
    pub is_right: Option<bool>,
    pub trailers: bool,
    /// Where the backend waited for the client to leave: whether it saw that.
    pub saw_the_end: Option<bool>,
    /// Where it broke off: whether the client had read what was sent before.
    pub was_held_back: bool,
}

/// What both ends share of one exchange.
pub struct Step {
    /// How often the backend has read the head of the request, read all of it, and been done with it.
    pub heads: watch::Sender<usize>,
    pub wholes: watch::Sender<usize>,
    pub overs: watch::Sender<usize>,
    /// How many bytes of the response the client has: one for its head, and its body.
    pub read: watch::Sender<usize>,
    /// The client is done.
    pub client_is_done: watch::Sender<bool>,
    pub arrived: Mutex<Vec<Arrived>>,
    pub request_body: Vec<u8>,
    pub response_body: Vec<u8>,
    pub seed: u64,
}

/// One playing of a visit.
pub struct Play {
    pub visit: Arc<Visit>,
    pub steps: Vec<Step>,
    pub log: Log,
}

impl Play {
    pub fn new(visit: &Arc<Visit>, seed: u64) -> Self {
        let steps = visit.exchanges.iter().enumerate().map(|(at, exchange)| {
            let seed = seed.wrapping_add(7919 * at as u64);
            Step {
                heads: watch::Sender::new(0),
                wholes: watch::Sender::new(0),
                overs: watch::Sender::new(0),
                read: watch::Sender::new(0),
                client_is_done: watch::Sender::new(false),
                arrived: Mutex::default(),
                request_body: bytes::request_body(&exchange.request, visit.server.model(), seed),
                response_body: bytes::letters(seed ^ 0xb0d7, exchange.response.body.letters()),
                seed,
            }
        });
        Self { steps: steps.collect(), visit: Arc::clone(visit), log: Log::new() }
    }
}

impl Step {
    /// Waits for the client to have so much of the response, see [`Step::read`], or to be done; returns false where
    /// neither came and nothing more of the response did for [`NOTICED`].
    pub async fn has_read_or_left(&self, least: usize) -> bool {
        let mut done = self.client_is_done.subscribe();
        let mut count = self.read.subscribe();
        while *count.borrow_and_update() < least {
            tokio::select! {
                more = tokio::time::timeout(NOTICED, count.changed()) => match more {
                    Ok(Ok(())) => {}
                    _ => return false,
                },
                _ = done.wait_for(|done| *done) => return true,
            }
        }
        true
    }

    pub fn arrive(&self, arrived: Arrived) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
        self.overs.send_modify(|count| *count += 1);
    }

    pub fn arrivals(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the backend is done with every request that it began to read; not for ever.
    pub async fn settled(&self) {
        let mut overs = self.overs.subscribe();
        let settled = overs.wait_for(|overs| *overs >= *self.heads.borrow());
        let _ = tokio::time::timeout(NOTICED + Duration::from_secs(2), settled).await;
    }
}

/// Waits for a count to reach `least`, or for `bound` to pass; returns whether it did.
pub async fn reaches(counter: &watch::Sender<usize>, least: usize, bound: Duration) -> bool {
    let mut counter = counter.subscribe();
    matches!(tokio::time::timeout(bound, counter.wait_for(|count| *count >= least)).await, Ok(Ok(_)))
}

/// What backends may be asked to play, by numbers that stand in request targets.
pub struct Registry<T>(Arc<Mutex<Entered<T>>>);

struct Entered<T> {
    last: u64,
    plays: HashMap<u64, Arc<T>>,
}

impl<T> Clone for Registry<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Entered { last: 0, plays: HashMap::new() })))
    }
}

impl<T> Registry<T> {
    pub fn enter(&self, play: &Arc<T>) -> u64 {
        let mut entered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entered.last += 1;
        let key = entered.last;
        entered.plays.insert(key, Arc::clone(play));
        key
    }

    pub fn leave(&self, key: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).plays.remove(&key);
    }

    /// What `PREFIX/KEY` or `PREFIX/KEY/NUMBER` names, and that number.
    pub fn find(&self, target: &str, prefix: &str) -> Option<(Arc<T>, usize)> {
        let path = target.split('?').next()?.strip_prefix(prefix)?;
        let (key, at) = path.split_once('/').unwrap_or((path, "0"));
        let play = self.0.lock().unwrap_or_else(PoisonError::into_inner).plays.get(&key.parse().ok()?).cloned()?;
        Some((play, at.parse().ok()?))
    }
}
