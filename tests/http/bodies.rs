//! Bodies: held within bounds, passed on as they came, broken off when a second model comes late.

use std::io::Write;

use lw_inference_proxy::adapters::http::HttpSettings;

use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{RawClient, post, post_with};
use super::{MODEL, OK};

async fn held(per_body: usize, total: usize) -> (Stage, RawBackend) {
    let backend = RawBackend::answering(OK).await;
    let http = HttpSettings { max_buffered_body: per_body, max_buffered_total: total, ..HttpSettings::default() };
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
    for unknown in
        ["lzma", "compress", "x-compress", "gzip, gzip", "gzip\r\ncontent-encoding: br", "aws-chunked", "identity, xz"]
    {
        let answer = stage.ask(post_with("/v1/x", &format!("content-encoding: {unknown}\r\n"), MODEL)).await;
        assert_eq!(answer.status, 415, "{unknown}");
    }
}

#[tokio::test]
async fn what_is_no_coding_is_looked_at_as_it_stands_and_passed_on() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    for value in [
        "UTF-8",
        "utf8",
        "none",
        "identity",
        "Identity, none",
        "",
        "utf-8\r\ncontent-encoding: identity",
        "8bit",
        "application/json",
    ] {
        let answer = stage.ask(post_with("/v1/x", &format!("content-encoding: {value}\r\n"), MODEL)).await;
        assert_eq!(answer.status, 200, "{value}: {answer:?}");
        let seen = backend.requests().pop().unwrap();
        let first = value.split("\r\n").next();
        assert_eq!((seen.header("content-encoding"), seen.body.as_slice()), (first, MODEL.as_bytes()), "{value}");
    }
    // Beside a coding it is nothing.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(MODEL.as_bytes()).unwrap();
    let body = gzip.finish().unwrap();
    for value in ["utf-8, gzip", "GZIP", "identity\r\ncontent-encoding: x-gzip"] {
        let mut client = stage.client().await;
        let head = format!(
            "POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-encoding: {value}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.send(head).await.send(&body).await;
        assert_eq!(client.answer().await.unwrap().status, 200, "{value}");
    }
    // Looked at as it stands, what is compressed is not JSON.
    let mut client = stage.client().await;
    let head =
        format!("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-encoding: utf-8\r\ncontent-length: {}\r\n\r\n", body.len());
    client.send(head).await.send(&body).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_body"));
}

#[tokio::test]
async fn two_content_types_are_refused() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--\r\n";
    for types in [
        "content-type: multipart/form-data; boundary=b\r\ncontent-type: multipart/form-data; boundary=c\r\n",
        "content-type: multipart/form-data; boundary=b\r\ncontent-type: application/json\r\n",
        "content-type: application/json\r\ncontent-type: multipart/form-data; boundary=b\r\n",
    ] {
        for body in [form, MODEL] {
            let answer = stage.ask(post_with("/v1/x", types, body)).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_body"), "{types}: {answer:?}");
        }
    }
    assert!(backend.requests().is_empty());
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
    let none = stage.ask(get("/v1/realtime")).await;
    assert!(none.text().contains("`?model=`"), "it says how to name one without a body: {none:?}");
    for (query, code) in [("", "missing_model"), ("?model=", "invalid_model"), ("?model=m&model=m", "ambiguous_model")]
    {
        assert_eq!(stage.ask(get(&format!("/v1/realtime{query}"))).await.code(), code);
    }
}

#[tokio::test]
async fn rule_11_a_body_in_one_byte_chunks_costs_what_its_bytes_cost() {
    let (stage, backend) = held(8 << 10, 64 << 10).await;
    let mut client = stage.client().await;
    let chunks = |text: &str| text.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<String>();
    // As much as may be held, in as many chunks as it has bytes.
    let text = padded(7 << 10);
    client.send("POST /v1/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send(chunks(&text)).await.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(backend.requests()[0].body, text.as_bytes());
    // More than that is too large, however it comes.
    let mut client = stage.client().await;
    client.send("POST /v1/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let _ = client.try_send(chunks(&padded(10 << 10))).await;
    let answer = client.answer().await.map(|answer| answer.status);
    assert!(answer.is_none_or(|status| status == 413), "{answer:?}");
}

#[tokio::test]
async fn while_a_bomb_is_decoded_others_are_answered() {
    let (stage, _backend) = held(8 << 20, 1 << 30).await;
    for encoding in ["br", "zstd", "gzip"] {
        let text = [b"{\"x\":\"".as_slice(), &vec![b'a'; 16 << 20]].concat();
        let bomb = match encoding {
            "br" => {
                let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                brotli.write_all(&text).unwrap();
                brotli.into_inner()
            }
            "zstd" => zstd::stream::encode_all(&text[..], 3).unwrap(),
            _ => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                gzip.write_all(&text).unwrap();
                gzip.finish().unwrap()
            }
        };
        let (mut slow, mut quick) = (stage.client().await, stage.client().await);
        let head = format!(
            "POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        );
        let asked = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3);
        // Both are there before the proxy looks: the test and the proxy share a thread.
        slow.stream.try_write(&[head.as_bytes(), &bomb].concat()).unwrap();
        quick.stream.try_write(asked.as_bytes()).unwrap();
        let first = tokio::select! {
            biased;
            answer = slow.answer() => answer,
            answer = async {
                for _ in 0..2 {
                    quick.answer().await;
                }
                quick.answer().await
            } => answer,
        };
        assert_eq!(first.unwrap().status, 200, "{encoding}: health first, then the bomb");
        assert_eq!(slow.answer().await.unwrap().status, 413, "{encoding}");
    }
}

#[tokio::test]
async fn a_body_that_turns_out_to_be_empty_is_none() {
    let (stage, backend) = held(1 << 20, 1 << 30).await;
    for (count, body) in [
        "content-length: 0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n0\r\nx-sum: 1\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n0\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        for method in ["GET", "DELETE", "POST"] {
            let answer = stage.ask(format!("{method} /v1/x?model=m HTTP/1.1\r\nhost: a\r\n{body}")).await;
            assert_eq!(answer.status, 200, "{method} {body}: {answer:?}");
        }
        assert_eq!(backend.requests().len(), 3 * (count + 1));
        let answer = stage.ask(format!("GET /v1/x HTTP/1.1\r\nhost: a\r\n{body}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "missing_model"), "{body}");
    }
}
