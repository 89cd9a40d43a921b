//! Very many of everything at once: open streams, readers that stall, slow uploads, silent connections. Health is
//! answered all the while, and everything is given back at the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod backend;
mod crowd;
mod health;

use std::time::{Duration, Instant};

use crowd::{Crowd, Ends};
use health::Health;
use support::not_run;
use support::proxy_process::ProxyProcess;
use support::raw_backend::Signal;

/// How many of everything, and how quickly `/healthz` has to be answered meanwhile.
struct Size {
    streams: usize,
    stalled: usize,
    uploads: usize,
    silent: usize,
    health_within: Duration,
}

/// What `make scale` runs, on the release binary.
const WHOLE: Size =
    Size { streams: 5000, stalled: 1000, uploads: 200, silent: 10_000, health_within: Duration::from_secs(2) };
/// What runs with the other tests, which may be many at a time.
const TENTH: Size =
    Size { streams: 500, stalled: 100, uploads: 20, silent: 1000, health_within: Duration::from_secs(4) };

/// What each may cost in memory, in KiB: the bounds of rule 16, and one for uploads.
const STREAM_KIB: i64 = 40;
const STALLED_KIB: i64 = 64;
const UPLOAD_KIB: i64 = 128;
const SILENT_KIB: i64 = 16;
/// How many crowds come one after the other, sooner than the allocator gives back what one has left.
const CROWDS: usize = 3;
/// How many descriptors proxy and clients each need besides two for each client.
const SPARE_DESCRIPTORS: usize = 600;
/// How many connections more than the bound are tried.
const TOO_MANY: usize = 50;
/// The longest wait for descriptors to be given back. Silent connections are closed 10 s after they came.
const GIVEN_BACK: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_16_a_tenth_of_five_thousand_streams_and_the_rest() {
    together(&TENTH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and most of two processors: make scale"]
async fn rule_16_five_thousand_streams_a_thousand_stalled_readers_and_two_hundred_uploads() {
    together(&WHOLE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_16_a_tenth_of_ten_thousand_silent_connections() {
    silent(&TENTH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and most of two processors: make scale"]
async fn rule_16_ten_thousand_silent_connections() {
    silent(&WHOLE).await;
}

/// Streams, stalled readers and uploads side by side, again and again.
async fn together(size: &Size) {
    let descriptors = 2 * (size.streams + size.stalled + size.uploads) + SPARE_DESCRIPTORS;
    if rlimit::increase_nofile_limit(u64::MAX).unwrap() < descriptors as u64 {
        not_run(&format!("so many streams need a limit of open files of {descriptors}: raise it (ulimit -Hn)"));
        return;
    }
    let ends = Ends::default();
    let backend = backend::start(&ends).await;
    let proxy = ProxyProcess::start(&[backend.address()], &[]).await;
    warm_up(&proxy).await;
    let (memory, descriptors) = (proxy.settled_kib().await, proxy.descriptors_at_rest().await);
    println!("at the start: {memory} KiB, {descriptors} descriptors");
    let (mut left, mut most) = (Vec::new(), 0);
    for _ in 0..CROWDS {
        let (begun, end) = (Instant::now(), ends.renew());
        let health = Health::on_new_connections(proxy.address);
        let mut crowd = Crowd::before(proxy.address);
        most = most.max(gather(&proxy, &mut crowd, size, &end).await - memory);
        end.give();
        crowd.leave().await;
        health.end(size.health_within);
        given_back(&proxy, descriptors).await;
        left.push(proxy.settled_kib().await - memory);
        println!("at most {most} KiB were taken, {left:?} were left; {:?} in all", begun.elapsed());
    }
    if cfg!(feature = "jemalloc") {
        let begun = Instant::now();
        let keeps = proxy.gives_back(memory, most).await;
        println!("{keeps} KiB are kept {:?} after the last crowd", begun.elapsed());
    }
}

/// Lets the crowd come, kind by kind, and answers the memory with all of it there.
async fn gather(proxy: &ProxyProcess, crowd: &mut Crowd, size: &Size, end: &Signal) -> i64 {
    let mut seen = Seen::of(proxy).await;
    crowd.open_streams(size.streams).await;
    seen = seen.each("open streams", size.streams, STREAM_KIB).await;
    crowd.stall(size.stalled).await;
    seen = seen.each("stalled readers", size.stalled, STALLED_KIB).await;
    crowd.upload_slowly(size.uploads, end).await;
    seen.each("slow uploads", size.uploads, UPLOAD_KIB).await.memory
}

/// As many connections as there may be, which never say a word; and some more.
async fn silent(size: &Size) {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let backend = backend::start(&Ends::default()).await;
    // One more, for the connection on which health is asked.
    let most = (size.silent + 1).to_string();
    let proxy = ProxyProcess::start(&[backend.address()], &[("PROXY_MAX_CONNECTIONS", &*most)]).await;
    warm_up(&proxy).await;
    let descriptors = proxy.descriptors_at_rest().await;
    let seen = Seen::of(&proxy).await;
    let memory = seen.memory;
    let health = Health::on_one_connection(proxy.address);
    let at_most = bound(&proxy);
    let (held, begun) = (at_most - 1, Instant::now());
    let mut crowd = Crowd::before(proxy.address);
    crowd.say_nothing(held).await;
    let opened = begun.elapsed();
    let told = crowd.told_503(TOO_MANY).await;
    println!(
        "silent connections: {} wanted, {held} fit and were opened in {opened:?}; of {TOO_MANY} more {told} were told 503",
        size.silent
    );
    assert_eq!(told, TOO_MANY);
    seen.each("silent connections", held, SILENT_KIB).await;
    crowd.are_closed(GIVEN_BACK).await;
    println!("all were closed {:?} after the first came", begun.elapsed());
    health.end(size.health_within);
    given_back(&proxy, descriptors).await;
    println!("{} KiB are left", proxy.settled_kib().await - memory);
}

/// How many connections there may be, as the proxy says at its start.
fn bound(proxy: &ProxyProcess) -> usize {
    let output = proxy.output();
    let mut lines = output.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let bound = lines.find_map(|line| line["at_most"].as_u64()).expect("a line that says how many there may be");
    usize::try_from(bound).unwrap()
}

/// A few of everything.
async fn warm_up(proxy: &ProxyProcess) {
    let end = Signal::new();
    let mut crowd = Crowd::before(proxy.address);
    crowd.upload_slowly(20, &end).await;
    end.give();
    crowd.leave().await;
}

/// Waits until every descriptor that was taken is free again.
async fn given_back(proxy: &ProxyProcess, descriptors: usize) {
    let until = Instant::now() + GIVEN_BACK;
    while proxy.descriptors() != descriptors {
        assert!(Instant::now() < until, "{} descriptors, {descriptors} at the start", proxy.descriptors());
        proxy.tick().await;
    }
}

/// The process as it was before something was added.
struct Seen<'a> {
    proxy: &'a ProxyProcess,
    memory: i64,
}

impl<'a> Seen<'a> {
    async fn of(proxy: &'a ProxyProcess) -> Self {
        Self { proxy, memory: proxy.settled_kib().await }
    }

    /// Says what each of those that were added costs.
    async fn each(self, what: &str, count: usize, most: i64) -> Self {
        let now = Self::of(self.proxy).await;
        let each = (now.memory - self.memory) / i64::try_from(count).unwrap();
        println!(
            "{what}: {count}, {each} KiB each (at most {most}); {} KiB, {} descriptors in all",
            now.memory,
            self.proxy.descriptors()
        );
        assert!(each <= most, "{what}: {each} KiB each");
        now
    }
}
