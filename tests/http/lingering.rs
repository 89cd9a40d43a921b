//! Answers before the request is complete: the client gets them whole, also one that reads only when it has sent all.

use std::time::{Duration, Instant};

use lw_inference_proxy::adapters::http::HttpSettings;

use super::OK;
use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, nobody};
use super::support::raw_client::{End, RawAnswer, RawClient, get};

const ROOM: u32 = 4096;
const MEBIBYTE: usize = 1 << 20;

/// Sends a head and a body of this many bytes, and reads nothing before all of it was taken.
async fn pushes(client: &mut RawClient, head: &str, body: usize) -> RawAnswer {
    let chunk = vec![b'x'; 64 * 1024];
    client.send(head).await;
    for _ in 0..body / chunk.len() {
        client.try_send(&chunk).await.expect("the body to be taken to its end");
    }
    client.answer().await.expect("an answer")
}

fn head(path: &str, headers: &str, begins: &str, body: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}content-length: {}\r\n\r\n{begins}", begins.len() + body)
}

#[tokio::test]
async fn an_early_answer_of_the_backend_arrives_whole() {
    let answer = format!("HTTP/1.1 413 Too Large\r\ncontent-length: 50000\r\n\r\n{}", "y".repeat(50_000));
    let backend = RawBackend::start(move |mut peer| {
        let answer = answer.clone();
        async move {
            peer.head().await?;
            peer.send(answer).await?;
            peer.ended().await;
            Ok(())
        }
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    for _ in 0..10 {
        let mut client = RawClient::connect_with_room(stage.address, ROOM).await.unwrap();
        let request = head("/v1/x", "", "{\"model\":\"m\",\"x\":\"", 3 * MEBIBYTE);
        let answer = pushes(&mut client, &request, 3 * MEBIBYTE).await;
        assert_eq!((answer.status, answer.body.len(), answer.end), (413, 50_000, End::Complete));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.ended().await, End::Fin);
    }
}

#[tokio::test]
async fn the_proxy_s_own_errors_arrive_before_a_large_body_was_read() {
    let stage = Stage::before(nobody()).await;
    let size = 10 * MEBIBYTE;
    let chunked = "POST /nothing HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\na00000\r\n".to_owned();
    for (name, status, request) in [
        ("no such path", 404, head("/nothing", "", "", size)),
        ("no such path, chunked", 404, chunked),
        ("no such model", 404, head("/v1/x", "", "{\"model\":\"unknown\",\"x\":\"", size)),
        ("not JSON", 400, head("/v1/x", "", "nonsense", size)),
        ("a coding that is not read", 415, head("/v1/x", "content-encoding: compress\r\n", "", size)),
        ("two hosts", 400, head("/v1/x", "host: b\r\n", "", size)),
        ("to be asked for", 404, head("/nothing", "expect: 100-continue\r\n", "", size)),
        ("a head that is none", 400, "nonsense\r\n\r\n".to_owned()),
        ("a head that is too large", 431, format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(70_000))),
    ] {
        for room in [ROOM, 1 << 18] {
            let mut client = RawClient::connect_with_room(stage.address, room).await.unwrap();
            let answer = pushes(&mut client, &request, size).await;
            assert_eq!((answer.status, answer.end), (status, End::Complete), "{name}: {answer:?}");
            assert_eq!(answer.header("connection"), Some("close"), "{name}: {answer:?}");
            assert_eq!(client.ended().await, End::Fin, "{name}");
        }
    }
}

#[tokio::test]
async fn a_connection_over_the_bound_is_told_so_though_it_sends_a_large_body() {
    let http = HttpSettings { max_connections: 1, ..HttpSettings::default() };
    let stage = Stage::tuned(&[("m", nobody())], Tuning { http, ..Tuning::default() }).await;
    let mut inside = stage.client().await;
    assert_eq!(inside.ask(get("/healthz")).await.status, 200);
    for _ in 0..5 {
        let mut over = RawClient::connect_with_room(stage.address, ROOM).await.unwrap();
        let answer = pushes(&mut over, &head("/v1/x", "", "", 3 * MEBIBYTE), 3 * MEBIBYTE).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    }
    assert_eq!(inside.ask(get("/healthz")).await.status, 200);
}

#[tokio::test]
async fn a_client_that_neither_sends_nor_leaves_is_not_waited_for_at_the_end_of_a_stop() {
    let backend = RawBackend::answering(OK).await;
    let mut stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    client.send(head("/nothing", "", "", MEBIBYTE)).await;
    assert_eq!(client.answer().await.unwrap().status, 404);
    stage.stop_accepting.cancel();
    stage.abort.cancel();
    let started = Instant::now();
    assert_eq!(stage.served().await, 0, "no request was cut");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_neither_sends_nor_leaves_is_given_up() {
    let stage = Stage::before(nobody()).await;
    let mut client = stage.client().await;
    client.send(head("/nothing", "", "", MEBIBYTE)).await;
    assert_eq!(client.answer().await.unwrap().status, 404);
    assert_eq!(client.ended().await, End::Fin);
    let started = Instant::now();
    // The first bytes behind the end of it all are answered with a reset.
    while client.try_send("x").await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(40));
        let reset = tokio::time::timeout(Duration::from_secs(3), client.stream.ready(tokio::io::Interest::ERROR));
        if reset.await.is_ok() {
            break;
        }
    }
    println!("given up after {:?}", started.elapsed());
}
