//! The load: a closed loop of connections, each of which asks again when it has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::client::Client;
use crate::stats::Sample;
use crate::traffic::now_nanos;

/// How much is asked for.
#[derive(Clone)]
pub struct Load {
    /// How many connections, each with one request at a time.
    pub connections: usize,
    /// What each of them asks.
    pub request: Arc<[u8]>,
    /// The most requests in all.
    pub requests: usize,
    /// No request begins later than this.
    pub time: Duration,
    /// How many events an answer must have.
    pub events: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers that were right.
    pub answers: usize,
    /// Events of those answers.
    pub events: usize,
    /// Requests without a right answer.
    pub errors: usize,
    /// What was wrong with the first of them.
    pub first_error: Option<String>,
    /// From the beginning of the first to the end of the last.
    pub elapsed: Duration,
    /// Microseconds from each request to the end of its answer.
    pub latency: Sample,
    /// Microseconds from each request to its first event.
    pub first: Sample,
    /// Microseconds from the backend's write of an event to the load's read of it.
    pub delay: Sample,
}

impl Outcome {
    fn join(&mut self, other: Self) {
        self.answers += other.answers;
        self.events += other.events;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latency.join(other.latency);
        self.first.join(other.first);
        self.delay.join(other.delay);
    }

    fn failed(&mut self, why: String) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
    }
}

impl Load {
    /// Runs it against a port, on new connections. `read` is called for each event.
    ///
    /// # Errors
    /// The load itself failed, not what it measures.
    pub async fn run(&self, port: u16, read: impl Fn() + Clone + Send + Sync + 'static) -> Result<Outcome, Failure> {
        let clients = (0..self.connections).map(|_| Client::new(port)).collect();
        Ok(self.run_on(clients, read).await?.0)
    }

    /// Runs it on these connections, and gives them back.
    ///
    /// # Errors
    /// The load itself failed.
    pub async fn run_on(
        &self,
        clients: Vec<Client>,
        read: impl Fn() + Clone + Send + Sync + 'static,
    ) -> Result<(Outcome, Vec<Client>), Failure> {
        let left = Arc::new(AtomicUsize::new(self.requests));
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for client in clients {
            running.spawn(self.clone().one(client, Arc::clone(&left), begun, read.clone()));
        }
        let (mut all, mut clients) = (Outcome::default(), Vec::new());
        while let Some(joined) = running.join_next().await {
            let (outcome, client) = joined?;
            all.join(outcome);
            clients.push(client);
        }
        all.elapsed = begun.elapsed();
        Ok((all, clients))
    }

    async fn one(
        self,
        mut client: Client,
        left: Arc<AtomicUsize>,
        begun: Instant,
        read: impl Fn() + Sync,
    ) -> (Outcome, Client) {
        let mut outcome = Outcome::default();
        let take = |left: usize| left.checked_sub(1);
        while begun.elapsed() < self.time && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let asked = Instant::now();
            let mut events = 0;
            let delay = &mut outcome.delay;
            let answered = client.exchange(&self.request, |sent| {
                delay.push(now_nanos().saturating_sub(sent) as f64 / 1e3);
                events += 1;
                read();
                true
            });
            match answered.await {
                Ok(answer) if answer.status == 200 && events == self.events => {
                    outcome.answers += 1;
                    outcome.events += events;
                    outcome.latency.push(asked.elapsed().as_secs_f64() * 1e6);
                    outcome.first.push(answer.first.as_secs_f64() * 1e6);
                }
                Ok(answer) => outcome.failed(format!("status {} with {events} events", answer.status)),
                Err(error) => outcome.failed(error.to_string()),
            }
        }
        (outcome, client)
    }
}

/// Opens streams that stay open and waits for the first event of each. They end when the clients are dropped.
pub async fn hold_open(port: u16, requests: &[Vec<u8>], count: usize) -> (Vec<Client>, usize) {
    /// How many are on their way at a time: more than a listener's queue holds would only be sent again.
    const AT_A_TIME: usize = 64;
    let (mut open, mut errors) = (Vec::with_capacity(count), 0);
    let mut opening = JoinSet::new();
    let mut started = 0;
    loop {
        while started < count && opening.len() < AT_A_TIME {
            let request = requests.get(started % requests.len().max(1)).cloned().unwrap_or_default();
            opening.spawn(async move {
                let mut client = Client::new(port);
                let answered = client.exchange(&request, |_| false).await;
                (client, answered.is_ok_and(|answer| answer.status == 200 && !answer.whole))
            });
            started += 1;
        }
        match opening.join_next().await {
            None => return (open, errors),
            Some(Ok((client, true))) => open.push(client),
            Some(_) => errors += 1,
        }
    }
}
