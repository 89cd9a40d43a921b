//! Bytes as they flow: at once, both ways, under backpressure, and no longer than somebody wants them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use ports::upstream::RequestSlot;
use tokio::sync::oneshot;
use tokio::task::coop;

use crate::support::bodies::{self, get, post, read, text};
use crate::support::raw_backend::{Ended, RawBackend, Signal, soon};
use crate::support::upstream_contract::respond;
use crate::{OK, channel};

/// How soon a backend must see that nobody wants its answer any more.
const AT_ONCE: Duration = Duration::from_millis(250);
/// More than all socket buffers between two ends on this machine may hold.
const ALL_BUFFERS: usize = 32 * 1024 * 1024;

#[tokio::test]
async fn every_event_arrives_when_it_was_sent() {
    let (next, mut asked) = tokio::sync::mpsc::channel::<()>(1);
    let backend = RawBackend::once(move |mut peer| async move {
        peer.request().await?;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        let mut number = 0;
        while asked.recv().await.is_some() {
            number += 1;
            peer.send_chunk(&format!("data: {number}\n\n")).await?;
        }
        peer.send("0\r\n\r\n").await
    })
    .await;
    let mut body = respond(&channel(&backend), get("/")).await.into_body();
    for number in 1..=50 {
        next.send(()).await.unwrap();
        let frame = soon("an event", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {number}\n\n"));
    }
    drop(next);
    assert!(soon("the end", body.frame()).await.is_none());
}

#[tokio::test]
async fn a_body_and_an_answer_flow_at_the_same_time() {
    let backend = RawBackend::once(|mut peer| async move {
        peer.head().await?;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        for _ in 0..10 {
            // `4\r\nping\r\n`
            peer.through(b"ping\r\n").await?;
            peer.send_chunk("pong").await?;
        }
        peer.through(b"0\r\n\r\n").await?;
        peer.send("0\r\n\r\n").await?;
        peer.ended().await;
        Ok(())
    })
    .await;
    let channel = channel(&backend);
    let (sender, body) = bodies::channel();
    let request = Request::post("/").header("host", "h").body(body).unwrap();
    let mut answer = respond(&channel, request).await.into_body();
    for _ in 0..10 {
        sender.send(Ok(Bytes::from_static(b"ping"))).await.unwrap();
        assert_eq!(soon("a pong", answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "pong");
    }
    drop(sender);
    assert!(soon("the end", answer.frame()).await.is_none());
}

#[tokio::test]
async fn an_early_answer_is_not_lost_when_the_backend_closes_behind_it() {
    // Unread bytes of the upload make the kernel reset the connection; the answer is there before that.
    for _ in 0..20 {
        let backend = RawBackend::once(|mut peer| async move {
            peer.head().await?;
            peer.send("HTTP/1.1 413 X\r\nconnection: close\r\ncontent-length: 9\r\n\r\ntoo large").await
        })
        .await;
        let (_, body) = bodies::endless();
        let request = Request::post("/").header("host", "h").body(body).unwrap();
        let answer = respond(&channel(&backend), request).await;
        assert_eq!(answer.status(), 413);
        assert_eq!(text(answer).await, "too large");
    }
}

#[tokio::test]
async fn a_connection_with_an_unfinished_upload_is_not_used_again() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.head().await?;
        peer.send("HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno").await?;
        peer.ended().await;
        Ok(())
    })
    .await;
    let channel = channel(&backend);
    for sent in 1..=3 {
        let (sender, body) = bodies::channel();
        let request = Request::post("/").header("host", "h").body(body).unwrap();
        assert_eq!(text(respond(&channel, request).await).await, "no");
        backend.until("the connection to be closed", |backend| backend.open() == 0).await;
        assert_eq!(backend.connections(), sent);
        assert!(sender.is_closed(), "the upload is still wanted");
    }
}

/// A backend that reads, sends `begin`, and tells how soon the connection ended after `dropped`.
async fn watched(whole: bool, begin: &'static str) -> (RawBackend, oneshot::Receiver<(Ended, Instant)>) {
    let (tell, told) = oneshot::channel();
    let backend = RawBackend::once(move |mut peer| async move {
        if whole {
            peer.request().await?;
        } else {
            peer.head().await?;
        }
        peer.send(begin).await?;
        let _ = tell.send((peer.ended().await, Instant::now()));
        Ok(())
    })
    .await;
    (backend, told)
}

async fn gone_at_once(told: impl Future<Output = Result<(Ended, Instant), oneshot::error::RecvError>>, since: Instant) {
    let (_, at) = soon("the end of the connection", told).await.unwrap();
    let after = at.saturating_duration_since(since);
    assert!(after < AT_ONCE, "the backend saw it after {after:?}");
}

#[tokio::test]
async fn a_request_that_is_dropped_while_it_is_uploaded_closes_the_connection() {
    let (backend, told) = watched(false, "").await;
    let channel = channel(&backend);
    let (sender, body) = bodies::channel();
    let request = Request::post("/").header("host", "h").body(body).unwrap();
    let sending = tokio::spawn(async move { channel.send(&RequestSlot::new(Box::new(request))).await.is_ok() });
    sender.send(Ok(Bytes::from_static(b"part"))).await.unwrap();
    backend.until("the head", |backend| backend.requests().len() == 1).await;
    let since = Instant::now();
    sending.abort();
    gone_at_once(told, since).await;
}

