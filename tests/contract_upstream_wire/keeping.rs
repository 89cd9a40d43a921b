//! After which responses a backend keeps its connections: what is discovered of that, and what is not taken for granted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lw_inference_proxy::adapters::upstream::UpstreamSettings;
use ports::upstream::UpstreamResponse;

use crate::support::bodies::{get, post, text};
use crate::support::raw_backend::RawBackend;
use crate::support::upstream_contract::{respond, send};
use crate::{OK, channel_with, trusting};

/// A kind of response, as a server that says nothing of its connection sends it.
const KINDS: [&str; 6] = [
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nkeep-alive: timeout=5, max=100\r\n\
     transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK,
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
    "HTTP/1.1 500 Error\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
];

#[tokio::test]
async fn no_request_is_lost_at_a_backend_that_closes_after_its_responses_without_a_word() {
    for kind in KINDS {
        for micros in [0, 30, 1_000, 11_000, 50_000] {
            let backend = RawBackend::start(move |mut peer| async move {
                peer.request().await?;
                peer.send(kind).await?;
                tokio::time::sleep(Duration::from_micros(micros)).await;
                Ok(())
            })
            .await;
            let channel = channel_with(&backend, UpstreamSettings::default());
            let mut lost = 0;
            for _ in 0..40 {
                match send(&channel, post("/", "body")).await {
                    Ok(UpstreamResponse::Response(response)) => drop(text(response).await),
                    Ok(UpstreamResponse::Tunnel(..)) => panic!("a tunnel"),
                    Err(_) => lost += 1,
                }
            }
            assert_eq!((lost, backend.requests().len()), (0, 40), "closed {micros} us after {kind:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_reads_one_connection_at_a_time_is_not_kept_from_the_next() {
    let one = Arc::new(tokio::sync::Mutex::new(()));
    let backend = RawBackend::start(move |mut peer| {
        let one = Arc::clone(&one);
        async move {
            let _turn = one.lock().await;
            while peer.request().await.is_ok() {
                peer.send(OK).await?;
            }
            Ok(())
        }
    })
    .await;
    // Idle connections live longer than the test waits.
    let idle_timeout = Duration::from_secs(600);
    let settings =
        UpstreamSettings { probation: Duration::from_millis(50), idle_timeout, ..UpstreamSettings::default() };
    let channel = channel_with(&backend, settings);
    for number in 0..6 {
        let answered = async { text(respond(&channel, get("/")).await).await };
        assert!(tokio::time::timeout(Duration::from_secs(60), answered).await.is_ok(), "request {number}");
    }
}

#[tokio::test]
async fn a_kind_of_response_after_which_connections_stay_open_is_learnt_and_the_others_are_not() {
    let backend = RawBackend::start(|mut peer| async move {
        loop {
            let line = peer.request().await?.line().to_owned();
            if line.contains("stream") {
                peer.send(KINDS[0]).await?;
                return Ok(());
            }
            peer.send(OK).await?;
        }
    })
    .await;
    let settings = UpstreamSettings { probation: Duration::from_millis(50), ..UpstreamSettings::default() };
    let channel = channel_with(&backend, settings);
    text(respond(&channel, get("/")).await).await;
    // Discovered as soon as a request comes on a connection that was there before.
    let mut sent = 1;
    while backend.connections() == sent {
        assert!(sent < 1000, "not discovered");
        tokio::time::sleep(Duration::from_millis(5)).await;
        text(respond(&channel, get("/")).await).await;
        sent += 1;
    }
    for _ in 0..20 {
        text(respond(&channel, get("/stream")).await).await;
        text(respond(&channel, get("/")).await).await;
    }
}

#[tokio::test]
async fn a_backend_that_ceases_to_keep_its_connections_loses_few_requests() {
    let keeps = Arc::new(AtomicBool::new(true));
    let keeping = Arc::clone(&keeps);
    let backend = RawBackend::start(move |mut peer| {
        let keeps = Arc::clone(&keeping);
        async move {
            loop {
                peer.request().await?;
                peer.send(OK).await?;
                if !keeps.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    return Ok(());
                }
            }
        }
    })
    .await;
    let channel = channel_with(&backend, trusting());
    for _ in 0..10 {
        text(respond(&channel, get("/")).await).await;
    }
    assert_eq!(backend.connections(), 1);
    keeps.store(false, Ordering::Relaxed);
    let mut lost = 0;
    for _ in 0..200 {
        match send(&channel, get("/")).await {
            Ok(UpstreamResponse::Response(response)) => drop(text(response).await),
            Ok(UpstreamResponse::Tunnel(..)) => panic!("a tunnel"),
            Err(_) => lost += 1,
        }
    }
    assert!(lost <= 1, "{lost} requests");
}

#[tokio::test]
async fn a_backend_that_closes_what_is_idle_before_we_do_is_learnt_to_do_so() {
    let backend = RawBackend::start(|mut peer| async move {
        loop {
            tokio::time::timeout(Duration::from_millis(400), peer.request()).await??;
            peer.send(OK).await?;
        }
    })
    .await;
    let settings = UpstreamSettings {
        probation: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(600),
        ..UpstreamSettings::default()
    };
    let channel = channel_with(&backend, settings);
    let mut ours = Vec::new();
    for _ in 0..3 {
        text(respond(&channel, get("/")).await).await;
        let since = Instant::now();
        backend.until("the idle connection to be closed", |backend| backend.open() == 0).await;
        ours.push(since.elapsed());
    }
    assert!(ours[0] >= Duration::from_millis(390), "the backend closes first: {ours:?}");
    assert!(ours[2] < Duration::from_millis(390), "and then we do: {ours:?}");
}

#[tokio::test]
async fn connections_that_are_only_watched_make_room_for_requests() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel_with(&backend, UpstreamSettings { max_connections: 1, ..UpstreamSettings::default() });
    for sent in 1..=5 {
        assert_eq!(text(respond(&channel, get("/")).await).await, "ok");
        assert_eq!(backend.connections(), sent);
    }
}
