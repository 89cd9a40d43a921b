//! What signals do to the process.

use std::time::{Duration, Instant};

use super::support::proxy_process::ProxyProcess;
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{RawClient, get, post};
use super::{MODEL, holding, serving};

async fn stream(proxy: &ProxyProcess) -> RawClient {
    let mut client = proxy.client().await;
    client.send(post("/v1/chat/completions", MODEL)).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    assert_eq!(client.next_chunk().await.unwrap().unwrap(), b"data: one\n\n");
    client
}

async fn stage(environment: &[(&str, &str)]) -> (ProxyProcess, RawBackend, Signal) {
    let end = Signal::new();
    let backend = holding(&end).await;
    let proxy = ProxyProcess::start(&[backend.address()], environment).await;
    (proxy, backend, end)
}

async fn refuses(proxy: &ProxyProcess) {
    let until = Instant::now() + Duration::from_secs(3);
    while tokio::net::TcpStream::connect(proxy.address).await.is_ok() {
        assert!(Instant::now() < until, "still accepting");
        proxy.tick().await;
    }
}

#[tokio::test]
async fn rule_25_sigterm_lets_streams_finish_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let (mut proxy, _backend, end) = stage(&[]).await;
        let mut client = stream(&proxy).await;
        proxy.signal(signal);
        refuses(&proxy).await;
        end.give();
        assert_eq!(client.next_chunk().await.unwrap().unwrap(), b"data: [DONE]\n\n");
        assert_eq!(client.next_chunk().await.unwrap(), None);
        let finished = Instant::now();
        drop(client);
        assert_eq!(proxy.ended().await.code(), Some(0), "{}", proxy.output());
        println!("rule 25: SIG{signal}: exit 0, {:?} after the last stream ended", finished.elapsed());
    }
}

#[tokio::test]
async fn rule_25_with_a_stop_delay_it_is_not_ready_but_still_takes_requests() {
    let (mut proxy, _backend, end) = stage(&[("PROXY_STOP_DELAY", "1500ms")]).await;
    end.give();
    let mut kept = proxy.client().await;
    assert_eq!(kept.ask(get("/healthz")).await.status, 200);
    proxy.signal("TERM");
    let signalled = Instant::now();
    proxy.until("the word of the stop", |proxy| proxy.output().contains("stopping")).await;
    let ready = proxy.ask(get("/readyz")).await;
    assert_eq!((ready.status, proxy.ask(get("/healthz")).await.status), (503, 200));
    let answer = proxy.ask(post("/v1/x", MODEL)).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(signalled.elapsed() < Duration::from_millis(1500), "the machine is too slow for this test");
    assert_eq!(proxy.ended().await.code(), Some(0));
    println!("rule 25: stop delay 1.5 s: exit 0 after {:?}", signalled.elapsed());
    assert!(signalled.elapsed() >= Duration::from_millis(1400));
}

#[tokio::test]
async fn rule_25_the_deadline_cuts_streams_and_the_exit_code_stays_0() {
    let (mut proxy, _backend, _end) = stage(&[("PROXY_DRAIN_TIMEOUT", "300ms")]).await;
    let mut client = stream(&proxy).await;
    let signalled = Instant::now();
    proxy.signal("TERM");
    assert!(client.next_chunk().await.is_err(), "the client sees a broken transfer");
    let cut = signalled.elapsed();
    assert!(cut >= Duration::from_millis(250), "{cut:?}");
    assert_eq!(proxy.ended().await.code(), Some(0));
    let output = proxy.output();
    println!("rule 25: drain 300 ms: cut after {cut:?}, exit 0 after {:?}", signalled.elapsed());
    assert!(output.contains("drain deadline") && output.contains("\"unfinished\":1"), "{output}");
}

#[tokio::test]
async fn rule_25_a_second_signal_ends_it_at_once() {
    let (mut proxy, _backend, _end) = stage(&[("PROXY_STOP_DELAY", "60s")]).await;
    let mut client = stream(&proxy).await;
    proxy.signal("TERM");
    proxy.until("the word of the stop", |proxy| proxy.output().contains("stopping")).await;
    let second = Instant::now();
    proxy.signal("TERM");
    assert!(client.next_chunk().await.is_err());
    assert_eq!(proxy.ended().await.code(), Some(0));
    println!("rule 25: a second signal: gone after {:?}", second.elapsed());
}

#[tokio::test]
async fn rule_25_half_a_head_does_not_hold_the_stop_up() {
    let (mut proxy, _backend, _end) = stage(&[]).await;
    let mut half = proxy.client().await;
    half.send("POST /v1/x HTTP/1.1\r\nhost:").await;
    let mut silent = proxy.client().await;
    assert_eq!(proxy.ask(get("/healthz")).await.status, 200);
    let signalled = Instant::now();
    proxy.signal("TERM");
    silent.ended().await;
    assert_eq!(proxy.ended().await.code(), Some(0));
    println!("rule 25: with half a head open: exit 0 after {:?}", signalled.elapsed());
}

#[tokio::test]
async fn an_upgrade_under_way_at_the_signal_becomes_a_tunnel_that_is_drained_and_counted() {
    let (asked, go) = (Signal::new(), Signal::new());
    let script = (asked.clone(), go.clone());
    let backend = serving(move |mut peer, _| {
        let (asked, go) = script.clone();
        async move {
            asked.give();
            go.until_given().await;
            peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
            while let Ok(bytes) = peer.some().await {
                peer.send(bytes).await?;
            }
            Ok(())
        }
    })
    .await;
    let mut proxy = ProxyProcess::start(&[backend.address()], &[("PROXY_DRAIN_TIMEOUT", "1500ms")]).await;
    let mut client = proxy.client().await;
    client
        .send("GET /v1/realtime?model=m HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    asked.given().await;
    proxy.signal("TERM");
    let signalled = Instant::now();
    refuses(&proxy).await;
    go.give();
    assert_eq!(client.head().await.unwrap().status, 101);
    client.send("after the signal").await;
    client.through(b"after the signal").await.unwrap();
    client.ended().await;
    assert!(signalled.elapsed() > Duration::from_secs(1), "not before the deadline");
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert!(proxy.output().contains("\"unfinished\":1"), "{}", proxy.output());
}
