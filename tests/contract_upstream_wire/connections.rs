//! When a connection is used again, when not, and when it goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use lw_inference_proxy::adapters::upstream::{HttpUpstream, UpstreamSettings};
use ports::upstream::{SendFailure, Sent, UpstreamClient};

use crate::support::bodies::{self, get, post, read, text};
use crate::support::raw_backend::{Blackhole, Ended, RawBackend, Signal};
use crate::support::upstream_contract::{fail, respond, target};
use crate::{OK, channel, channel_with, idle_for, trusting};

#[tokio::test]
async fn a_connection_is_used_again_after_a_complete_exchange() {
    let answers = [
        OK,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
    ];
    for answer in answers {
        let backend = RawBackend::answering(answer).await;
        let channel = channel(&backend);
        for _ in 0..5 {
            text(respond(&channel, post("/", "body")).await).await;
            text(respond(&channel, get("/")).await).await;
        }
        assert_eq!((backend.connections(), backend.requests().len()), (1, 10), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_asked_for_more_after_its_last_byte_still_frees_its_connection() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    for _ in 0..3 {
        let mut body = respond(&channel, get("/")).await.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
        assert!(body.is_end_stream());
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn requests_at_the_same_time_have_connections_of_their_own() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    let (one, two) = (respond(&channel, get("/1")).await, respond(&channel, get("/2")).await);
    assert_eq!((text(one).await, text(two).await), ("ok".into(), "ok".into()));
    assert_eq!(backend.connections(), 2);
    respond(&channel, get("/3")).await;
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_connection_goes_when_either_side_wants_it_to_be_the_last_exchange() {
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let old = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
    let spent = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5, max=0\r\ncontent-length: 2\r\n\r\nok";
    let until_the_end = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=0\r\ncontent-length: 2\r\n\r\nok";
    for answer in [closing, old, spent, until_the_end] {
        let backend = RawBackend::answering(answer).await;
        let channel = channel(&backend);
        for _ in 0..3 {
            assert_eq!(text(respond(&channel, get("/")).await).await, "ok");
        }
        assert_eq!(backend.connections(), 3, "{answer}");
        backend.until("every connection to be closed", |backend| backend.open() == 0).await;
    }

    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    for _ in 0..3 {
        let mut request = get("/");
        request.headers_mut().insert("connection", "close".parse().unwrap());
        assert_eq!(text(respond(&channel, request).await).await, "ok");
    }
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn an_http_1_0_backend_is_not_spoken_to_in_http_1_0() {
    let backend =
        RawBackend::answering("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok").await;
    let channel = channel(&backend);
    for _ in 0..2 {
        respond(&channel, get("/")).await;
    }
    for request in backend.requests() {
        assert_eq!((request.line(), request.headers()), ("GET / HTTP/1.1", vec!["host: backend"]));
    }
}

#[tokio::test]
async fn a_backend_that_says_how_many_requests_it_takes_gets_no_more() {
    let backend = RawBackend::start(|mut peer| async move {
        for more in [2, 1, 0] {
            peer.request().await?;
            peer.send(format!("HTTP/1.1 200 OK\r\nkeep-alive: max={more}\r\ncontent-length: 2\r\n\r\nok")).await?;
        }
        assert_eq!(peer.ended().await, Ended::Fin);
        Ok(())
    })
    .await;
    let channel = channel(&backend);
    for _ in 0..7 {
        assert_eq!(text(respond(&channel, post("/", "x")).await).await, "ok");
    }
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_while_it_was_idle_is_not_noticed_by_anyone() {
    // Closes after each answer without saying so, at once or a little later, in order or with a reset.
    for (pause, reset) in [(0, false), (0, true), (20, false), (20, true)] {
        let backend = RawBackend::start(move |mut peer| async move {
            peer.request().await?;
            peer.send(OK).await?;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if reset { peer.reset() } else { Ok(()) }
        })
        .await;
        let channel = channel(&backend);
        for sent in 1..=20 {
            assert_eq!(text(respond(&channel, post("/", "body")).await).await, "ok");
            backend.until("the connection to be closed", |backend| backend.open() == 0).await;
            assert_eq!(backend.connections(), sent);
        }
        assert_eq!(backend.requests().len(), 20, "a request was sent twice");
    }
}

#[tokio::test]
async fn all_dead_connections_are_passed_over() {
    let close = Signal::new();
    let closing = close.clone();
    let backend = RawBackend::start(move |mut peer| {
        let close = closing.clone();
        async move {
            peer.request().await?;
            peer.send(OK).await?;
            if peer.connection < 8 {
                close.given().await;
            } else {
                peer.ended().await;
            }
            Ok(())
        }
    })
    .await;
    let channel = channel(&backend);
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(respond(&channel, get("/")).await);
    }
    for answer in answers {
        text(answer).await;
    }
    close.give();
    backend.until("all to be closed", |backend| backend.open() == 0).await;
    assert_eq!(text(respond(&channel, post("/", "body")).await).await, "ok");
    assert_eq!((backend.connections(), backend.requests().len()), (9, 9));
}

#[tokio::test]
async fn a_request_that_a_used_connection_may_have_delivered_is_never_sent_again() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.request().await?;
        peer.send(OK).await?;
        // Reads the second request, and dies.
        peer.request().await?;
        Ok(())
    })
    .await;
    for request in [get, |path: &str| post(path, "body")] {
        let channel = channel(&backend);
        let before = backend.requests().len();
        text(respond(&channel, request("/1")).await).await;
        let error = fail(&channel, request("/2")).await;
        assert_eq!(error.sent, Sent::MaybeSent);
        assert_eq!(backend.requests().len() - before, 2);
    }
}

#[tokio::test]
async fn idle_connections_are_closed_in_time_though_nobody_asks() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel_with(&backend, idle_for(300));
    let answers = [respond(&channel, get("/")).await, respond(&channel, get("/")).await];
    for answer in answers {
        text(answer).await;
    }
    let since = Instant::now();
    backend.until("the idle connections to be closed", |backend| backend.open() == 0).await;
    assert!(since.elapsed() >= Duration::from_millis(250), "closed after {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(2), "closed after {:?}", since.elapsed());
    // And once more: what closes them starts again.
    text(respond(&channel, get("/")).await).await;
    assert_eq!(backend.connections(), 3);
    backend.until("the idle connection to be closed", |backend| backend.open() == 0).await;
}

#[tokio::test]
async fn a_backend_that_waits_less_than_we_do_is_not_made_to_close_first() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.request().await?;
        peer.send("HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok").await?;
        let since = Instant::now();
        assert_eq!(peer.ended().await, Ended::Fin);
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
        Ok(())
    })
    .await;
    let channel = channel(&backend);
    text(respond(&channel, get("/")).await).await;
    let since = Instant::now();
    backend.until("the idle connection to be closed", |backend| backend.open() == 0).await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_kept() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel_with(&backend, UpstreamSettings { max_idle: 2, ..trusting() });
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(respond(&channel, get("/")).await);
    }
    for answer in answers {
        text(answer).await;
    }
    backend.until("three to be closed", |backend| backend.open() == 2).await;
    assert_eq!(backend.connections(), 5);
}

