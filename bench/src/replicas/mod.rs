//! How replicas share requests: our policies, sglang-router's, an oracle and plain turns, with the same traffic.

mod cache;
mod drive;
mod kinds;
mod member;
mod oracle;
mod routers;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kinds::{Conversation, Kind};
use member::Members;
use routers::{Router, Started};

use crate::machine::{self, Cores};
use crate::peers::Peer;
use crate::{Asked, Failure, report};

/// No round begins later than this.
const RUN_MAX: Duration = Duration::from_secs(9 * 60);
/// A short run sends one in so many requests.
const SHORT_PART: usize = 4;
/// The kinds of traffic of a short run where none is named.
const SHORT_KINDS: [Kind; 3] = [Kind::Tenants, Kind::Chats, Kind::NoReuse];
/// How many members there are where no number is named.
const MEMBERS: usize = 8;

/// What a router did with the traffic of one round.
struct Figures {
    /// The part of the prompts' blocks that was cached.
    hits: f64,
    /// The mean time to the first event, in milliseconds.
    mean: f64,
    /// The time within which 95 of 100 requests had their first event, in milliseconds.
    p95: f64,
    /// The requests of the busiest member over their mean.
    busiest: f64,
    errors: usize,
}

/// A place in the table: how many members, and which traffic.
type Place = (usize, Kind);

/// What was found out: by place, a map of what each router did for each seed.
struct Findings {
    rounds: BTreeMap<Place, Vec<BTreeMap<Router, Figures>>>,
    missing: Vec<Peer>,
    versions: Vec<String>,
    seeds: Vec<u64>,
    machine: String,
    troubles: Vec<String>,
    /// Whether there was no time for all of it.
    broken_off: bool,
}

