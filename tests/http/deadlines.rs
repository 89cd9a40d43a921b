//! Slow and silent clients: each is ended at its deadline, and nobody else is.

use std::time::{Duration, Instant};

use lw_inference_proxy::adapters::http::HttpSettings;

use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{get, post};
use super::{MODEL, OK};

const DEADLINE: Duration = Duration::from_millis(300);
const IDLE: Duration = Duration::from_millis(2500);
/// What a machine under load may be late by. With it a deadline of [`DEADLINE`] is still told from one of [`IDLE`].
const LATE: Duration = Duration::from_secs(2);

async fn stage() -> (Stage, RawBackend) {
    let backend = RawBackend::answering(OK).await;
    let http = HttpSettings {
        head_timeout: DEADLINE,
        body_idle: DEADLINE,
        write_stall: DEADLINE,
        idle_timeout: IDLE,
        ..HttpSettings::default()
    };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await;
    (stage, backend)
}

#[tokio::test]
async fn rule_01_silent_and_slow_heads_are_closed_at_the_head_deadline() {
    let (stage, backend) = stage().await;
    for (name, first) in [
        ("silent", ""),
        ("half a head", "POST /v1/x HTTP/1.1\r\nhost:"),
        ("half a preface", "PRI * HT"),
        ("half a preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM"),
        ("one byte", "G"),
        ("an empty line", "\r\n"),
    ] {
        let started = Instant::now();
        let mut client = stage.client().await;
        client.send(first).await;
        client.ended().await;
        let took = started.elapsed();
        println!("rule 1: {name}: closed after {took:?} (deadline {DEADLINE:?})");
        assert!(took < DEADLINE + LATE, "{name}: {took:?}");
    }
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn rule_01_bytes_that_drip_do_not_put_the_deadline_off() {
    let (stage, _backend) = stage().await;
    let mut client = stage.client().await;
    let started = Instant::now();
    client.send("GET /v1/x?model=m HTTP/1.1\r\nx: ").await;
    // A byte every 50 ms for as long as the proxy takes them.
    let mut drip = tokio::time::interval(Duration::from_millis(50));
    loop {
        drip.tick().await;
        let gone = matches!(client.stream.try_read(&mut [0; 16]), Ok(0))
            || matches!(client.stream.try_read(&mut [0; 16]), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock);
        if gone || client.try_send("a").await.is_err() {
            break;
        }
        assert!(started.elapsed() < DEADLINE + LATE, "still open");
    }
    println!("rule 1: drip: closed after {:?}", started.elapsed());
    assert!(started.elapsed() >= DEADLINE);
}

#[tokio::test]
async fn rule_01_the_second_head_has_the_same_deadline() {
    let (stage, _backend) = stage().await;
    let mut client = stage.client().await;
    assert_eq!(client.ask(get("/v1/x?model=m")).await.status, 200);
    let started = Instant::now();
    client.send("GET /v1/x?mod").await;
    client.ended().await;
    println!("rule 1: half a second head: closed after {:?}", started.elapsed());
    assert!(started.elapsed() < DEADLINE + LATE);
}

#[tokio::test]
async fn rule_01_half_a_head_that_came_with_the_request_before_costs_what_an_idle_connection_costs() {
    let (stage, _backend) = stage().await;
    let mut client = stage.client().await;
    client.send(format!("{}GET /v1/x?mod", get("/v1/x?model=m"))).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    let started = Instant::now();
    client.ended().await;
    println!("rule 1: half a pipelined head: closed after {:?} (idle limit {IDLE:?})", started.elapsed());
    assert!(started.elapsed() < IDLE + LATE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn rule_17_an_idle_connection_outlives_the_head_deadline() {
    let (stage, _backend) = stage().await;
    let mut client = stage.client().await;
    assert_eq!(client.ask(get("/v1/x?model=m")).await.status, 200);
    let idle = 4 * DEADLINE;
    assert!(tokio::time::timeout(idle, client.stream.readable()).await.is_err(), "closed before its time");
    assert_eq!(client.ask(get("/v1/x?model=m")).await.status, 200);
    println!(
        "rule 17: idle for {idle:?} with a head deadline of {DEADLINE:?}; default {:?}",
        HttpSettings::default().idle_timeout
    );
    assert!(HttpSettings::default().idle_timeout > Duration::from_secs(90), "longer than proxies before us wait");
}

#[tokio::test]
async fn rule_17_an_idle_connection_is_closed_at_last() {
    let (stage, _backend) = stage().await;
    let mut client = stage.client().await;
    assert_eq!(client.ask(get("/v1/x?model=m")).await.status, 200);
    let started = Instant::now();
    client.ended().await;
    assert!(started.elapsed() > Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn rule_17_a_body_that_stops_coming_is_ended() {
    let (stage, backend) = stage().await;
    for (name, body) in [("before the model", r#"{"x":1,"#), ("behind the model", r#"{"model":"m","x":"#)] {
        let mut client = stage.client().await;
        let started = Instant::now();
        client.send(format!("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{body}")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"), "{name}: {answer:?}");
        println!("rule 17: a body that stops {name}: 408 after {:?}", started.elapsed());
        assert!(started.elapsed() < DEADLINE + LATE);
    }
    backend.until("the connection to close", |backend| backend.open() == 0).await;
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn rule_17_a_reader_that_stops_reading_is_ended() {
    let (flooded, over) = (Signal::new(), Signal::new());
    let (at, end) = (flooded.clone(), over.clone());
    let backend = RawBackend::start(move |mut peer| {
        let (at, end) = (at.clone(), end.clone());
        async move {
            peer.request().await?;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await?;
            let _ = peer.flood(Duration::from_millis(200)).await;
            at.give();
            peer.ended().await;
            end.give();
            Ok(())
        }
    })
    .await;
    let http = HttpSettings { write_stall: DEADLINE, ..HttpSettings::default() };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await;
    let mut client = stage.client().await;
    client.send(post("/v1/x", MODEL)).await;
    flooded.given().await;
    let started = Instant::now();
    over.given().await;
    println!("rule 17: a stalled reader was ended {:?} after the flood stood still", started.elapsed());
    stage.until("nothing in flight", |_| stage.in_flight("b0") == 0).await;
}

/// The head of a request that the proxy refuses by itself, and the two parts of its body.
const REFUSED: [(&str, &str, &str); 3] = [
    ("content-length: 8", "1234", "5678"),
    ("content-length: 8", "", "12345678"),
    ("transfer-encoding: chunked", "4\r\n1234\r\n0\r\n\r\n", ""),
];

#[tokio::test]
async fn a_connection_whose_refused_body_was_drained_is_idle_and_has_no_head_due() {
    let (stage, _backend) = stage().await;
    for (framing, first, second) in REFUSED {
        let mut client = stage.client().await;
        client.send(format!("POST /nothing HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{first}")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (404, None), "{framing}, {first:?}");
        client.send(second).await;
        let idle = 4 * DEADLINE;
        assert!(tokio::time::timeout(idle, client.stream.readable()).await.is_err(), "{framing}, {first:?}: closed");
        assert_eq!(client.ask(get("/v1/x?model=m")).await.status, 200);
    }
}

#[tokio::test]
async fn a_connection_whose_backend_answered_early_is_idle_when_the_rest_of_the_body_has_come() {
    let backend = RawBackend::start(|mut peer| async move {
        loop {
            peer.head().await?;
            peer.send(OK).await?;
        }
    })
    .await;
    let http = HttpSettings { head_timeout: DEADLINE, idle_timeout: IDLE, ..HttpSettings::default() };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await;
    let mut client = stage.client().await;
    client.send(format!("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{MODEL}")).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, None), "{answer:?}");
    client.send(" ".repeat(1000 - MODEL.len())).await;
    assert!(tokio::time::timeout(4 * DEADLINE, client.stream.readable()).await.is_err(), "closed before its time");
    assert_eq!(client.ask(get("/v1/x?model=m")).await.status, 200);
}

#[tokio::test]
async fn the_rest_of_a_refused_body_has_the_deadline_of_a_head() {
    let (stage, _backend) = stage().await;
    let mut client = stage.client().await;
    let started = Instant::now();
    client.send("POST /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n12").await;
    assert_eq!(client.answer().await.unwrap().status, 404);
    client.ended().await;
    assert!(started.elapsed() < DEADLINE + LATE, "{:?}", started.elapsed());
}
