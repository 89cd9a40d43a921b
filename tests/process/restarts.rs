//! Restarts of the proxy itself, behind nginx as `examples/nginx/nginx.conf` configures it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::support::nginx::{Nginx, own_port};
use super::support::proxy_process::ProxyProcess;
use super::support::raw_backend::{Peer, RawBackend, Signal, nobody, soon};
use super::support::raw_client::{End, RawAnswer, RawClient, get, post};
use super::{EVENTS, MODEL, OK};

/// How often a proxy is stopped and started again.
const RESTARTS: usize = 10;
/// Longer than the `keepalive_timeout` of the example.
const STOP_DELAY: &str = "3s";
/// Longest time for one stop: the delay, and what is in flight.
const STOPPED: Duration = Duration::from_secs(20);
/// How many clients ask for plain answers, and how many for streams.
const CLIENTS: usize = 4;
const STREAMS: usize = 3;
/// The pause between two requests of a client: steady, and gentle.
const PAUSE: Duration = Duration::from_millis(15);
/// A stream takes 1.6 s.
const EVENTS_OF_A_STREAM: usize = 40;
const EVENT_EVERY: Duration = Duration::from_millis(40);

/// A backend that lists the model `m`, answers `/v1/plain` at once and streams `/v1/stream`, on connections that stay.
async fn backend() -> RawBackend {
    RawBackend::start(|mut peer| async move {
        loop {
            let head = peer.head_unrecorded().await?;
            if head.starts_with("GET /v1/models ") {
                peer.list(&["m"]).await?;
                continue;
            }
            let request = peer.rest(head).await?;
            match request.line().contains("/stream") {
                true => stream(&mut peer).await?,
                false => peer.send(OK).await?,
            }
        }
    })
    .await
}

/// A backend that lists its model only when it is told to.
async fn listing_at(told: &Signal) -> RawBackend {
    let told = told.clone();
    RawBackend::start(move |mut peer| {
        let told = told.clone();
        async move {
            loop {
                let head = peer.head_unrecorded().await?;
                if head.starts_with("GET /v1/models ") {
                    told.until_given().await;
                    peer.list(&["m"]).await?;
                } else {
                    peer.rest(head).await?;
                    peer.send(OK).await?;
                }
            }
        }
    })
    .await
}

async fn stream(peer: &mut Peer) -> std::io::Result<()> {
    peer.send(EVENTS).await?;
    for event in 0..EVENTS_OF_A_STREAM {
        tokio::time::sleep(EVENT_EVERY).await;
        peer.send_chunk(&format!("data: {event}\n\n")).await?;
    }
    peer.send_chunk("data: [DONE]\n\n").await?;
    peer.send("0\r\n\r\n").await
}

fn is_whole(answer: &RawAnswer, streams: bool) -> bool {
    let events = answer.text().matches("data: ").count();
    let body = match streams {
        true => events == EVENTS_OF_A_STREAM + 1 && answer.text().ends_with("data: [DONE]\n\n"),
        false => answer.text() == "ok",
    };
    (answer.status, answer.end) == (200, End::Complete) && body
}

/// One client, on a connection that it keeps: its requests' names, until it is told that all is over.
async fn client(at: SocketAddr, name: String, streams: bool, over: Arc<AtomicBool>) -> Result<Vec<String>, String> {
    let (mut client, mut sent) = (RawClient::connect(at).await, Vec::new());
    let path = if streams { "/v1/stream" } else { "/v1/plain" };
    while !over.load(Ordering::Relaxed) {
        let request = format!("{path}?{name}-{}", sent.len());
        client.send(post(&request, MODEL)).await;
        let answer = client.answer().await.ok_or_else(|| format!("{request}: no answer"))?;
        if !is_whole(&answer, streams) {
            return Err(format!("{request}: {answer:?}"));
        }
        if answer.header("connection") == Some("close") {
            client = RawClient::connect(at).await;
        }
        sent.push(request);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(sent)
}

#[tokio::test]
async fn rule_25_what_comes_while_the_proxy_starts_waits_until_it_knows_who_serves() {
    let told = Signal::new();
    let backend = listing_at(&told).await;
    let proxy = ProxyProcess::spawn_at(nobody(), &[], &[backend.address()], &[]);
    soon("the proxy to listen", async {
        while TcpStream::connect(proxy.address).await.is_err() {
            proxy.tick().await;
        }
    })
    .await;
    assert_eq!(proxy.ask(get("/readyz")).await.status, 503, "it does not know yet");
    let (mut early, mut wrong) = (proxy.client().await, proxy.client().await);
    early.send(post("/v1/x", MODEL)).await;
    wrong.send(post("/v1/x", r#"{"model":"nobody's"}"#)).await;
    told.give();
    assert_eq!(early.answer().await.map(|answer| answer.status), Some(200));
    assert_eq!(wrong.answer().await.map(|answer| answer.status), Some(404));
}

/// How often each request came to the backend.
fn came(backend: &RawBackend) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in backend.requests() {
        let target = request.line().split(' ').nth(1).unwrap().to_owned();
        *counts.entry(target).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_25_ten_restarts_of_the_proxy_behind_nginx_fail_no_request_and_cut_no_stream() {
    let addresses = [own_port(), own_port()];
    let Some(nginx) = Nginx::start(&addresses) else { return };
    let backend = backend().await;
    let start = async |which: usize| {
        let environment = [("PROXY_STOP_DELAY", STOP_DELAY)];
        ProxyProcess::spawn_at(addresses[which], &[], &[backend.address()], &environment).until_ready().await
    };
    let mut proxies = [start(0).await, start(1).await];
    let (over, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let mut load = JoinSet::new();
    for number in 0..CLIENTS + STREAMS {
        let streams = number >= CLIENTS;
        load.spawn(client(nginx.address, format!("c{number}"), streams, Arc::clone(&over)));
    }
    for restart in 0..RESTARTS {
        let which = restart % 2;
        proxies[which].signal("TERM");
        let status = proxies[which].ended_within(STOPPED).await;
        let output = proxies[which].output();
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(output.contains("\"unfinished\":0"), "nothing was cut: {output}");
        proxies[which] = start(which).await;
    }
    over.store(true, Ordering::Relaxed);
    let ended: Vec<_> = load.join_all().await;
    let failed: Vec<_> = ended.iter().filter_map(|client| client.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:#?}\nnginx: {}", nginx.errors());
    let sent: Vec<String> = ended.into_iter().flatten().flatten().collect();
    let streams = sent.iter().filter(|request| request.contains("/stream")).count();
    println!(
        "rule 25: {RESTARTS} restarts of two proxies behind nginx in {:.0} s: {} requests, {streams} of them streams, none \
         failed or cut, each came to the backend once; {} connections were refused and tried at the other",
        began.elapsed().as_secs_f32(),
        sent.len(),
        nginx.refusals(),
    );
    assert_eq!(came(&backend), sent.into_iter().map(|request| (request, 1)).collect());
    assert!(nginx.refusals() > 0, "no proxy was ever away");
}
