//! Bodies: held within bounds, passed on as they came, broken off when a second model comes late.

use std::io::Write;
use std::sync::Arc;

use lw_inference_proxy::adapters::http::HttpSettings;

use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{RawClient, post, post_with};
use super::{MODEL, OK};

async fn held(per_body: usize, total: usize) -> (Stage, RawBackend) {
    let backend = RawBackend::answering(OK).await;
    let http = HttpSettings { max_held_body: per_body, max_held_total: total, ..HttpSettings::default() };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await;
    (stage, backend)
}

fn padded(bytes: usize) -> String {
    format!("{{\"x\":\"{}\",\"model\":\"m\"}}", "a".repeat(bytes))
}

#[tokio::test]
async fn rule_11_what_one_request_holds_is_bounded() {
    let (stage, backend) = held(64 << 10, 1 << 30).await;
    assert_eq!(stage.ask(post("/v1/x", &padded(32 << 10))).await.status, 200);
    let over = stage.ask(post("/v1/x", &padded(256 << 10))).await;
    assert_eq!((over.status, over.code().as_str()), (413, "body_too_large"));
    assert_eq!(over.header("connection"), Some("close"));
    // With the model first, nothing is held and nothing is too large.
    let body = format!("{{\"model\":\"m\",\"x\":\"{}\"}}", "a".repeat(1 << 20));
    assert_eq!(stage.ask(post("/v1/x", &body)).await.status, 200);
    assert_eq!(backend.requests()[1].body, body.as_bytes());
}

#[tokio::test]
async fn rule_11_what_all_requests_hold_is_bounded_and_given_back() {
    let (stage, _backend) = held(1 << 20, 128 << 10).await;
    let mut holding: Vec<RawClient> = Vec::new();
    let part =
        format!("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n{{\"x\":\"{}", "a".repeat(60_000));
    for _ in 0..3 {
        let mut client = stage.client().await;
        client.send(&part).await;
        holding.push(client);
    }
    // Whoever comes over the bound is told so; the others wait on.
    let mut refused = 0;
    let (first, _, _) =
        futures_util::future::select_all(holding.iter_mut().map(|client| Box::pin(client.answer()))).await;
    let answer = first.unwrap();
    refused += usize::from(answer.status == 503);
    assert_eq!((refused, answer.code().as_str()), (1, "overloaded"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    drop(holding);
    // Once they have left, there is room again.
    super::support::raw_backend::soon("room", async {
        while stage.ask(post("/v1/x", &padded(100_000))).await.status != 200 {}
    })
    .await;
}

#[tokio::test]
async fn rule_12_a_bomb_costs_no_more_than_the_bound() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"{\"x\":\"").unwrap();
    for _ in 0..256 {
        gzip.write_all(&[b'a'; 1 << 20]).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    let started = std::time::Instant::now();
    let mut client = stage.client().await;
    let head =
        format!("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    client.send(head).await;
    let _ = client.try_send(&bomb).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{answer:?}");
    println!("rule 12: {} KiB that would be 256 MiB refused after {:?}", bomb.len() / 1024, started.elapsed());
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn rule_12_a_bomb_behind_the_model_is_refused_as_too_large() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"{\"model\":\"m\",\"x\":\"").unwrap();
    gzip.flush().unwrap();
    let first = gzip.get_ref().len();
    gzip.write_all(&vec![b'a'; 64 << 20]).unwrap();
    let bomb = gzip.finish().unwrap();
    let mut client = stage.client().await;
    let head =
        format!("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    client.send(head).await.send(&bomb[..first]).await;
    stage.until("the request to be under way", |_| stage.in_flight("b0") == 1).await;
    let _ = client.try_send(&bomb[first..]).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{answer:?}");
    assert!(backend.requests().is_empty(), "no complete body");
}

#[tokio::test]
async fn compressed_bodies_are_forwarded_as_they_came() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    let text = padded(1000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let mut brotli = Vec::new();
    brotli::CompressorWriter::new(&mut brotli, 4096, 5, 22).write_all(text.as_bytes()).unwrap();
    let zstd = zstd::stream::encode_all(text.as_bytes(), 3).unwrap();
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("br", brotli), ("zstd", zstd)] {
        let mut client = stage.client().await;
        let head = format!(
            "POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.send(head).await.send(&body).await;
        assert_eq!(client.answer().await.unwrap().status, 200, "{encoding}");
        let seen = backend.requests().pop().unwrap();
        assert_eq!((seen.body, seen.head.contains(encoding)), (body, true), "{encoding}");
    }
    let unknown = stage.ask(post_with("/v1/x", "content-encoding: lzma\r\n", MODEL)).await;
    assert_eq!(unknown.status, 415);
}

#[tokio::test]
async fn rule_12_a_form_names_its_model_before_or_after_the_file_but_once() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    let part =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let file = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model.wav\"\r\nContent-Type: audio/wav\r\n\r\n{}\r\n",
        "\u{0}".repeat(10_000)
    );
    let kind = "content-type: multipart/form-data; boundary=b\r\n";
    for body in [format!("{}{file}--b--\r\n", part("model", "m")), format!("{file}{}--b--\r\n", part("model", "m"))] {
        assert_eq!(stage.ask(post_with("/v1/audio/transcriptions", kind, &body)).await.status, 200);
        assert_eq!(backend.requests().pop().unwrap().body, body.as_bytes());
    }
    let twice = format!("{}{}{file}--b--\r\n", part("model", "m"), part("model", "m"));
    let answer = stage.ask(post_with("/v1/audio/transcriptions", kind, &twice)).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "ambiguous_model"));
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn rule_10_a_second_model_that_comes_late_breaks_the_request_off() {
    for chunked in [false, true] {
        let (begun, over) = (Signal::new(), Signal::new());
        let (at, end) = (begun.clone(), over.clone());
        let backend = RawBackend::start(move |mut peer| {
            let (at, end) = (at.clone(), end.clone());
            async move {
                let head = peer.head_unrecorded().await?;
                at.give();
                let rest = peer.rest(head).await;
                end.give();
                rest?;
                peer.send(OK).await
            }
        })
        .await;
        let stage = Stage::before(backend.address()).await;
        let mut client = stage.client().await;
        let (first, second) = (r#"{"model":"m","x":1,"#, r#""model":"evil"}"#);
        if chunked {
            let head = "POST /v1/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
            client.send(format!("{head}{:x}\r\n{first}\r\n", first.len())).await;
        } else {
            let length = first.len() + second.len();
            client.send(format!("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{first}")).await;
        }
        begun.given().await;
        match chunked {
            true => client.send(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len())).await,
            false => client.send(second).await,
        };
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "ambiguous_model"), "{answer:?}");
        over.given().await;
        assert!(backend.requests().is_empty(), "the backend never had a complete body");
    }
}

