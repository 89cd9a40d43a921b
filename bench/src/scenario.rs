//! What is measured of a running proxy, one way of use at a time.

use std::sync::Arc;
use std::time::Duration;

use crate::Failure;
use crate::backend::{Answers, Backends};
use crate::client::Client;
use crate::load::{Load, Outcome, hold_open};
use crate::peers::Running;
use crate::traffic::{MODELS, ModelStands, request};

/// One way of use whose cost is measured in rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// 32 connections, small questions, small answers.
    Small,
    /// 32 streams at a time of 500 events, as fast as they go.
    ZeroGap,
    /// 256 streams at a time, an event every 20 ms.
    Paced,
    /// Bodies of 1 MB that begin with the model.
    ModelFirst,
    /// Bodies of 1 MB that end with the model.
    ModelLast,
}

/// All of them.
pub const ALL: [Scenario; 5] =
    [Scenario::Small, Scenario::ZeroGap, Scenario::Paced, Scenario::ModelFirst, Scenario::ModelLast];

/// How many connections ask small questions at a time.
pub const CONNECTIONS: usize = 32;
/// The events of one stream without gaps.
const EVENTS: usize = 500;
/// Streams at a time that are paced.
const PACED_STREAMS: usize = 256;
/// The time between their events.
const PACE: Duration = Duration::from_millis(20);
/// How long inference servers keep an idle connection (uvicorn's default).
const BACKEND_CLOSES_AFTER: Duration = Duration::from_secs(5);
/// A little longer.
const PAUSE: Duration = Duration::from_secs(6);
/// The time after which memory is read: what is freed at once should be gone.
const SETTLE: Duration = Duration::from_millis(500);

/// What one round gave.
#[derive(Debug)]
pub struct Measured {
    /// Processor time of the proxy for one request or event, in microseconds.
    pub cpu_micros: Option<f64>,
    /// Requests or events in a second.
    pub rate: f64,
    /// The rest.
    pub outcome: Outcome,
}

impl Scenario {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::ZeroGap => "zero-gap",
            Self::Paced => "paced",
            Self::ModelFirst => "model-first",
            Self::ModelLast => "model-last",
        }
    }

    /// Whether its unit is the event rather than the request.
    pub fn counts_events(self) -> bool {
        matches!(self, Self::ZeroGap | Self::Paced)
    }

    fn load(self, time: Duration) -> (Answers, Load) {
        let load = |connections, size, stands, events: usize| Load {
            connections,
            request: Arc::from(request(MODELS[0], stands, size, events > 0)),
            requests: usize::MAX,
            time,
            events,
        };
        match self {
            Self::Small => (Answers::Json, load(CONNECTIONS, 150, ModelStands::First, 0)),
            Self::ZeroGap => {
                let answers = Answers::Events { count: EVENTS, gap: Duration::ZERO };
                (answers, load(CONNECTIONS, 150, ModelStands::First, EVENTS))
            }
            Self::Paced => {
                let count = usize::try_from(time.as_millis() / PACE.as_millis()).unwrap_or(1).max(1);
                let load = Load { requests: PACED_STREAMS, ..load(PACED_STREAMS, 150, ModelStands::First, count) };
                (Answers::Events { count, gap: PACE }, load)
            }
            Self::ModelFirst => (Answers::Json, load(4, 1 << 20, ModelStands::First, 0)),
            Self::ModelLast => (Answers::Json, load(4, 1 << 20, ModelStands::Last, 0)),
        }
    }

    /// Measures one round.
    ///
    /// # Errors
    /// The load failed.
    pub async fn measure(self, running: &Running, backends: &Backends, time: Duration) -> Result<Measured, Failure> {
        let (answers, load) = self.load(time);
        backends.answer(answers);
        let before = running.process.as_ref().map(|process| process.cpu_micros());
        let outcome = load.run(running.port, || ()).await?;
        let after = running.process.as_ref().map(|process| process.cpu_micros());
        let units = if self.counts_events() { outcome.events } else { outcome.answers };
        let spent = before.zip(after).map(|(before, after)| (after - before) / units as f64);
        let cpu_micros = spent.filter(|_| units > 0);
        Ok(Measured { cpu_micros, rate: units as f64 / outcome.elapsed.as_secs_f64(), outcome })
    }
}

/// What a proxy holds in memory, in kB.
#[derive(Debug, Default)]
pub struct Memory {
    /// Before anything was asked but whether it routes.
    pub at_rest: u64,
    /// For each number of open streams, how much each of them takes.
    pub per_stream: Vec<(usize, f64)>,
    /// Streams that could not be opened.
    pub errors: usize,
}

/// Opens more and more streams that stay open.
pub async fn memory(running: &Running, backends: &Backends, steps: &[usize]) -> Memory {
    let Some(process) = &running.process else { return Memory::default() };
    tokio::time::sleep(SETTLE).await;
    let mut memory = Memory { at_rest: process.resident_kb(), ..Memory::default() };
    backends.answer(Answers::Held);
    // Half of them to each model: no backend is asked for more than a proxy may open to one.
    let requests = MODELS.map(|model| request(model, ModelStands::First, 150, true));
    let mut open: Vec<Client> = Vec::new();
    for step in steps {
        let (more, errors) = hold_open(running.port, &requests, step.saturating_sub(open.len())).await;
        open.extend(more);
        memory.errors += errors;
        tokio::time::sleep(SETTLE).await;
        let grown = process.resident_kb().saturating_sub(memory.at_rest);
        memory.per_stream.push((*step, grown as f64 / open.len().max(1) as f64));
    }
    backends.answer(Answers::Json);
    memory
}

/// By how many kB the peak grows while bodies of 20 MB pass, and what went wrong.
///
/// # Errors
/// The load failed.
pub async fn growth(running: &Running, backends: &Backends, stands: ModelStands) -> Result<(u64, Outcome), Failure> {
    let Some(process) = &running.process else { return Ok((0, Outcome::default())) };
    backends.answer(Answers::Json);
    let load = Load {
        connections: 1,
        request: Arc::from(request(MODELS[0], stands, 20 << 20, false)),
        requests: 3,
        time: Duration::from_secs(30),
        events: 0,
    };
    process.forget_peak();
    let before = process.resident_kb();
    let outcome = load.run(running.port, || ()).await?;
    Ok((process.peak_kb().saturating_sub(before), outcome))
}

/// Asks, pauses for longer than the backend keeps idle connections, and asks again: what went wrong then.
///
/// # Errors
/// The load failed.
pub async fn after_a_pause(running: &Running, backends: &Backends) -> Result<Outcome, Failure> {
    backends.answer(Answers::Json);
    backends.close_idle_after(Some(BACKEND_CLOSES_AFTER));
    let load = Load { requests: 8 * CONNECTIONS, ..Scenario::Small.load(PAUSE).1 };
    let clients = (0..CONNECTIONS).map(|_| Client::new(running.port)).collect();
    let (_, clients) = load.run_on(clients, || ()).await?;
    tokio::time::sleep(PAUSE).await;
    let (outcome, _) = load.run_on(clients, || ()).await?;
    backends.close_idle_after(None);
    Ok(outcome)
}
