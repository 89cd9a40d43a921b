//! How the engine misbehaves, as a test says, and what it saw.

use std::sync::Arc;
use std::time::Duration;

use domain::container::ContainerId;
use tokio::sync::Notify;

use super::FakeEngine;

/// How the engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Never.
    Hangs,
    /// With a page of another program.
    UnexpectedResponse,
    /// With JSON of another shape.
    OddJson,
    /// With a status of 500.
    Fails,
    /// With a status of 403, as a socket proxy does.
    Forbids,
}

impl FakeEngine {
    pub fn mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = Some(mood);
    }

    pub fn list_mood(&self, mood: Mood) {
        self.state.lock().unwrap().list_mood = Some(mood);
    }

    pub fn ping_mood(&self, mood: Mood) {
        self.state.lock().unwrap().ping_mood = Some(mood);
    }

    /// How it answers a request for events that are over.
    pub fn replay_mood(&self, mood: Mood) {
        self.state.lock().unwrap().replay_mood = Some(mood);
    }

    /// The version that it says it has.
    pub fn version(&self, version: &str) {
        self.state.lock().unwrap().version = Some(version.to_owned());
    }

    pub fn inspect_mood(&self, id: &ContainerId, mood: Mood) {
        self.state.lock().unwrap().inspect_mood.insert(id.as_str().to_owned(), mood);
    }

    /// What the list is, whatever containers there are.
    pub fn list_answer(&self, answer: Option<&str>) {
        self.state.lock().unwrap().list_answer = answer.map(str::to_owned);
    }

    pub fn inspects_take(&self, delay: Duration) {
        self.state.lock().unwrap().inspect_delay = delay;
    }

    pub fn lists_take(&self, delay: Duration) {
        self.state.lock().unwrap().list_delay = delay;
    }

    /// Inspects of this container read its state at once, and answer when the gate is opened.
    pub fn hold_inspects(&self, id: &ContainerId) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        self.state.lock().unwrap().held.insert(id.as_str().to_owned(), Arc::clone(&gate));
        gate
    }

    pub fn release(&self, id: &ContainerId) {
        if let Some(gate) = self.state.lock().unwrap().held.remove(id.as_str()) {
            gate.notify_waiters();
            gate.notify_one();
        }
    }

    pub fn be_podman(&self) {
        self.state.lock().unwrap().podman = true;
    }

    /// Events get no head before the first of them, as with Podman 5.2.
    pub fn headless_events(&self) {
        self.state.lock().unwrap().headless_events = true;
    }

    pub fn inspects_of(&self, id: &ContainerId) -> usize {
        self.state.lock().unwrap().inspects.get(id.as_str()).copied().unwrap_or(0)
    }

    pub fn inspects(&self) -> usize {
        self.state.lock().unwrap().inspects.values().sum()
    }

    pub fn inspects_peak(&self) -> usize {
        self.state.lock().unwrap().inspects_peak
    }

    pub fn lists(&self) -> usize {
        self.state.lock().unwrap().lists
    }

    pub fn listeners(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        state.listeners.retain(|listener| !listener.is_closed());
        state.listeners.len()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// The `since` of each request for events that are over.
    pub fn replays(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().replays.clone()
    }

    /// The `since` of each subscription.
    pub fn subscriptions(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().subscriptions.clone()
    }
}
