//! Streams: events at once, cancelling at once, answers before the request is complete, backpressure.

use std::time::{Duration, Instant};

use super::support::http_stage::Stage;
use super::support::raw_backend::{RawBackend, Signal, soon};
use super::support::raw_client::{End, post};
use super::{EVENTS, MODEL, OK};

/// How soon a backend sees that a client is gone, on a machine with nothing else to do.
const CANCEL_WITHIN: Duration = Duration::from_millis(250);

#[tokio::test]
async fn an_event_is_at_the_client_before_the_next_one_is_sent() {
    let seen = Signal::new();
    let script = seen.clone();
    let backend = RawBackend::start(move |mut peer| {
        let seen = script.clone();
        async move {
            peer.request().await?;
            peer.send(EVENTS).await?;
            peer.send_chunk("data: one\n\n").await?;
            seen.given().await;
            peer.send_chunk("data: two\n\n").await?;
            peer.send("0\r\n\r\n").await
        }
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    client.send(post("/v1/chat/completions", MODEL)).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    assert_eq!(client.next_chunk().await.unwrap().unwrap(), b"data: one\n\n");
    seen.give();
    assert_eq!(client.next_chunk().await.unwrap().unwrap(), b"data: two\n\n");
    assert_eq!(client.next_chunk().await.unwrap(), None);
}

/// Drops the client once `reached` is given, and answers after which time the backend saw the end.
async fn cancelled(request: &str, early: &'static str) -> Duration {
    let (reached, ended) = (Signal::new(), Signal::new());
    let (at, over) = (reached.clone(), ended.clone());
    let backend = RawBackend::start(move |mut peer| {
        let (at, over) = (at.clone(), over.clone());
        async move {
            peer.head().await?;
            peer.send(early).await?;
            at.give();
            peer.ended().await;
            over.give();
            Ok(())
        }
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    client.send(request).await;
    reached.given().await;
    if !early.is_empty() {
        client.head().await.unwrap();
    }
    let left = Instant::now();
    drop(client);
    ended.given().await;
    let took = left.elapsed();
    stage.until("nothing in flight", |_| stage.in_flight("b0") == 0).await;
    took
}

#[tokio::test]
async fn rule_13_a_client_that_leaves_ends_the_request_at_the_backend_in_every_phase() {
    let half = "POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n{\"model\":\"m\",\"x\":\"";
    let uploading = cancelled(half, "").await;
    let waiting = cancelled(&post("/v1/x", MODEL), "").await;
    let streaming = cancelled(&post("/v1/x", MODEL), EVENTS).await;
    let old = cancelled(&post("/v1/x", MODEL), "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
    println!(
        "rule 13: uploading {uploading:?}, waiting {waiting:?}, streaming {streaming:?}, in HTTP/1.0 {old:?} (limit {CANCEL_WITHIN:?})"
    );
}

#[tokio::test]
async fn rule_15_an_early_answer_reaches_the_client_and_nothing_hangs() {
    for closes in [false, true] {
        let backend = RawBackend::start(move |mut peer| async move {
            peer.head().await?;
            peer.send("HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge").await?;
            if !closes {
                peer.ended().await;
            }
            Ok(())
        })
        .await;
        let stage = Stage::before(backend.address()).await;
        let mut client = stage.client().await;
        client
            .send("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 20000000\r\n\r\n{\"model\":\"m\",\"x\":\"")
            .await;
        let started = Instant::now();
        let answer = client.answer().await.expect("an answer before the body is complete");
        assert!(answer.status == 413 || (closes && answer.status == 502), "{answer:?}");
        // The rest of the body is not waited for: the connection ends.
        while client.try_send([b'x'; 65536]).await.is_ok() {}
        drop(client);
        println!("rule 15: {} after {:?}, backend closes: {closes}", answer.status, started.elapsed());
        stage.until("nothing in flight", |_| stage.in_flight("b0") == 0).await;
    }
}

#[tokio::test]
async fn rule_15_a_connection_whose_upload_was_not_finished_is_not_used_again() {
    let backend = RawBackend::start(|mut peer| async move {
        while let Ok(head) = peer.head().await {
            if head.line().contains("early") {
                peer.send("HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge").await?;
                peer.ended().await;
            } else {
                peer.send(OK).await?;
            }
        }
        Ok(())
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut early = stage.client().await;
    early.send("POST /v1/early HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n{\"model\":\"m\",\"x\":\"").await;
    assert_eq!(early.answer().await.unwrap().status, 413);
    assert_eq!(stage.ask("GET /v1/x?model=m HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 200);
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn rule_16_a_client_that_does_not_read_slows_the_backend_down() {
    let took = std::sync::Arc::new(std::sync::Mutex::new(None));
    let (noted, stalled) = (std::sync::Arc::clone(&took), Signal::new());
    let done = stalled.clone();
    let backend = RawBackend::start(move |mut peer| {
        let (noted, done) = (std::sync::Arc::clone(&noted), done.clone());
        async move {
            peer.request().await?;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await?;
            *noted.lock().unwrap() = Some(peer.flood(Duration::from_millis(300)).await?);
            done.give();
            peer.ended().await;
            Ok(())
        }
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    client.send(post("/v1/x", MODEL)).await;
    client.head().await.unwrap();
    soon("the backend to be slowed down", stalled.given()).await;
    let bytes = took.lock().unwrap().unwrap();
    println!("rule 16: a backend could send {} KiB to a client that does not read", bytes / 1024);
    // What two pairs of kernel buffers take; the rest of the gigabyte is nowhere.
    assert!(bytes < 32 << 20, "{bytes} bytes went out");
}

#[tokio::test]
async fn rule_16_a_backend_that_does_not_read_slows_the_client_down() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.head().await?;
        std::future::pending().await
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    client.send("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n{\"model\":\"m\",\"x\":\"").await;
    let (block, mut sent) = ([b'x'; 65536], 0);
    let write = |stream: tokio::net::TcpStream| async move {
        let mut stream = stream;
        while let Ok(written) =
            tokio::time::timeout(Duration::from_millis(300), tokio::io::AsyncWriteExt::write(&mut stream, &block)).await
        {
            sent += written.unwrap();
        }
        sent
    };
    let sent = write(client.stream).await;
    println!("rule 16: a client could send {} KiB to a backend that does not read", sent / 1024);
    assert!(sent < 32 << 20, "{sent} bytes went out");
}

#[tokio::test]
async fn rule_17_no_limit_on_the_time_to_the_first_byte() {
    // Every deadline of the client's side is far shorter than the wait.
    let go = Signal::new();
    let script = go.clone();
    let backend = RawBackend::start(move |mut peer| {
        let go = script.clone();
        async move {
            peer.request().await?;
            go.given().await;
            peer.send(OK).await
        }
    })
    .await;
    let short = Duration::from_millis(50);
    let http = lw_inference_proxy::adapters::http::HttpSettings {
        head_timeout: short,
        body_idle: short,
        idle_timeout: short,
        write_stall: short,
        ..Default::default()
    };
    let tuning = super::support::http_stage::Tuning { http, ..Default::default() };
    let stage = Stage::tuned(&[("m", backend.address())], tuning).await;
    let mut client = stage.client().await;
    client.send(post("/v1/x", MODEL)).await;
    let early = tokio::time::timeout(8 * short, client.answer()).await;
    assert!(early.is_err(), "answered before the backend did");
    go.give();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.end), (200, End::Complete));
}

#[tokio::test]
async fn an_early_answer_is_at_the_client_however_the_request_is_cut_into_chunks() {
    let backend = RawBackend::start(|mut peer| async move {
        loop {
            let head = peer.head_unrecorded().await?;
            peer.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno").await?;
            peer.rest(head).await?;
        }
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    for (chunks, group) in [(4034, 1), (380, 16), (764, 16)] {
        let mut body = chunk("{\"x\":[1");
        for _ in 0..chunks {
            body.push_str(&chunk(",1").repeat(group));
        }
        body.push_str(&chunk("],\"model\":\"m\"}"));
        let head = "POST /v1/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let request = format!("{head}{body}0\r\n\r\n");
        for _ in 0..4 {
            let answer = soon("an answer", stage.ask(&request)).await;
            assert_eq!(answer.status, 401, "{chunks} times {group}");
        }
    }
}
