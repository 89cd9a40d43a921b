//! HTTP/1.0 on either side: an answer is framed in the proxy's own version, and a broken one never looks complete.

use std::time::Duration;

use domain::container::{ContainerId, LifecycleEvent};
use domain::drain::DrainPolicy;
use domain::signal;
use domain::table::TableRules;

use super::MODEL;
use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{End, RawClient, post, post_with};

/// Heads of answers that have no length and end with their connection, or say their length in chunks.
const ENDLESS: [&str; 4] = [
    "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-type: text/event-stream\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n",
];
const EVENT: &str = "data: one\n\n";

/// A backend that sends one event, and ends its connection at the signal: with a reset, or in order.
async fn one_event(head: &'static str, end: &Signal, reset: bool) -> RawBackend {
    let end = end.clone();
    RawBackend::start(move |mut peer| {
        let end = end.clone();
        async move {
            peer.request().await?;
            peer.send(format!("{head}{EVENT}")).await?;
            end.until_given().await;
            if reset { peer.reset() } else { Ok(()) }
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_without_a_length_is_chunked_and_broken_where_the_backend_broke_it() {
    for head in ENDLESS {
        for reset in [false, true] {
            let end = Signal::new();
            let backend = one_event(head, &end, reset).await;
            let stage = Stage::before(backend.address()).await;
            let mut client = stage.client().await;
            client.send(post("/v1/x", MODEL)).await;
            let answer = client.head().await.unwrap();
            assert!(answer.head.starts_with("HTTP/1.1 200 "), "{head:?}: {answer:?}");
            assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "{head:?}: {answer:?}");
            assert_eq!(answer.header("connection"), None, "the connection stays");
            assert_eq!(client.next_chunk().await.unwrap().unwrap(), EVENT.as_bytes());
            end.give();
            match reset {
                true => assert!(client.next_chunk().await.is_err(), "{head:?}: a clean end"),
                false => {
                    assert_eq!(client.next_chunk().await.unwrap(), None, "{head:?}");
                    client.through(b"\r\n").await.unwrap();
                    assert!(client.still_open().await, "{head:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_old_answer_with_a_length_leaves_the_connection() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.request().await?;
        peer.send("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok").await
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    for _ in 0..3 {
        let answer = client.ask(post("/v1/x", MODEL)).await;
        assert!(answer.head.starts_with("HTTP/1.1 200 "), "{answer:?}");
        assert_eq!((answer.header("content-length"), answer.text().as_str()), (Some("2"), "ok"));
    }
}

/// An HTTP/1.0 client that has sent its request, with these header lines, and has read the head of its answer.
async fn old_client(stage: &Stage, headers: &str) -> (RawClient, String) {
    let mut client = stage.client().await;
    client.send(post_with("/v1/x", headers, MODEL).replace("HTTP/1.1", "HTTP/1.0")).await;
    let head = client.head().await.unwrap().head;
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    (client, head.to_lowercase())
}

#[tokio::test]
async fn a_broken_answer_without_a_length_is_reset_for_an_old_client() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n";
    for headers in ["", "connection: keep-alive\r\n"] {
        for (head, reset) in ENDLESS.map(|head| (head, true)).into_iter().chain([(CHUNKED, true), (CHUNKED, false)]) {
            let end = Signal::new();
            let backend = one_event(head, &end, reset).await;
            let stage = Stage::before(backend.address()).await;
            let (mut client, answer) = old_client(&stage, headers).await;
            assert!(!answer.contains("keep-alive") && !answer.contains("transfer-encoding"), "{answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert_eq!(client.through(EVENT.as_bytes()).await.unwrap(), EVENT.as_bytes());
            end.give();
            assert_eq!(client.ended().await, End::Reset, "{head:?}, reset {reset}: it looks complete");
        }
    }
}

#[tokio::test]
async fn a_complete_answer_without_a_length_ends_in_order_for_an_old_client() {
    for head in ENDLESS {
        let end = Signal::new();
        let backend = one_event(head, &end, false).await;
        let stage = Stage::before(backend.address()).await;
        let (mut client, _) = old_client(&stage, "").await;
        end.give();
        assert_eq!(client.through(EVENT.as_bytes()).await.unwrap(), EVENT.as_bytes());
        assert_eq!(client.ended().await, End::Fin, "{head:?}");
    }
}

#[tokio::test]
async fn an_old_client_keeps_its_connection_where_it_asked_and_the_answer_has_a_length() {
    let backend = RawBackend::answering(super::OK).await;
    let stage = Stage::before(backend.address()).await;
    let (mut client, head) = old_client(&stage, "connection: keep-alive\r\n").await;
    assert!(head.contains("connection: keep-alive\r\n"), "{head}");
    assert_eq!(client.body_of(2).await, Ok(2));
    assert!(client.still_open().await);
    let (mut client, _) = old_client(&stage, "").await;
    assert_eq!((client.body_of(2).await, client.ended().await), (Ok(2), End::Fin));
    // What the proxy says itself.
    let mut client = stage.client().await;
    client.send("POST /v1/x HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 3\r\nhost: a b\r\n\r\nabc").await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.headers("connection")), (400, vec!["close"]), "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_a_drain_cuts_looks_broken_to_every_client() {
    for head in ENDLESS {
        let end = Signal::new();
        let backend = one_event(head, &end, false).await;
        let drain = DrainPolicy { timeout: Duration::from_millis(300), readmit_after: Duration::from_secs(300) };
        let rules = TableRules {
            drain,
            refresh_every: Duration::from_secs(30),
            replicas: Default::default(),
            balance: Default::default(),
        };
        let stage = Stage::tuned(&[("m", backend.address())], Tuning { rules, ..Tuning::default() }).await;
        let mut new = stage.client().await;
        new.send(post("/v1/x", MODEL)).await;
        new.head().await.unwrap();
        assert_eq!(new.next_chunk().await.unwrap().unwrap(), EVENT.as_bytes());
        let (mut old, _) = old_client(&stage, "").await;
        assert_eq!(old.through(EVENT.as_bytes()).await.unwrap(), EVENT.as_bytes());
        stage.source.edge(&ContainerId::new("b0"), LifecycleEvent::Signal(signal::Signal::TERM));
        assert!(new.next_chunk().await.is_err(), "{head:?}: a clean end");
        assert_eq!(old.ended().await, End::Reset, "{head:?}: it looks complete");
    }
}

#[tokio::test]
async fn an_answer_that_the_end_of_a_stop_cuts_looks_broken_to_every_client() {
    for head in ENDLESS {
        let end = Signal::new();
        let backend = one_event(head, &end, false).await;
        let mut stage = Stage::before(backend.address()).await;
        let mut new = stage.client().await;
        new.send(post("/v1/x", MODEL)).await;
        new.head().await.unwrap();
        assert_eq!(new.next_chunk().await.unwrap().unwrap(), EVENT.as_bytes());
        let (mut old, _) = old_client(&stage, "").await;
        assert_eq!(old.through(EVENT.as_bytes()).await.unwrap(), EVENT.as_bytes());
        stage.stop_accepting.cancel();
        stage.abort.cancel();
        assert!(new.next_chunk().await.is_err(), "{head:?}: a clean end");
        assert_eq!(old.ended().await, End::Reset, "{head:?}: it looks complete");
        assert_eq!(stage.served().await, 2, "both were cut");
    }
}
