//! Backends that break off.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt;
use ports::upstream::{BodyError, SendFailure, Sent};

use crate::channel;
use crate::support::bodies::{self, get, post, read};
use crate::support::raw_backend::{RawBackend, Signal, soon};
use crate::support::upstream_contract::{fail, respond};

/// Starts an answer, waits until that was read, and goes.
async fn begin_and_go(begin: &'static str, reset: bool) -> (RawBackend, Signal) {
    let go = Signal::new();
    let gone = go.clone();
    let backend = RawBackend::once(move |mut peer| async move {
        peer.request().await?;
        peer.send(begin).await?;
        gone.given().await;
        if reset { peer.reset() } else { Ok(()) }
    })
    .await;
    (backend, go)
}

#[tokio::test]
async fn a_truncated_answer_fails_after_what_came_of_it() {
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome";
    let old = "HTTP/1.0 200 OK\r\ncontent-length: 100\r\n\r\nsome";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n";
    let in_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nsome";
    let in_size = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\nf";
    let before_the_end = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n";
    for begin in [length, old, chunked, in_chunk, in_size, before_the_end] {
        for reset in [false, true] {
            let (backend, go) = begin_and_go(begin, reset).await;
            let channel = channel(&backend);
            let mut body = respond(&channel, get("/")).await.into_body();
            let first = soon("the first bytes", body.frame()).await.unwrap().unwrap();
            assert_eq!(first.data_ref().unwrap(), "some", "{begin:?}");
            go.give();
            let rest = read(body).await;
            assert_eq!(rest.text(), "", "{begin:?}");
            assert!(matches!(rest.error, Some(BodyError::Broken(_))), "{begin:?} {reset}: {:?}", rest.error);
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_fails_on_a_reset_only() {
    // A backend that dies and lets its kernel close in order cannot be told from one that had no more to say.
    for begin in ["HTTP/1.1 200 OK\r\n\r\nsome", "HTTP/1.0 200 OK\r\n\r\nsome"] {
        for reset in [false, true] {
            let (backend, go) = begin_and_go(begin, reset).await;
            let mut body = respond(&channel(&backend), get("/")).await.into_body();
            soon("the first bytes", body.frame()).await.unwrap().unwrap();
            go.give();
            let rest = read(body).await;
            assert_eq!(matches!(rest.error, Some(BodyError::Broken(_))), reset, "{:?}", rest.error);
            assert_eq!(rest.error.is_some(), reset);
        }
    }
}

#[tokio::test]
async fn what_is_no_chunked_body_is_malformed() {
    for chunk in ["zz\r\nsome\r\n", "-1\r\n", "4\r\nsomemore", "0x4\r\nsome\r\n", "11111111111111111\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}");
        let backend = RawBackend::answering(answer).await;
        let body = read(respond(&channel(&backend), get("/")).await.into_body()).await;
        assert!(matches!(body.error, Some(BodyError::Malformed(_))), "{chunk:?}: {:?}", body.error);
        backend.until("the connection to be closed", |backend| backend.open() == 0).await;
    }
}

#[tokio::test]
async fn a_break_before_the_answer_is_told_as_such_and_nothing_is_sent_twice() {
    for begin in ["", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 100 Continue\r\n\r\n"] {
        for reset in [false, true] {
            let (backend, go) = begin_and_go(begin, reset).await;
            go.give();
            let error = fail(&channel(&backend), post("/", "body")).await;
            assert!(matches!(error.failure, SendFailure::Broken(_)), "{begin:?} {reset}: {error:?}");
            assert_eq!(error.sent, Sent::MaybeSent);
            assert_eq!((backend.connections(), backend.requests().len()), (1, 1));
        }
    }
}

#[tokio::test]
async fn a_request_body_that_fails_breaks_the_request_visibly_and_is_not_blamed_on_the_backend() {
    for error in
        [BodyError::Broken("client gone".into()), BodyError::Stalled(Duration::from_secs(60)), BodyError::ForceClosed]
    {
        let backend = RawBackend::once(|mut peer| async move { peer.request().await.map(drop) }).await;
        let body = bodies::frames([Ok(Frame::data(Bytes::from_static(b"some"))), Err(error.clone())]);
        let request = Request::post("/").header("host", "h").body(body).unwrap();
        let SendFailure::RequestBody(told) = fail(&channel(&backend), request).await.failure else {
            panic!("blamed on the backend")
        };
        assert_eq!(told, error);
        backend.until("the connection to be closed", |b| b.connections() == 1 && b.open() == 0).await;
        assert_eq!(backend.requests().len(), 0, "the backend saw a whole request");
    }
}

#[tokio::test]
async fn a_request_body_that_fails_after_the_answer_began_breaks_the_answer() {
    let backend = RawBackend::once(|mut peer| async move {
        peer.head().await?;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n").await?;
        peer.ended().await;
        Ok(())
    })
    .await;
    let (sender, body) = bodies::channel();
    let request = Request::post("/").header("host", "h").body(body).unwrap();
    let mut body = respond(&channel(&backend), request).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "some");
    sender.send(Err(BodyError::Broken("client gone".into()))).await.unwrap();
    let rest = read(body).await;
    let Some(BodyError::Broken(reason)) = rest.error else { panic!("{:?}", rest.error) };
    assert!(reason.contains("client gone"), "{reason}");
}