#[tokio::test]
async fn one_connection_too_many_is_refused_before_anything_is_sent() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel_with(&backend, UpstreamSettings { max_connections: 2, ..UpstreamSettings::default() });
    let open = (respond(&channel, get("/")).await, respond(&channel, get("/")).await);
    let error = fail(&channel, post("/", "body")).await;
    assert!(matches!(error.failure, SendFailure::TooManyConnections(2)), "{error:?}");
    assert_eq!(error.sent, Sent::NotSent);
    assert_eq!(read(error.request.unwrap().into_body()).await.text(), "body");
    // Places come back: by a complete answer, by one that is dropped, and from the idle ones.
    drop(open.0);
    text(open.1).await;
    for _ in 0..5 {
        let (one, two) = (respond(&channel, get("/")).await, respond(&channel, get("/")).await);
        drop(one);
        text(two).await;
    }
}

#[tokio::test]
async fn failed_attempts_to_connect_give_their_place_back() {
    let address = crate::support::raw_backend::nobody();
    let settings = UpstreamSettings { max_connections: 1, ..UpstreamSettings::default() };
    let channel = HttpUpstream::new(settings).unwrap().open(&target(address));
    for _ in 0..3 {
        let error = fail(&channel, get("/")).await;
        assert!(matches!(error.failure, SendFailure::ConnectionRefused), "{error:?}");
    }
}

