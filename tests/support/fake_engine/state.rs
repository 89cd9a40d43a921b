//! What the engine holds: its containers, its log of events, how it is to answer, and what it counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::{FakeContainer, Mood};

/// Everything behind the one lock of the engine.
#[derive(Default)]
pub(super) struct State {
    pub(super) containers: BTreeMap<String, FakeContainer>,
    pub(super) log: Vec<(u64, String)>,
    pub(super) listeners: Vec<mpsc::UnboundedSender<Bytes>>,
    pub(super) mood: Option<Mood>,
    pub(super) list_mood: Option<Mood>,
    pub(super) ping_mood: Option<Mood>,
    pub(super) inspect_mood: HashMap<String, Mood>,
    pub(super) list_answer: Option<String>,
    pub(super) list_delay: Duration,
    pub(super) inspect_delay: Duration,
    pub(super) held: HashMap<String, Arc<Notify>>,
    pub(super) podman: bool,
    pub(super) version: Option<String>,
    pub(super) headless_events: bool,
    pub(super) inspects: HashMap<String, usize>,
    pub(super) inspects_now: usize,
    pub(super) inspects_peak: usize,
    pub(super) lists: usize,
    pub(super) subscriptions: Vec<Option<String>>,
    pub(super) replays: Vec<Option<String>>,
    pub(super) replay_mood: Option<Mood>,
    pub(super) connections: usize,
    pub(super) serial: u64,
    pub(super) clock: u64,
}

impl State {
    /// The next moment on its clock.
    pub(super) fn tick(&mut self) -> u64 {
        #[allow(clippy::disallowed_methods, reason = "an engine has a wall clock")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        self.clock = now.max(self.clock + 1);
        self.clock
    }

    /// The events that it still remembers.
    pub(super) fn remembered(&self) -> &[(u64, String)] {
        &self.log[self.log.len().saturating_sub(256)..]
    }

    /// Sends an event of this time.
    pub(super) fn send(&mut self, at: u64, mut event: Value) {
        event["time"] = json!(at / 1_000_000_000);
        event["timeNano"] = json!(at);
        self.send_line(at, &event.to_string());
    }

    /// Sends a line, and remembers it.
    pub(super) fn send_line(&mut self, at: u64, line: &str) {
        let line = format!("{line}\n");
        self.log.push((at, line.clone()));
        self.listeners.retain(|listener| listener.send(Bytes::from(line.clone())).is_ok());
    }
}
