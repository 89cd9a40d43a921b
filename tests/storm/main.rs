//! Many requests of every shape on the wire, drawn from a seed: what comes through the proxy is what comes from the backend
//! itself, nothing waits for ever, and nothing is left behind. `STORM_SEED=N` plays a storm again, and with
//! `STORM_VISIT=N` one visit of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod backend;
mod bytes;
mod client;
mod draw;
mod judge;
mod lasting;
mod plan;
mod play;
mod response;
mod run;
mod tunnel;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::{Scripts, Servers};
use plan::Server;
use run::{Ground, storm};
use support::proxy_process::ProxyProcess;
use support::raw_client::get;

/// How many requests the short form makes, and the long one where `STORM_REQUESTS` says nothing.
const SHORT: usize = 400;
const LONG: usize = 20_000;
/// Requests of a warm-up, after which memory is measured.
const WARM_UP: usize = 100;
/// How much more memory there may be at the end than after the warm-up, in KiB.
const GROWTH_KIB: i64 = 24 << 10;
/// How soon nothing is in flight once the last visit is over.
const CALM_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_storm_changes_nothing_and_leaves_nothing_behind() {
    whole(SHORT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make storm"]
async fn a_storm_changes_nothing_and_leaves_nothing_behind() {
    whole(variable("STORM_REQUESTS").map_or(LONG, |count| usize::try_from(count).unwrap())).await;
}

/// A number that says how the test is run.
#[allow(clippy::disallowed_methods, reason = "how the test is run is not a setting of the proxy")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// A seed that nobody chose.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % 1_000_000
}

async fn whole(requests: usize) {
    let seed = variable("STORM_SEED").unwrap_or_else(fresh_seed);
    println!("STORM_SEED={seed}");
    let scripts = Scripts::default();
    let mut servers = Servers::start(&scripts).await;
    let proxy = start(&servers).await;
    servers.lose_one().await;
    let ground = Ground { proxy: proxy.address, servers: Arc::new(servers), scripts };
    if let Some(number) = variable("STORM_VISIT") {
        return one_visit(&ground, seed, number).await;
    }
    let warm = storm(&ground, seed.wrapping_add(1), WARM_UP.min(requests)).await;
    calm(&proxy).await;
    let (descriptors, memory) = (proxy.descriptors_at_rest().await, proxy.memory_kib());
    let begun = Instant::now();
    let (tally, lasting) = tokio::join!(storm(&ground, seed, requests), lasting::all(&ground, seed));
    println!("{} in {:.1} s", tally.summary(), begun.elapsed().as_secs_f64());
    lasting.iter().for_each(|wrong| println!("== {wrong}"));
    for tally in [&warm, &tally] {
        if !tally.failures.is_empty() {
            println!("{}", tally.report());
            panic!("STORM_SEED={seed}\n{}", tally.simplest(&ground).await);
        }
    }
    assert!(lasting.is_empty(), "STORM_SEED={seed}: {} of what lasts differed", lasting.len());
    calm(&proxy).await;
    let (left, grown) = (proxy.descriptors_at_rest().await, proxy.memory_kib() - memory);
    println!("descriptors: {descriptors} before, {left} after; memory: {grown:+} KiB (at most {GROWTH_KIB})");
    assert!(left <= descriptors, "STORM_SEED={seed}: {left} descriptors, {descriptors} before");
    assert!(grown <= GROWTH_KIB, "STORM_SEED={seed}: memory grew by {grown} KiB");
    assert!(!proxy.output().contains("panicked"), "STORM_SEED={seed}: {}", proxy.output());
}

/// The proxy before all of the servers, once it knows their models.
async fn start(servers: &Servers) -> ProxyProcess {
    let address = support::raw_backend::nobody();
    let proxy = ProxyProcess::spawn_at(address, &[], &servers.addresses(), &[("RUST_LOG", "warn")]);
    let paths: Vec<_> = Server::ALL.iter().map(|server| format!("/v1/models/{}", server.model())).collect();
    let paths: Vec<_> = ["/readyz"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    proxy.until_200(&paths).await
}

async fn one_visit(ground: &Ground, seed: u64, number: u64) {
    let visit = Arc::new(draw::visit(seed, number));
    println!("{visit:#?}");
    if let Err(failure) = run::both_ways(ground, seed, number, &visit).await {
        panic!("{}: {}\n{}", failure.difference.kind, failure.difference.detail, failure.transcript);
    }
}

/// Waits until nothing is in flight.
async fn calm(proxy: &ProxyProcess) {
    let begun = Instant::now();
    loop {
        let status = proxy.ask(get("/status")).await.json();
        let containers = status["containers"].as_array().expect("containers");
        let in_flight: u64 = containers.iter().filter_map(|line| line["in_flight"].as_u64()).sum();
        if in_flight == 0 {
            return;
        }
        assert!(begun.elapsed() < CALM_WITHIN, "{in_flight} requests are in flight for ever: {status:#}");
        proxy.tick().await;
    }
}
