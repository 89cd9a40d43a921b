//! What a faulty member costs the requests of its pool. `cargo test --test http replica_faults -- --ignored --nocapture`
//! prints the figures of docs/robustness.md.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use domain::balance::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::replicas::{chat, plain, pool};
use super::support::raw_backend::{Blackhole, RawBackend, nobody};

/// How many requests run at the same time, and how many there are in each half.
const AT_ONCE: usize = 8;
const REQUESTS: usize = 200;
/// How long a healthy member takes, and a slow one.
const WORKS: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(500);
/// After how long a client gives up.
const GIVES_UP: Duration = Duration::from_secs(8);

async fn working(pause: Duration, answer: &'static str) -> RawBackend {
    RawBackend::start(move |mut peer| async move {
        loop {
            peer.request().await?;
            tokio::time::sleep(pause).await;
            peer.send(answer).await?;
        }
    })
    .await
}

/// Returns true if the response is a 200.
async fn ask(address: SocketAddr, request: String) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    connection.read_exact(&mut head).await?;
    Ok(head.ends_with(b"200"))
}

/// The share of failed requests in percent, and the median and the 95th percentile of the time that a request took.
async fn half(address: SocketAddr, offset: usize) -> String {
    let mut clients = JoinSet::new();
    for client in 0..AT_ONCE {
        clients.spawn(async move {
            let mut seen = Vec::new();
            for n in 0..REQUESTS / AT_ONCE {
                let began = Instant::now();
                let request = chat("s", &format!("{}", offset + n * AT_ONCE + client));
                let asked = tokio::time::timeout(GIVES_UP, ask(address, request)).await;
                seen.push((asked.is_ok_and(|answered| answered.is_ok_and(|well| well)), began.elapsed()));
            }
            seen
        });
    }
    let seen: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    let failed = seen.iter().filter(|(well, _)| !well).count();
    let mut times: Vec<_> = seen.into_iter().map(|(_, time)| time.as_millis()).collect();
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100];
    format!("{:>5.1} % | {:>5} / {:>5} ms", failed as f64 * 100.0 / times.len() as f64, at(50), at(95))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures; some minutes"]
async fn figures() {
    let hole = Blackhole::dig().await;
    let servers = [
        ("none", working(WORKS, super::OK).await),
        ("slow", working(SLOW, super::OK).await),
        ("502", working(WORKS, "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await),
        ("503", working(WORKS, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await),
        ("429", working(WORKS, "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").await),
        ("silent", working(Duration::from_secs(3600), super::OK).await),
    ];
    let served = servers.iter().map(|(name, server)| (*name, server.address()));
    let faulty: Vec<_> = served.chain([("refuses", nobody()), ("host gone", hole.address())]).collect();
    println!("| member | policy | failed | median / p95 | failed after | median / p95 after |");
    for policy in [Policy::PrefixAffinity, Policy::LeastRequests] {
        for (name, address) in &faulty {
            let (a, b) = (working(WORKS, super::OK).await, working(WORKS, super::OK).await);
            let stage = pool(policy, &[*address, a.address(), b.address()], plain).await;
            let first = half(stage.address, 0).await;
            let second = half(stage.address, REQUESTS).await;
            println!("| {name} | {} | {first} | {second} |", policy.name());
        }
    }
}
