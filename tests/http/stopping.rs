//! Stopping the server: what is in flight finishes, what is idle closes, what is late is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lw_inference_proxy::domain::container::{ContainerId, Edge};
use lw_inference_proxy::domain::signal;

use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{End, get, post};
use super::{EVENTS, MODEL, OK};

/// A backend that streams until it is told to end.
async fn streaming(end: &Signal) -> RawBackend {
    let end = end.clone();
    RawBackend::start(move |mut peer| {
        let end = end.clone();
        async move {
            let request = peer.request().await?;
            if request.line().contains("quick") {
                return peer.send(OK).await;
            }
            peer.send(EVENTS).await?;
            peer.send_chunk("data: one\n\n").await?;
            end.given().await;
            peer.send_chunk("data: [DONE]\n\n").await?;
            peer.send("0\r\n\r\n").await
        }
    })
    .await
}

#[tokio::test]
async fn rule_25_streams_finish_idle_connections_close_and_new_ones_are_refused() {
    let end = Signal::new();
    let backend = streaming(&end).await;
    let mut stage = Stage::before(backend.address()).await;
    let (mut idle, mut silent) = (stage.client().await, stage.client().await);
    assert_eq!(idle.ask(get("/v1/quick?model=m")).await.status, 200);
    let mut stream = stage.client().await;
    stream.send(post("/v1/x", MODEL)).await;
    assert_eq!(stream.head().await.unwrap().status, 200);
    assert_eq!(stream.next_chunk().await.unwrap().unwrap(), b"data: one\n\n");
    stage.shared.begin_stop();
    assert_eq!(stage.ask(get("/readyz")).await.status, 503);
    let last = stage.ask(get("/v1/quick?model=m")).await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")), "taken while the delay lasts");
    stage.stop_accepting.cancel();
    assert_eq!((idle.ended().await, silent.ended().await), (End::Fin, End::Fin));
    let refused = super::support::raw_backend::soon("refusal", async {
        while tokio::net::TcpStream::connect(stage.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    refused.await;
    end.give();
    assert_eq!(stream.next_chunk().await.unwrap().unwrap(), b"data: [DONE]\n\n");
    assert_eq!(stream.next_chunk().await.unwrap(), None, "a clean end");
    drop(stream);
    assert_eq!(stage.served().await, 0, "nothing was cut");
}

#[tokio::test]
async fn rule_25_the_deadline_cuts_what_is_left_and_the_client_sees_it() {
    let end = Signal::new();
    let backend = streaming(&end).await;
    let mut stage = Stage::before(backend.address()).await;
    let mut stream = stage.client().await;
    stream.send(post("/v1/x", MODEL)).await;
    stream.head().await.unwrap();
    stream.next_chunk().await.unwrap();
    let mut half = stage.client().await;
    half.send("POST /v1/x HTTP/1.1\r\nhost:").await;
    stage.stop_accepting.cancel();
    stage.abort.cancel();
    assert!(stream.next_chunk().await.is_err(), "broken, not ended");
    half.ended().await;
    assert!(stage.served().await >= 1);
    backend.until("the backend's side to close", |backend| backend.open() == 0 || backend.connections() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_25_fifty_rolling_restarts_of_two_backends_fail_no_request() {
    const RESTARTS: usize = 50;
    let (first, second) = (RawBackend::answering(OK).await, RawBackend::answering(OK).await);
    let backends = [first.address(), second.address()];
    let stage = Arc::new(Stage::tuned(&[("m", backends[0]), ("m", backends[1])], Tuning::default()).await);
    let over = Arc::new(AtomicBool::new(false));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (stage, over) = (Arc::clone(&stage), Arc::clone(&over));
        load.spawn(async move {
            let (mut client, mut count) = (stage.client().await, 0_usize);
            while !over.load(Ordering::Relaxed) {
                let answer = client.ask(post("/v1/x", MODEL)).await;
                assert_eq!((answer.status, answer.end), (200, End::Complete), "{answer:?}");
                count += 1;
            }
            count
        });
    }
    let mut names = ["b0".to_owned(), "b1".to_owned()];
    for restart in 0..RESTARTS {
        let which = restart % 2;
        let id = ContainerId::new(names[which].as_str());
        stage.source.edge(&id, Edge::Signal(signal::Signal::TERM));
        stage.until("the drain", |shared| shared.load().table.active() == 1).await;
        stage.until("its end", |shared| shared.load().table.retiring().is_empty()).await;
        stage.source.edge(&id, Edge::Ended { exit_code: Some(0) });
        stage.source.remove(&id);
        names[which] = format!("c{restart}");
        stage.add(&names[which], "m", backends[which]).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut requests = 0;
    while let Some(count) = load.join_next().await {
        requests += count.unwrap();
    }
    println!("rule 25: {RESTARTS} rolling restarts under load: {requests} requests, none failed");
    assert!(requests > RESTARTS);
}
