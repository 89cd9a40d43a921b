//! Sends the requests of a run at their times, over a bounded number of connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::kinds::Conversation;
use crate::Failure;
use crate::client::Client;
use crate::stats::Sample;

/// The most connections of the load, idle ones included.
const CONNECTIONS: usize = 64;

/// What the clients saw of a run.
#[derive(Debug, Default)]
pub struct Seen {
    /// Milliseconds from the moment at which each request was due to its first event.
    pub first: Sample,
    /// Requests without a whole response.
    pub errors: usize,
    /// What was wrong with the first of them.
    pub first_error: Option<String>,
}

/// Connections to several ports.
struct Connections {
    permits: Semaphore,
    idle: Mutex<Vec<(u16, Client)>>,
}

impl Connections {
    fn take(&self, port: u16) -> Client {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().rposition(|(to, _)| *to == port) {
            Some(at) => idle.remove(at).1,
            None => {
                // With this one there are as many as there may be.
                let active = CONNECTIONS - self.permits.available_permits();
                let over = (idle.len() + active).saturating_sub(CONNECTIONS).min(idle.len());
                idle.drain(..over);
                Client::new(port)
            }
        }
    }

    fn give_back(&self, port: u16, client: Client) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((port, client));
    }
}

/// Sends every turn to the port that `port` names for its conversation and turn.
///
/// # Errors
/// The load itself failed.
pub async fn drive(
    conversations: &Arc<[Conversation]>,
    port: impl Fn(usize, usize) -> u16 + Send + Sync + 'static,
) -> Result<Seen, Failure> {
    let connections = Arc::new(Connections { permits: Semaphore::new(CONNECTIONS), idle: Mutex::new(Vec::new()) });
    let (port, seen) = (Arc::new(port), Arc::new(Mutex::new(Seen::default())));
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for index in 0..conversations.len() {
        let (all, connections) = (Arc::clone(conversations), Arc::clone(&connections));
        let (port, seen) = (Arc::clone(&port), Arc::clone(&seen));
        running.spawn(async move {
            let Some(conversation) = all.get(index) else { return };
            for turn in 0..conversation.turns.len() {
                one(conversation, turn, begun, || port(index, turn), &connections, &seen).await;
            }
        });
    }
    while let Some(joined) = running.join_next().await {
        joined?;
    }
    Ok(std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner)))
}

async fn one(
    conversation: &Conversation,
    turn: usize,
    begun: Instant,
    port: impl FnOnce() -> u16,
    connections: &Connections,
    seen: &Mutex<Seen>,
) {
    let Some(planned) = conversation.turns.get(turn) else { return };
    let due = (begun + planned.at).max(Instant::now());
    sleep_until(due).await;
    let request = conversation.request(turn);
    let Ok(permit) = connections.permits.acquire().await else { return };
    let port = port();
    let mut client = connections.take(port);
    let queued = due.elapsed();
    let mut events = 0;
    let answered = client
        .exchange(&request, |_| {
            events += 1;
            true
        })
        .await;
    connections.give_back(port, client);
    drop(permit);
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let why = match answered {
        Ok(answer) if answer.status == 200 && events == planned.events => {
            seen.first.push(millis(queued + answer.first));
            return;
        }
        Ok(answer) => format!("status {} with {events} events", answer.status),
        Err(error) => error.to_string(),
    };
    seen.errors += 1;
    seen.first_error.get_or_insert(why);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
