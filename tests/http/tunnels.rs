//! Switched protocols: bytes pass both ways, and a tunnel is counted, drained and cut like any stream.

use std::time::Duration;

use domain::container::{ContainerId, LifecycleEvent};
use domain::drain::DrainPolicy;
use domain::signal::Signal as Sent;
use domain::table::TableRules;
use lw_inference_proxy::adapters::http::HttpSettings;

use super::OK;
use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{End, RawClient, get};

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
    let drain = DrainPolicy { timeout: Duration::from_millis(400), readmit_after: Duration::from_secs(300) };
    let rules = TableRules {
        drain,
        refresh_every: Duration::from_secs(30),
        replicas: Default::default(),
        balance: Default::default(),
    };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { rules, ..Tuning::default() }).await;
    let mut client = open(&stage).await;
    stage.source.edge(&ContainerId::new("b0"), LifecycleEvent::Signal(Sent::TERM));
    stage.until("the drain", |shared| shared.load().table.active() == 0).await;
    let started = std::time::Instant::now();
    echoes(&mut client, "still").await;
    client.ended().await;
    println!("rule 18: a tunnel was cut {:?} after its backend was stopped (deadline 400 ms)", started.elapsed());
    assert!(started.elapsed() > Duration::from_millis(200), "not before the deadline");
    stage.until("the end of the drain", |shared| shared.load().table.draining().is_empty()).await;
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

/// Every deadline of the client's side.
const DEADLINE: Duration = Duration::from_millis(200);
/// So long a tunnel is watched: longer than all of them together.
const LONG: Duration = Duration::from_millis(1200);

/// A stage with deadlines that a test can outlive.
async fn impatient(backend: &RawBackend) -> Stage {
    let http = HttpSettings {
        head_timeout: DEADLINE,
        body_idle: DEADLINE,
        write_stall: DEADLINE,
        idle_timeout: DEADLINE,
        ..HttpSettings::default()
    };
    Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await
}

/// Whether nothing comes over it, not even its end.
async fn stays_silent(client: &RawClient) -> bool {
    tokio::time::timeout(LONG, client.stream.readable()).await.is_err()
}

#[tokio::test]
async fn a_tunnel_outlives_every_deadline_whoever_talks() {
    let backend = echo().await;
    let stage = impatient(&backend).await;
    let mut silent = open(&stage).await;
    let mut once = open(&stage).await;
    echoes(&mut once, "x").await;
    let mut often = open(&stage).await;
    let talks = async {
        let mut pace = tokio::time::interval(DEADLINE / 4);
        let until = tokio::time::Instant::now() + LONG;
        while tokio::time::Instant::now() < until {
            pace.tick().await;
            echoes(&mut often, "x").await;
        }
    };
    let (silent_stayed, once_stayed, ()) = tokio::join!(stays_silent(&silent), stays_silent(&once), talks);
    assert!(silent_stayed && once_stayed);
    for client in [&mut silent, &mut once, &mut often] {
        echoes(client, "after a long time").await;
    }
    assert_eq!(stage.in_flight("b0"), 3);
}

#[tokio::test]
async fn a_tunnel_in_which_only_the_backend_talks_outlives_every_deadline() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.head().await?;
        peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other/1\r\n\r\n").await?;
        let mut pace = tokio::time::interval(DEADLINE / 4);
        for _ in 0..LONG.as_millis() / (DEADLINE / 4).as_millis() {
            pace.tick().await;
            peer.send(".").await?;
        }
        peer.send("last").await
    })
    .await;
    let stage = impatient(&backend).await;
    let mut client = stage.client().await;
    client.send("GET /v1/x?model=m HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other/1\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().status, 101);
    assert!(client.through(b"last").await.is_ok());
    assert_eq!(client.ended().await, End::Fin, "the backend ended it in order");
}

#[tokio::test]
async fn bytes_that_a_client_sent_before_the_switch_go_through_the_tunnel() {
    let go = Signal::new();
    let script = go.clone();
    let backend = RawBackend::start(move |mut peer| {
        let go = script.clone();
        async move {
            peer.head().await?;
            go.given().await;
            peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
            while let Ok(bytes) = peer.some().await {
                peer.send(bytes).await?;
            }
            Ok(())
        }
    })
    .await;
    let stage = impatient(&backend).await;
    let mut client = stage.client().await;
    client.send(format!("{UPGRADE}early")).await;
    stage.until("the request at the backend", |_| !backend.requests().is_empty()).await;
    client.send(" bird").await;
    go.give();
    assert_eq!(client.head().await.unwrap().status, 101);
    assert_eq!(client.through(b"early bird").await.unwrap(), b"early bird");
    assert!(stays_silent(&client).await);
    echoes(&mut client, "late").await;
}

#[tokio::test]
async fn a_tunnel_that_opens_during_the_stop_is_waited_for_and_counted_when_it_is_cut() {
    let go = Signal::new();
    let script = go.clone();
    let backend = RawBackend::start(move |mut peer| {
        let go = script.clone();
        async move {
            peer.head().await?;
            go.given().await;
            peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
            while let Ok(bytes) = peer.some().await {
                peer.send(bytes).await?;
            }
            Ok(())
        }
    })
    .await;
    for cut in [false, true] {
        let mut stage = Stage::before(backend.address()).await;
        let mut client = stage.client().await;
        client.send(UPGRADE).await;
        stage.until("the request in flight", |_| stage.in_flight("b0") == 1).await;
        stage.shared.begin_stop();
        stage.stop_accepting.cancel();
        super::stopping::refused(&stage).await;
        go.give();
        assert_eq!(client.head().await.unwrap().status, 101);
        echoes(&mut client, "still here").await;
        if cut {
            stage.abort.cancel();
            assert_eq!(client.ended().await, End::Reset, "no end in order");
        } else {
            drop(client);
        }
        assert_eq!(stage.served().await, usize::from(cut));
    }
}

#[tokio::test]
async fn a_switch_that_an_old_client_asks_for_is_none_and_one_that_is_refused_keeps_the_connection() {
    let backend = RawBackend::answering(OK).await;
    let stage = impatient(&backend).await;
    let mut old = stage.client().await;
    old.send(UPGRADE.replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!(old.answer().await.unwrap().status, 200);
    assert_eq!(backend.requests()[0].header("upgrade"), None);
    let mut client = stage.client().await;
    for _ in 0..3 {
        assert_eq!(client.ask(UPGRADE).await.status, 200);
    }
}