#[tokio::test]
async fn an_attempt_to_connect_is_bounded_in_time() {
    let hole = Blackhole::dig().await;
    let settings = UpstreamSettings { connect_timeout: Duration::from_millis(200), ..UpstreamSettings::default() };
    let channel = HttpUpstream::new(settings).unwrap().open(&target(hole.address()));
    let since = Instant::now();
    let error = fail(&channel, post("/", "body")).await;
    let limit = Duration::from_millis(200);
    assert!(matches!(error.failure, SendFailure::ConnectTimeout(within) if within == limit), "{error:?}");
    assert_eq!(error.sent, Sent::NotSent);
    assert_eq!(read(error.request.unwrap().into_body()).await.text(), "body");
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_connection_that_is_closed_before_a_byte_went_out_counts_as_not_sent() {
    // A listener whose process dies with connections in its queue.
    let backend = RawBackend::start(|peer| async move { peer.reset() }).await;
    let channel = channel(&backend);
    let (sender, body) = bodies::channel();
    let request = Request::post("/").header("host", "backend").body(body).unwrap();
    // Either it was noticed in time, and the request is in its slot, or it may have been sent. Never both.
    fail(&channel, request).await;
    drop(sender);
}

#[tokio::test]
async fn retiring_closes_idle_connections_at_once_and_others_at_their_end() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    let (idle, running) = (respond(&channel, get("/")).await, respond(&channel, get("/")).await);
    text(idle).await;
    channel.retire();
    backend.until("the idle connection to be closed", |backend| backend.open() == 1).await;
    assert_eq!(text(running).await, "ok");
    backend.until("the other one to be closed", |backend| backend.open() == 0).await;
    for opened in 3..=5 {
        assert_eq!(respond(&channel, get("/")).await.status(), StatusCode::OK);
        backend.until("the new one to be closed", |backend| backend.open() == 0).await;
        assert_eq!(backend.connections(), opened);
    }
}

#[tokio::test]
async fn connections_go_with_their_channel() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    let (idle, running) = (respond(&channel, get("/")).await, respond(&channel, get("/")).await);
    text(idle).await;
    drop(channel);
    backend.until("the idle connection to be closed", |backend| backend.open() == 1).await;
    assert_eq!(text(running).await, "ok");
    backend.until("the other one to be closed", |backend| backend.open() == 0).await;
}

#[tokio::test]
async fn channels_share_no_connections() {
    let backend = RawBackend::answering(OK).await;
    let client = HttpUpstream::new(UpstreamSettings::default()).unwrap();
    let channels = [client.open(&target(backend.address())), client.open(&target(backend.address()))];
    for channel in &channels {
        text(respond(channel, get("/")).await).await;
    }
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_new_backend_on_an_old_address_gets_no_old_connection() {
    let old = RawBackend::answering("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold").await;
    let address = old.address();
    let client = HttpUpstream::new(UpstreamSettings::default()).unwrap();
    let before = client.open(&target(address));
    assert_eq!(text(respond(&before, get("/")).await).await, "old");
    old.stop().await;
    let new = RawBackend::start_on(address, |mut peer| async move {
        loop {
            peer.request().await?;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew").await?;
        }
    })
    .await;
    let after = client.open(&target(address));
    assert_eq!(text(respond(&after, post("/", "body")).await).await, "new");
    assert_eq!((new.connections(), new.requests().len()), (1, 1));
}

#[tokio::test]
async fn nothing_fails_against_a_backend_that_closes_idle_connections_early() {
    // Our connections wait shorter than the backend's, at gaps around both limits.
    let backend = RawBackend::start(|mut peer| async move {
        loop {
            match tokio::time::timeout(Duration::from_millis(150), peer.request()).await {
                Ok(request) => drop(request?),
                Err(_) => return Ok(()),
            }
            peer.send(OK).await?;
        }
    })
    .await;
    let channel = channel_with(&backend, idle_for(75));
    let channel = Arc::new(channel);
    let clients: Vec<_> = (0..8_u64)
        .map(|client| {
            let channel = Arc::clone(&channel);
            tokio::spawn(async move {
                for round in 0..12_u64 {
                    tokio::time::sleep(Duration::from_millis((client * 37 + round * 53) % 190)).await;
                    assert_eq!(text(respond(&channel, post("/", "body")).await).await, "ok");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(backend.requests().len(), 96);
}