/// Runs all of it, prints the tables and, if that was asked for, writes them down.
///
/// # Errors
/// Something that is not the subject of the measurement failed.
pub fn replicas(asked: &Asked) -> Result<(), Failure> {
    let kinds = chosen_kinds(asked)?;
    let counts = if asked.members.is_empty() { vec![MEMBERS] } else { asked.members.clone() };
    if let Some(count) = counts.iter().find(|count| !(2..=64).contains(*count)) {
        return Err(format!("{count} members are too few or too many; 2 to 64").into());
    }
    let load = machine::load_average();
    let cores = machine::pin()?;
    let seeds = (0..asked.seeds.unwrap_or(if asked.short { 1 } else { 3 })).map(|more| asked.seed + more);
    let mut findings = Findings {
        rounds: BTreeMap::new(),
        missing: Vec::new(),
        versions: Vec::new(),
        seeds: seeds.collect(),
        machine: format!("{}; load average before the run {load:.1}", machine::description(cores.count)),
        troubles: Vec::new(),
        broken_off: false,
    };
    let routers = chosen_routers(asked, &mut findings);
    let dir = std::env::temp_dir().join(format!("lw-inference-proxy-replicas-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = Bench { asked, routers, cores, dir };
    let ran = runtime.block_on(bench.run(&counts, &kinds, &mut findings));
    fs::remove_dir_all(&bench.dir)?;
    ran?;
    let section = table::section(&findings);
    println!("{section}");
    if asked.write {
        report::write(Path::new("BENCHMARKS.md"), table::TARGET, &section)?;
    }
    Ok(())
}

fn chosen_kinds(asked: &Asked) -> Result<Vec<Kind>, Failure> {
    let is_known = |name: &&String| kinds::ALL.iter().any(|kind| kind.name() == **name);
    if let Some(unknown) = asked.kinds.iter().find(|name| !is_known(name)) {
        let known = kinds::ALL.map(Kind::name).join(", ");
        return Err(format!("unknown kind of traffic {unknown:?}; there are {known}").into());
    }
    let is_chosen = |kind: &Kind| match asked.kinds.is_empty() {
        true => !asked.short || SHORT_KINDS.contains(kind),
        false => asked.kinds.iter().any(|name| name == kind.name()),
    };
    Ok(kinds::ALL.into_iter().filter(is_chosen).collect())
}

/// The oracle is always there: it is what the others are compared with.
fn chosen_routers(asked: &Asked, findings: &mut Findings) -> Vec<Router> {
    for peer in [Peer::Ours, Peer::Sglang] {
        match peer.version(asked) {
            Some(version) => findings.versions.push(format!("{} {version}", peer.name())),
            None => findings.missing.push(peer),
        }
    }
    let is_there = |router: &Router| match router {
        Router::Beside => asked.beside.is_some(),
        router if router.is_sglang() => !findings.missing.contains(&Peer::Sglang),
        _ => true,
    };
    let is_chosen = |router: &Router| {
        asked.only.is_empty() || *router == Router::Oracle || asked.only.iter().any(|name| router.name() == name)
    };
    routers::ALL.into_iter().filter(is_there).filter(is_chosen).collect()
}

struct Bench<'a> {
    asked: &'a Asked,
    routers: Vec<Router>,
    cores: Cores,
    dir: PathBuf,
}

impl Bench<'_> {
    async fn run(&self, counts: &[usize], kinds: &[Kind], findings: &mut Findings) -> Result<(), Failure> {
        let begun = Instant::now();
        let pools = counts.iter().map(|count| Members::start(*count)).collect::<std::io::Result<Vec<_>>>()?;
        let seeds = findings.seeds.clone();
        // One seed after the other, so that a run that is broken off has fewer seeds rather than fewer kinds.
        for (number, seed) in seeds.into_iter().enumerate() {
            for (members, kind) in pools.iter().flat_map(|pool| kinds.iter().map(move |kind| (pool, *kind))) {
                if begun.elapsed() > RUN_MAX {
                    findings.broken_off = true;
                    return Ok(());
                }
                let count = members.ports().len();
                let round = self.round(members, kind, seed, number, findings).await?;
                findings.rounds.entry((count, kind)).or_default().push(round);
                let seconds = begun.elapsed().as_secs();
                eprintln!("bench: {} with {count} members, seed {seed}: done after {seconds} s", kind.name());
            }
        }
        Ok(())
    }

    /// All routers with the same traffic, each fresh, with empty members, one after the other.
    async fn round(
        &self,
        members: &Members,
        kind: Kind,
        seed: u64,
        number: usize,
        findings: &mut Findings,
    ) -> Result<BTreeMap<Router, Figures>, Failure> {
        let requests = kind.requests() / if self.asked.short { SHORT_PART } else { 1 };
        let conversations: Arc<[Conversation]> = kind.conversations(seed, requests).into();
        let plan = oracle::plan(&conversations, members.ports().len());
        let mut started = Vec::new();
        for router in &self.routers {
            started.push(router.start(self.asked, members.ports(), self.cores.proxy, &self.dir)?);
        }
        members.empty(0);
        for router in &mut started {
            router.wait_until_it_routes(&self.dir).await?;
        }
        let places = started.len().max(1);
        started.rotate_left(number % places);
        let mut round = BTreeMap::new();
        for Started { router, .. } in &started {
            let Some(running) = started.iter().find(|one| one.router == *router) else { continue };
            members.empty(plan.block_nanos);
            let seen = drive::drive(&conversations, running.ports(&plan, &conversations, seed)).await?;
            if let Some(first) = &seen.first_error {
                findings.troubles.push(format!(
                    "{}, {}: {} errors, first: {first}",
                    router.name(),
                    kind.name(),
                    seen.errors
                ));
            }
            round.insert(*router, Figures::of(&seen, members));
        }
        Ok(round)
    }
}

impl Figures {
    fn of(seen: &drive::Seen, members: &Members) -> Self {
        let served = members.served();
        let sum = |of: fn(&member::Served) -> u64| served.iter().map(of).sum::<u64>() as f64;
        let most = served.iter().map(|one| one.requests).max().unwrap_or(0) as f64;
        Self {
            hits: sum(|one| one.hits) / sum(|one| one.blocks).max(1.0),
            mean: seen.first.mean().unwrap_or(f64::NAN),
            p95: seen.first.quantile(0.95).unwrap_or(f64::NAN),
            busiest: most * served.len() as f64 / sum(|one| one.requests).max(1.0),
            errors: seen.errors,
        }
    }
}

/// Spreads the bits of a number (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Numbers from a seed.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 up to, but not, 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.unit() * end as f64) as usize
    }

    fn between(&mut self, (least, most): (usize, usize)) -> usize {
        least + self.below(most - least + 1)
    }

    /// A rank from 0 by Zipf's law with exponent 1.
    fn zipf(&mut self, ranks: usize) -> usize {
        let sum: f64 = (1..=ranks).map(|rank| 1.0 / rank as f64).sum();
        let mut left = self.unit() * sum;
        let after = |rank: &usize| {
            left -= 1.0 / (*rank as f64 + 1.0);
            left < 0.0
        };
        (0..ranks).find(after).unwrap_or(0)
    }

    /// Letters, which JSON leaves as they are.
    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            let bits = self.next();
            text.extend((0..16).map(|at| char::from(b'a' + (bits >> (4 * at) & 15) as u8)));
        }
        text.truncate(bytes);
        text
    }
}
