//! What all connections share: counters, the health that was asked for, the models.

use crate::settings::Settings;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What `/health` answers, once the server is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    Fail,
    Hang,
}

/// One per process.
pub struct State {
    pub settings: Settings,
    started: Instant,
    health: Mutex<Health>,
    models: Mutex<Vec<String>>,
    seen: AtomicU64,
    aborted: AtomicU64,
    finished: AtomicU64,
    in_flight: AtomicU64,
    connections: AtomicU64,
}

impl State {
    pub fn new(settings: Settings) -> Self {
        Self {
            started: Instant::now(),
            health: Mutex::new(Health::Ok),
            models: Mutex::new(settings.models.clone()),
            seen: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            settings,
        }
    }

    /// `Fail` until `READY_AFTER_MS` has passed, then what was asked for.
    pub fn health(&self) -> Health {
        if self.started.elapsed() < self.settings.ready_after {
            return Health::Fail;
        }
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    pub fn models(&self) -> Vec<String> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_models(&self, models: Vec<String>) {
        *self.models.lock().unwrap_or_else(PoisonError::into_inner) = models;
    }

    /// Counts a connection; returns how many there have been, this one included.
    pub fn connected(&self) -> u64 {
        self.connections.fetch_add(1, SeqCst) + 1
    }

    /// Counts a request of the API. It is in flight until [`State::ended`].
    pub fn began(&self) -> u64 {
        self.in_flight.fetch_add(1, SeqCst);
        self.seen.fetch_add(1, SeqCst) + 1
    }

    /// `whole`: the answer was written to its end; else the client left first.
    pub fn ended(&self, whole: bool) {
        let counter = if whole { &self.finished } else { &self.aborted };
        counter.fetch_add(1, SeqCst);
        self.in_flight.fetch_sub(1, SeqCst);
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
    }

    /// The body of `/stats`.
    pub fn stats(&self) -> String {
        format!(
            r#"{{"name":{},"requests":{},"finished":{},"aborted":{},"in_flight":{},"connections":{}}}"#,
            crate::json::quote(&self.settings.name),
            self.seen.load(SeqCst),
            self.finished.load(SeqCst),
            self.aborted.load(SeqCst),
            self.in_flight(),
            self.connections.load(SeqCst),
        )
    }
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis())
}

/// One line on standard output: the wall clock in milliseconds, then the text. A closed output is not a reason to stop.
pub fn log(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{} {text}", unix_ms());
    let _ = out.flush();
}
