//! How answers end: a backend that breaks off is seen as broken by the client, whatever the framing.

use super::support::http_stage::Stage;
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{End, get, post};
use super::{MODEL, OK};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\nhalf";

#[tokio::test]
async fn rule_14_a_backend_that_dies_in_mid_answer_is_seen_as_broken() {
    for (framing, answer) in [("chunked", CHUNKED), ("length", LENGTH), ("until close", UNTIL_CLOSE)] {
        for reset in [false, true] {
            let read = Signal::new();
            let script = read.clone();
            let backend = RawBackend::start(move |mut peer| {
                let read = script.clone();
                async move {
                    peer.request().await?;
                    peer.send(answer).await?;
                    // A reset throws away what was not read yet.
                    read.given().await;
                    if reset { peer.reset() } else { Ok(()) }
                }
            })
            .await;
            let stage = Stage::before(backend.address()).await;
            let mut client = stage.client().await;
            client.send(post("/v1/x", MODEL)).await;
            client.head().await.unwrap();
            let first = match framing {
                "length" => client.through(b"half").await,
                _ => client.next_chunk().await.map(Option::unwrap_or_default),
            };
            assert_eq!(first.unwrap(), b"half", "{framing}, reset {reset}");
            read.give();
            let end = match framing {
                "length" => client.through(b"never").await.map(|_| None),
                _ => client.next_chunk().await,
            };
            let complete_by_closing = framing == "until close" && !reset;
            match end {
                Ok(None) => assert!(complete_by_closing, "{framing}, reset {reset}: a clean end"),
                Ok(Some(more)) => panic!("{more:?}"),
                Err(End::Fin | End::Reset) => assert!(!complete_by_closing),
                Err(End::Complete) => unreachable!(),
            }
            println!("rule 14: {framing}, {}: seen as {end:?}", if reset { "RST" } else { "FIN" });
        }
    }
}

#[tokio::test]
async fn rule_14_nothing_is_added_to_a_broken_stream() {
    let backend = RawBackend::start(|mut peer| async move {
        peer.request().await?;
        peer.send(super::EVENTS).await?;
        peer.send_chunk("data: {}\n\n").await
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let answer = stage.ask(post("/v1/chat/completions", MODEL)).await;
    assert_ne!(answer.end, End::Complete);
    assert_eq!(answer.text(), "data: {}\n\n", "no [DONE] and no error event of our own");
}

#[tokio::test]
async fn rule_08_head_and_answers_without_a_body_keep_their_framing() {
    let backend = RawBackend::start(|mut peer| async move {
        loop {
            let request = peer.request().await?;
            let answer = match request.line().split('?').next().unwrap() {
                "HEAD /v1/length" => "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
                "HEAD /v1/chunked" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "GET /v1/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "GET /v1/304" => "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
                _ => OK,
            };
            peer.send(answer).await?;
        }
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    let head = client.ask("HEAD /v1/length?model=m HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("1234")));
    let head = client.ask("HEAD /v1/chunked?model=m HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-length")), (200, None), "no length is made up");
    for status in [204, 304] {
        let answer = client.ask(get(&format!("/v1/{status}?model=m"))).await;
        assert_eq!((answer.status, answer.header("content-length")), (status, None));
        assert_eq!(answer.header("transfer-encoding"), None);
    }
    assert!(client.still_open().await, "one connection carried all of them");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn rule_08_trailers_of_an_answer_pass() {
    let backend = RawBackend::answering(
        "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
    )
    .await;
    let stage = Stage::before(backend.address()).await;
    let answer = stage.ask("GET /v1/x?model=m HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n").await;
    assert_eq!((answer.text().as_str(), answer.trailers.as_str()), ("ok", "x-sum: 7\r\n"));
    assert_eq!(backend.requests()[0].header("te"), Some("trailers"));
}
