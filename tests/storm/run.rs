//! A storm: many visits side by side through one proxy, each compared with the same visit to its backend directly.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::backend::{Scripts, Servers};
use super::judge::{Difference, Played, judge};
use super::plan::{Server, Visit};
use super::play::Play;
use super::{client, draw};

/// How many visits there are at a time.
const AT_A_TIME: usize = 8;
/// Failures of one kind that are kept, with all that was seen of them.
const SHOWN_OF_A_KIND: usize = 1;
/// How often a failure is played again while it is made simpler, and how long that may take.
const TRIES: usize = 60;
const TRIES_WITHIN: Duration = Duration::from_secs(20);
/// How often a simpler version is played before it counts as one that does not fail.
const REPEATS: usize = 3;

/// What visits are played on.
#[derive(Clone)]
pub struct Ground {
    pub proxy: SocketAddr,
    pub servers: Arc<Servers>,
    pub scripts: Scripts,
}

/// A visit that was not as it should be.
pub struct Failure {
    pub number: u64,
    pub seed: u64,
    pub visit: Arc<Visit>,
    pub difference: Difference,
    pub transcript: String,
}

/// What came of all visits.
#[derive(Default)]
pub struct Tally {
    pub visits: u64,
    pub exchanges: usize,
    by_server: BTreeMap<Server, usize>,
    /// How often each reason for a difference was met.
    allowed: BTreeMap<&'static str, usize>,
    /// How often each kind of failure was seen.
    pub failures: BTreeMap<&'static str, usize>,
    shown: Vec<Failure>,
}

/// Plays visits until `exchanges` requests were made.
pub async fn storm(ground: &Ground, seed: u64, exchanges: usize) -> Tally {
    let (next, tally) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Tally::default())));
    let mut workers = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (ground, next, tally) = (ground.clone(), Arc::clone(&next), Arc::clone(&tally));
        workers.spawn(async move {
            while tally.lock().unwrap_or_else(PoisonError::into_inner).exchanges < exchanges {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let visit = Arc::new(draw::visit(seed, number));
                let failure = both_ways(&ground, seed, number, &visit).await;
                tally.lock().unwrap_or_else(PoisonError::into_inner).count(&visit, failure);
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    std::mem::take(&mut tally.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Tally {
    fn count(&mut self, visit: &Visit, judged: Result<Vec<&'static str>, Failure>) {
        self.visits += 1;
        self.exchanges += visit.exchanges.len();
        *self.by_server.entry(visit.server).or_default() += visit.exchanges.len();
        let failure = match judged {
            Ok(allowed) => return allowed.into_iter().for_each(|why| *self.allowed.entry(why).or_default() += 1),
            Err(failure) => failure,
        };
        let seen = self.failures.entry(failure.difference.kind).or_default();
        *seen += 1;
        if *seen <= SHOWN_OF_A_KIND {
            self.shown.push(failure);
        }
    }

    pub fn summary(&self) -> String {
        let each: Vec<_> = self.by_server.iter().map(|(server, count)| format!("{server:?} {count}")).collect();
        let allowed: String = self.allowed.iter().map(|(why, count)| format!("\n  {count} times: {why}")).collect();
        format!("{} visits, {} requests ({}){allowed}\n", self.visits, self.exchanges, each.join(", "))
    }

    /// What failed, by kind, with all that was seen of one of each.
    pub fn report(&self) -> String {
        let mut report = String::new();
        for (kind, count) in &self.failures {
            writeln!(report, "{count:>5} visits: {kind}").unwrap();
        }
        for Failure { number, seed, visit, difference, transcript } in &self.shown {
            let Difference { kind, exchange, detail } = difference;
            writeln!(report, "\n== {kind}: STORM_SEED={seed} STORM_VISIT={number}, exchange {exchange}: {detail}")
                .unwrap();
            writeln!(report, "  drawn: {visit:?}\n{transcript}").unwrap();
        }
        report
    }

    /// For each kind of failure the simplest visit that still fails so.
    pub async fn simplest(&self, ground: &Ground) -> String {
        let mut report = String::new();
        for failure in &self.shown {
            let smallest = simplest(ground, failure).await;
            writeln!(report, "smallest, {}: {smallest:?}", failure.difference.kind).unwrap();
        }
        report
    }
}

/// Plays a visit directly and through the proxy.
pub async fn both_ways(
    ground: &Ground,
    seed: u64,
    number: u64,
    visit: &Arc<Visit>,
) -> Result<Vec<&'static str>, Failure> {
    let own = seed.wrapping_mul(31).wrapping_add(number);
    let direct = match visit.server {
        Server::Unknown => None,
        server => Some(played(ground, visit, own, ground.servers.address(server), true).await),
    };
    let proxied = played(ground, visit, own, ground.proxy, false).await;
    let directly = direct.as_ref().map(|(play, got)| Played { play, got });
    let through = Played { play: &proxied.0, got: &proxied.1 };
    judge(directly.as_ref(), &through).map_err(|difference| {
        let direct = direct.as_ref().map(|(play, _)| play.log.text()).unwrap_or_default();
        let transcript = format!("  directly:\n    {direct}\n  proxied:\n    {}", proxied.0.log.text());
        Failure { number, seed, visit: Arc::clone(visit), difference, transcript }
    })
}

async fn played(
    ground: &Ground,
    visit: &Arc<Visit>,
    seed: u64,
    address: SocketAddr,
    directly: bool,
) -> (Arc<Play>, Vec<super::play::Got>) {
    let play = Arc::new(Play::new(visit, seed));
    let key = ground.scripts.plays.enter(&play);
    let got = client::visit(&play, key, address, directly).await;
    for step in &play.steps {
        step.settled().await;
    }
    ground.scripts.plays.leave(key);
    (play, got)
}

/// The simplest visit that fails in the same way, as far as a few tries find it.
async fn simplest(ground: &Ground, failure: &Failure) -> Visit {
    let (until, mut tries) = (Instant::now() + TRIES_WITHIN, TRIES);
    let mut found = Visit::clone(&failure.visit);
    'simpler: loop {
        for candidate in found.simpler() {
            let visit = Arc::new(candidate);
            for _ in 0..REPEATS {
                if tries == 0 || Instant::now() > until {
                    return found;
                }
                tries -= 1;
                let again = both_ways(ground, failure.seed, failure.number, &visit).await;
                if again.is_err_and(|again| again.difference.kind == failure.difference.kind) {
                    found = Visit::clone(&visit);
                    continue 'simpler;
                }
            }
        }
        return found;
    }
}