#[tokio::test]
async fn a_request_that_is_dropped_while_it_waits_closes_the_connection() {
    let (backend, told) = watched(true, "").await;
    let channel = channel(&backend);
    let sending = tokio::spawn(async move { channel.send(&RequestSlot::new(Box::new(get("/")))).await.is_ok() });
    backend.until("the request", |backend| backend.requests().len() == 1).await;
    let since = Instant::now();
    sending.abort();
    gone_at_once(told, since).await;
}

#[tokio::test]
async fn an_answer_that_is_dropped_while_it_streams_closes_the_connection() {
    let begins = [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome",
        "HTTP/1.1 200 OK\r\n\r\nsome",
    ];
    for begin in begins {
        for read_some in [false, true] {
            let (backend, told) = watched(true, begin).await;
            let channel = channel(&backend);
            let mut body = respond(&channel, get("/")).await.into_body();
            if read_some {
                soon("some bytes", body.frame()).await.unwrap().unwrap();
            }
            let since = Instant::now();
            drop(body);
            gone_at_once(told, since).await;
        }
    }
}

#[tokio::test]
async fn an_attempt_that_is_dropped_while_it_connects_leaves_nothing() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    for _ in 0..20 {
        let slot = RequestSlot::new(Box::new(get("/")));
        let mut sending = channel.send(&slot);
        let _ = futures_util::poll!(&mut sending);
        drop(sending);
    }
    backend.until("every connection to be closed", |backend| backend.open() == 0).await;
    assert_eq!(text(respond(&channel, get("/")).await).await, "ok");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_not_read_from_the_backend() {
    let (tell, told) = oneshot::channel();
    let backend = RawBackend::once(move |mut peer| async move {
        peer.request().await?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await?;
        let _ = tell.send(peer.flood(Duration::from_millis(300)).await?);
        Ok(())
    })
    .await;
    let channel = channel(&backend);
    let mut body = respond(&channel, get("/")).await.into_body();
    soon("the first bytes", body.frame()).await.unwrap().unwrap();
    let accepted = soon("the backend to stall", told).await.unwrap();
    assert!(accepted < ALL_BUFFERS, "{accepted} bytes were taken from it");
}

#[tokio::test]
async fn a_body_that_the_backend_does_not_read_is_not_read_either() {
    let stop = Signal::new();
    let stopped = stop.clone();
    let backend = RawBackend::once(move |mut peer| async move {
        peer.head().await?;
        stopped.given().await;
        Ok(())
    })
    .await;
    let channel = channel(&backend);
    let (taken, body) = bodies::endless();
    let request = Request::post("/").header("host", "h").body(body).unwrap();
    let sending = tokio::spawn(async move { channel.send(&RequestSlot::new(Box::new(request))).await.is_ok() });
    // Until it stands still.
    let mut before = usize::MAX;
    soon("the upload to stall", async {
        while before != taken.bytes() || before == 0 {
            before = taken.bytes();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(before < ALL_BUFFERS, "{before} bytes were taken from the body");
    stop.give();
    sending.abort();
}

#[tokio::test]
async fn a_large_answer_and_a_large_body_arrive_whole() {
    const SIZE: usize = 5_000_000;
    let backend = RawBackend::start(|mut peer| async move {
        loop {
            let request = peer.request().await?;
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len())).await?;
            peer.send(&request.body).await?;
        }
    })
    .await;
    let channel = channel(&backend);
    let body: Bytes = (0..SIZE).map(|n| (n % 251) as u8).collect();
    for _ in 0..2 {
        let request = Request::post("/").header("host", "h").body(bodies::full(body.clone())).unwrap();
        let answer = read(respond(&channel, request).await.into_body()).await;
        assert_eq!(answer.error, None);
        assert!(answer.bytes == body, "{} bytes came back", answer.bytes.len());
    }
    assert_eq!(backend.connections(), 1);
}

/// Polls `future` with no more of the budget of its task than this.
async fn with_budget<T>(units: usize, future: impl Future<Output = T>) -> T {
    /// What tokio gives a task for each poll.
    const WHOLE: usize = 128;
    let mut future = pin!(future);
    poll_fn(|cx| {
        for _ in units..WHOLE {
            if let Poll::Ready(one) = coop::poll_proceed(cx) {
                one.made_progress();
            }
        }
        future.as_mut().poll(cx)
    })
    .await
}

#[tokio::test]
async fn a_response_is_not_missed_where_the_task_has_used_up_its_budget() {
    let stream = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let bare = "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n";
    // With this one the connection is over in the same turn in which the response came.
    let last = "HTTP/1.1 401 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    for answer in [OK, stream, bare, last] {
        let ways = [(true, false), (false, false), (true, true), (false, true)];
        for (units, (whole, closes)) in (1..=12).flat_map(|units| ways.map(|way| (units, way))) {
            // Not whole is on the head alone: nothing then is left to be done on the connection.
            let backend = RawBackend::start(move |mut peer| async move {
                loop {
                    let head = peer.head_unrecorded().await?;
                    if whole {
                        peer.rest(head).await?;
                    }
                    peer.send(answer).await?;
                    if closes {
                        return Ok(());
                    }
                }
            })
            .await;
            let (_sender, unfinished) = bodies::channel();
            let request = match whole {
                true => post("/", "body"),
                false => Request::post("/").header("host", "h").body(unfinished).unwrap(),
            };
            let channel = channel(&backend);
            let exchange = async move { text(respond(&channel, request).await).await };
            // A task of its own: the clock that bounds the wait must not wake it.
            let exchange = tokio::spawn(with_budget(units, exchange));
            soon(&format!("an answer with {units} units, closed: {closes}"), exchange).await.unwrap();
        }
    }
}
