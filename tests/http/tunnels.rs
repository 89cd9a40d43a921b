//! Switched protocols: bytes pass both ways, and a tunnel is counted, drained and cut like any stream.

use std::time::Duration;

use lw_inference_proxy::domain::container::{ContainerId, Edge};
use lw_inference_proxy::domain::drain::DrainPolicy;
use lw_inference_proxy::domain::signal::Signal as Sent;
use lw_inference_proxy::domain::table::TableRules;

use super::OK;
use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::RawBackend;
use super::support::raw_client::{RawClient, get};

const UPGRADE: &str = "GET /v1/realtime?model=m HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n";

/// Switches, says `early`, then echoes.
async fn echo() -> RawBackend {
    RawBackend::start(|mut peer| async move {
        peer.head().await?;
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s\r\n\r\n";
        peer.send(format!("{head}early")).await?;
        while let Ok(bytes) = peer.some().await {
            peer.send(bytes).await?;
        }
        Ok(())
    })
    .await
}

async fn open(stage: &Stage) -> RawClient {
    let mut client = stage.client().await;
    client.send(UPGRADE).await;
    let head = client.head().await.unwrap();
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")), "{head:?}");
    assert_eq!((head.header("sec-websocket-accept"), head.headers("x-request-id").len()), (Some("s"), 1));
    assert_eq!(client.through(b"early").await.unwrap(), b"early", "what came with the head is not lost");
    client
}

async fn echoes(client: &mut RawClient, bytes: &str) {
    client.send(bytes).await;
    assert_eq!(client.through(bytes.as_bytes()).await.unwrap(), bytes.as_bytes());
}

#[tokio::test]
async fn rule_18_a_tunnel_carries_bytes_both_ways_and_is_counted() {
    let backend = echo().await;
    let stage = Stage::before(backend.address()).await;
    let mut client = open(&stage).await;
    assert_eq!(backend.requests()[0].header("upgrade"), Some("websocket"));
    assert_eq!(backend.requests()[0].header("connection"), Some("upgrade"));
    echoes(&mut client, "GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(stage.in_flight("b0"), 1);
    drop(client);
    stage.until("nothing in flight", |_| stage.in_flight("b0") == 0).await;
    backend.until("the end of it at the backend", |backend| backend.open() == 0).await;
}

#[tokio::test]
async fn rule_18_a_tunnel_is_drained_and_cut_at_the_deadline() {
    let backend = echo().await;
    let drain = DrainPolicy { timeout: Duration::from_millis(400), take_back_after: Duration::from_secs(300) };
    let rules = TableRules { drain, refresh_every: Duration::from_secs(30) };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { rules, ..Tuning::default() }).await;
    let mut client = open(&stage).await;
    stage.source.edge(&ContainerId::new("b0"), Edge::Signal(Sent::TERM));
    stage.until("the drain", |shared| shared.load().table.active() == 0).await;
    let started = std::time::Instant::now();
    echoes(&mut client, "still").await;
    client.ended().await;
    println!("rule 18: a tunnel was cut {:?} after its backend was stopped (deadline 400 ms)", started.elapsed());
    assert!(started.elapsed() > Duration::from_millis(200), "not before the deadline");
    stage.until("the end of the drain", |shared| shared.load().table.retiring().is_empty()).await;
}

#[tokio::test]
async fn rule_18_a_stop_of_the_proxy_waits_for_tunnels_and_then_cuts_them() {
    let backend = echo().await;
    let mut stage = Stage::before(backend.address()).await;
    let (mut first, mut second) = (open(&stage).await, open(&stage).await);
    stage.stop_accepting.cancel();
    echoes(&mut first, "still").await;
    drop(first);
    echoes(&mut second, "still").await;
    stage.abort.cancel();
    second.ended().await;
    assert_eq!(stage.served().await, 1, "one was cut");
}

#[tokio::test]
async fn rule_18_a_switch_that_is_refused_leaves_a_connection_for_requests() {
    let backend = RawBackend::answering("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno").await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    // The second request is there before the first is answered (CVE-2026-2833 is what goes wrong with it elsewhere).
    client.send(format!("{UPGRADE}{}", get("/v1/next?model=m"))).await;
    for _ in 0..2 {
        assert_eq!(client.answer().await.unwrap().status, 426);
    }
    assert_eq!(backend.requests()[1].line(), "GET /v1/next?model=m HTTP/1.1");
    let plain = RawBackend::answering(OK).await;
    let stage = Stage::before(plain.address()).await;
    assert_eq!(stage.ask(UPGRADE).await.status, 200);
}
