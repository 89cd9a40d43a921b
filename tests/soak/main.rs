//! A day in short: steady traffic of every kind while backends come and go. At the end, memory, descriptors and threads
//! are where they were, nothing is in flight, and no request failed that should not have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/fake_engine/mod.rs"]
mod fake_engine;
#[path = "../support/mod.rs"]
mod support;

mod server;
mod town;
mod traffic;

use std::time::{Duration, Instant};

use server::Server;
use support::proxy_process::ProxyProcess;
use support::raw_backend::{RawBackend, Signal};
use town::Town;
use traffic::{Tally, Traffic};

/// How long the long form runs where `SOAK_SECONDS` says nothing.
const DEFAULT_SECONDS: u64 = 600;
/// How often the long form prints a line.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// How much more memory there may be at the end than after the warm-up, in KiB. The allocator takes what it keeps within
/// the first minutes; a leak of 100 bytes a request would be 6 MiB after ten more.
const GROWTH_KIB: i64 = 3 << 10;

/// How long the process is looked at when it is quiet: longer than from one question to the backends to the next.
const LOOKED_AT: Duration = Duration::from_millis(1600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_29_a_short_soak_ends_where_it_began() {
    soak(Duration::from_secs(4), Duration::from_secs(7), Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes: make soak"]
async fn rule_29_a_soak_ends_where_it_began() {
    let seconds =
        variable("SOAK_SECONDS").map_or(DEFAULT_SECONDS, |text| text.parse().expect("SOAK_SECONDS: a number"));
    let time = Duration::from_secs(seconds);
    soak((time / 5).min(Duration::from_secs(120)), time, LINE_EVERY).await;
}

#[allow(clippy::disallowed_methods, reason = "how the test is run is not a setting of the proxy")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn soak(warm_up: Duration, time: Duration, line_every: Duration) {
    let (still, town, collector) = (Server::start(&["m"]).await, Town::build().await, collector().await);
    let engine = format!("unix://{}", town.socket().display());
    let collector_at = format!("http://{}", collector.address());
    let mut environment = vec![("PROXY_DOCKER", "on"), ("DOCKER_HOST", &*engine), ("PROXY_MODELS_REFRESH", "1s")];
    environment.push(("RUST_LOG", "error"));
    if variable("SOAK_TELEMETRY").is_some() {
        environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector_at));
    }
    let proxy = ProxyProcess::start(&[still.address()], &environment).await;
    town.all_serve(proxy.address).await;
    println!("{HEADING}");
    Sample::of(&proxy).await.print("start", &Tally::default());
    let (town, warm) = phase(&proxy, town, warm_up, warm_up).await;
    let before = quiet(&proxy).await;
    before.print("warm", &warm);
    let (town, tally) = phase(&proxy, town, time, line_every).await;
    let after = quiet(&proxy).await;
    after.print("end", &tally);
    println!("{} acts of containers and of the engine; {} requests by how they ended:", town.acts, tally.requests);
    for (end, count) in &tally.ends {
        println!("  {count:>7} {end}");
    }
    judge(&before, &after, &[warm, tally]);
}

/// What may be left at the end.
fn judge(before: &Sample, after: &Sample, tallies: &[Tally]) {
    let failures: Vec<_> = tallies.iter().flat_map(|tally| &tally.first_failures).collect();
    assert!(failures.is_empty(), "requests failed that should not have: {failures:#?}");
    assert_eq!(after.in_flight, 0, "something is still in flight");
    assert_eq!((after.descriptors, after.sockets), (before.descriptors, before.sockets), "descriptors were kept");
    assert!(after.threads <= before.threads, "{} threads, {} before", after.threads, before.threads);
    let grown = after.memory - before.memory;
    println!("memory: {grown:+} KiB since the warm-up (at most {GROWTH_KIB})");
    assert!(grown <= GROWTH_KIB, "memory grew by {grown} KiB");
}

/// Traffic, and a life for the containers, for so long.
async fn phase(proxy: &ProxyProcess, town: Town, time: Duration, line_every: Duration) -> (Town, Tally) {
    let over = Signal::new();
    let living = tokio::spawn(town.live(proxy.address, over.clone()));
    let (traffic, begun) = (Traffic::begin(proxy.address), Instant::now());
    while begun.elapsed() + line_every < time {
        proxy.pass(line_every).await;
        Sample::of(proxy).await.print(&format!("{} s", begun.elapsed().as_secs()), &traffic.tally());
    }
    proxy.pass(time.saturating_sub(begun.elapsed())).await;
    over.give();
    // The containers first: whatever they wait for, requests go on meanwhile.
    let town = living.await.expect("the proxy sees what happens to containers");
    (town, traffic.end().await)
}

/// The process when nothing is asked of it. Backends are asked for their models all the while, so what counts is the
/// moment with the fewest descriptors.
async fn quiet(proxy: &ProxyProcess) -> Sample {
    // Connections to backends wait for a next request for 3 s.
    proxy.pass(Duration::from_millis(3200)).await;
    let (begun, mut least) = (Instant::now(), Sample::of(proxy).await);
    while begun.elapsed() < LOOKED_AT {
        proxy.tick().await;
        let now = Sample::of(proxy).await;
        if now.descriptors < least.descriptors {
            least = now;
        }
    }
    least
}

/// Takes whatever is exported.
async fn collector() -> RawBackend {
    RawBackend::start(|mut peer| async move {
        loop {
            let head = peer.head_unrecorded().await?;
            peer.body(&head).await?;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        }
    })
    .await
}

const HEADING: &str = "     time  memory KiB  descriptors  sockets  threads  in flight  requests  failed";

/// The process at one moment.
struct Sample {
    memory: i64,
    descriptors: usize,
    sockets: usize,
    threads: usize,
    in_flight: u64,
}

impl Sample {
    async fn of(proxy: &ProxyProcess) -> Self {
        let status = town::status(proxy.address).await;
        let containers = status["containers"].as_array().expect("containers");
        let folder = format!("/proc/{}", proxy.pid());
        let entries = |name: &str| std::fs::read_dir(format!("{folder}/{name}")).unwrap().filter_map(Result::ok);
        let targets = entries("fd").filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let targets: Vec<_> = targets.map(|target| target.display().to_string()).collect();
        Self {
            memory: proxy.memory_kib(),
            descriptors: targets.len(),
            sockets: targets.iter().filter(|target| target.starts_with("socket:")).count(),
            threads: entries("task").count(),
            in_flight: containers.iter().filter_map(|line| line["in_flight"].as_u64()).sum(),
        }
    }

    fn print(&self, when: &str, tally: &Tally) {
        println!(
            "{when:>9}  {:>10}  {:>11}  {:>7}  {:>7}  {:>9}  {:>8}  {:>6}",
            self.memory, self.descriptors, self.sockets, self.threads, self.in_flight, tally.requests, tally.failures
        );
    }
}
