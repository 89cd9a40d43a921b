//! Stopping the server: what is in flight finishes, what is idle closes, what is late is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::container::{ContainerId, LifecycleEvent};
use domain::signal;
use lw_inference_proxy::adapters::http::HttpSettings;

use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{End, RawClient, get, post};
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
    refused(&stage).await;
    end.give();
    assert_eq!(stream.next_chunk().await.unwrap().unwrap(), b"data: [DONE]\n\n");
    assert_eq!(stream.next_chunk().await.unwrap(), None, "a clean end");
    drop(stream);
    assert_eq!(stage.served().await, 0, "nothing was cut");
}

/// Waits until nobody accepts connections any more.
pub async fn refused(stage: &Stage) {
    super::support::raw_backend::soon("refusal", async {
        while tokio::net::TcpStream::connect(stage.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn rule_25_the_first_request_of_a_connection_is_answered_though_it_comes_behind_the_last_accept() {
    let backend = RawBackend::answering(OK).await;
    let mut stage = Stage::before(backend.address()).await;
    let mut fresh = stage.client().await;
    assert_eq!(stage.ask(get("/healthz")).await.status, 200, "what came first was accepted first");
    stage.shared.begin_stop();
    stage.stop_accepting.cancel();
    refused(&stage).await;
    let answer = fresh.ask(post("/v1/x", MODEL)).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer:?}");
    assert_eq!((fresh.ended().await, stage.served().await), (End::Fin, 0));
}

#[tokio::test]
async fn rule_25_connections_that_wait_to_be_accepted_are_accepted_before_the_listener_closes() {
    const WAITING: usize = 50;
    let backend = RawBackend::answering(OK).await;
    let mut stage = Stage::before(backend.address()).await;
    // One thread runs all of this: between these lines nobody accepts.
    let waiting: Vec<_> = (0..WAITING).map(|_| std::net::TcpStream::connect(stage.address).unwrap()).collect();
    stage.shared.begin_stop();
    stage.stop_accepting.cancel();
    for client in waiting {
        client.set_nonblocking(true).unwrap();
        let mut client = RawClient::over(tokio::net::TcpStream::from_std(client).unwrap());
        client.try_send(post("/v1/x", MODEL)).await.unwrap();
        assert_eq!(client.answer().await.map(|answer| answer.status), Some(200));
    }
    assert_eq!(stage.served().await, 0);
}

#[tokio::test]
async fn rule_25_a_connection_whose_answer_ends_during_the_stop_is_served_for_the_stop_delay() {
    let end = Signal::new();
    let backend = streaming(&end).await;
    let http = HttpSettings { stop_delay: Duration::from_millis(1500), ..HttpSettings::default() };
    let mut stage = Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await;
    let (mut used, mut unused, mut idle) = (stage.client().await, stage.client().await, stage.client().await);
    assert_eq!(idle.ask(get("/v1/quick?model=m")).await.status, 200);
    for stream in [&mut used, &mut unused] {
        stream.send(post("/v1/x", MODEL)).await;
        let head = stream.head().await.unwrap();
        assert_eq!((head.status, head.header("connection")), (200, None), "the connection stays, says this");
    }
    stage.shared.begin_stop();
    stage.stop_accepting.cancel();
    assert_eq!(idle.ended().await, End::Fin, "it was idle when the stop began, a stop delay ago");
    end.give();
    used.through(b"0\r\n\r\n").await.unwrap();
    unused.through(b"0\r\n\r\n").await.unwrap();
    let answer = used.ask(get("/v1/quick?model=m")).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer:?}");
    assert_eq!((unused.ended().await, stage.served().await), (End::Fin, 0), "nobody waits for it for ever");
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
        stage.source.edge(&id, LifecycleEvent::Signal(signal::Signal::TERM));
        stage.until("the drain", |shared| shared.load().table.active() == 1).await;
        stage.until("its end", |shared| shared.load().table.draining().is_empty()).await;
        stage.source.edge(&id, LifecycleEvent::Ended { exit_code: Some(0) });
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

/// A client that does not read, with the largest answer that its backend could still send whole: the last bytes of it
/// have not left the proxy. Answers how large it is.
async fn with_a_tail_in_the_proxy(stage: &Stage) -> (RawClient, usize) {
    const ROOM: u32 = 4096;
    const CLOSE_ENOUGH: usize = 4096;
    let (mut best, mut fits, mut too_large) = (None, 0, 32 << 20);
    while too_large - fits > CLOSE_ENOUGH {
        let size = fits.midpoint(too_large);
        let mut client = RawClient::connect_with_room(stage.address, ROOM).await.unwrap();
        client.send(get(&format!("/v1/x?length={size}&model=m"))).await;
        client.head().await.unwrap();
        let sent = stage.until("the answer to be sent", |_| stage.in_flight("b0") == 0);
        match tokio::time::timeout(Duration::from_millis(300), sent).await {
            Ok(()) => (best, fits) = (Some(client), size),
            Err(_) => {
                too_large = size;
                drop(client);
                stage.until("it to be given up", |_| stage.in_flight("b0") == 0).await;
            }
        }
    }
    (best.expect("a size that fits"), fits)
}

#[tokio::test]
async fn a_stop_does_not_cut_the_tail_of_an_answer_off_for_a_slow_reader_that_sent_a_byte_ahead() {
    let backend = RawBackend::start(|mut peer| async move {
        loop {
            let head = peer.request().await?;
            let length = head.line().split(['=', '&', ' ']).find_map(|word| word.parse().ok()).unwrap_or(0);
            peer.answer(vec![b'x'; length]).await?;
        }
    })
    .await;
    let mut stage = Stage::before(backend.address()).await;
    let (mut client, size) = with_a_tail_in_the_proxy(&stage).await;
    client.send("G").await;
    assert_eq!(stage.ask(get("/healthz")).await.status, 200);
    stage.shared.begin_stop();
    stage.stop_accepting.cancel();
    refused(&stage).await;
    // Longer than the stop waits for a head that is due.
    assert!(tokio::time::timeout(Duration::from_millis(1500), stage.served()).await.is_err(), "its task is over");
    assert_eq!(client.body_of(size).await, Ok(size));
}