#[tokio::test]
async fn a_request_that_is_refused_for_its_model_keeps_the_connection() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    let mut client = stage.client().await;
    for body in ["{}", r#"{"model":"m","model":"m"}"#, "abc", r#"{"model":"unknown"}"#] {
        let answer = client.ask(post("/v1/x", body)).await;
        assert!(matches!(answer.status, 400 | 404) && answer.header("connection").is_none(), "{answer:?}");
    }
    assert_eq!(client.ask(post("/v1/x", MODEL)).await.status, 200, "the same connection");
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn the_model_of_a_request_without_a_body_is_in_its_query() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(stage.ask(get("/v1/realtime?a=b&model=%6d")).await.status, 200);
    assert_eq!(backend.requests()[0].line(), "GET /v1/realtime?a=b&model=%6d HTTP/1.1");
    for (query, code) in [("", "missing_model"), ("?model=", "invalid_model"), ("?model=m&model=m", "ambiguous_model")]
    {
        assert_eq!(stage.ask(get(&format!("/v1/realtime{query}"))).await.code(), code);
    }
}

#[tokio::test]
async fn rule_11_a_body_in_one_byte_chunks_is_counted_by_what_it_costs() {
    let (stage, _backend) = held(64 << 10, 1 << 30).await;
    let stage = Arc::new(stage);
    let mut client = stage.client().await;
    client.send("POST /v1/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n\"\r\n").await;
    // A chunk of one byte costs far more than a byte: the bound comes long before 64 Ki of them.
    let (chunks, mut sent) = ("1\r\na\r\n".repeat(64), 0);
    while sent < 64 << 10 && client.try_send(&chunks).await.is_ok() {
        sent += 64;
    }
    let answer = client.answer().await.map(|answer| answer.status);
    assert!(answer.is_none_or(|status| status == 413), "{answer:?} after {sent} bytes");
}
