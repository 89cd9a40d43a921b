//! Requests and answers on their way through the proxy to a container and back: nothing added, nothing lost, in time.

use crate::scene::Stream;
use engine_tests::{BOUND, Engine, Mock, MockContainer, ProxyProcess, client, require_engine, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How soon a backend knows that the client has left.
const CANCELLED_WITHIN: Duration = Duration::from_millis(250);
/// The machine may be busy: the best of so many tries counts.
const TRIES: usize = 3;

async fn served(engine: &Engine, name: &str) -> (ProxyProcess, MockContainer, String) {
    let model = engine.unique(name);
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving(name, &[&model]).start(engine).await;
    proxy.until_listed(&model).await;
    (proxy, mock, model)
}

#[tokio::test(flavor = "multi_thread")]
async fn target_headers_and_body_arrive_as_they_were_sent() {
    let engine = require_engine!();
    let (proxy, _mock, model) = served(&engine, "exact").await;
    let body = format!("{{ \"messages\" : [ \"\\u00e9 \u{e9}\" ],\r\n\t\"n\":1.0e0 , \"model\":\"{model}\" }}  ");
    let target = "/v1/echo/a%2Fb//c/%7e?x=1&y=%20+&x=2";
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: public.example\r\nAuthorization: Bearer secret\r\nX-Twice: one\r\n\
         x-twice: two\r\nX-Api-Key: k\r\nAccept-Encoding: zstd, gzip;q=0.5\r\nContent-Type: application/json\r\n\
         User-Agent: test/1\r\nConnection: close, X-Hop\r\nX-Hop: stays behind\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let echo: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["target"], target);
    assert_eq!(echo["body"], body, "byte for byte");
    let headers: Vec<(String, String)> = serde_json::from_value(echo["headers"].clone()).unwrap();
    let values = |name: &str| -> Vec<&str> {
        headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    };
    for (name, expected) in [
        ("host", &["public.example"][..]),
        ("authorization", &["Bearer secret"]),
        ("x-twice", &["one", "two"]),
        ("x-api-key", &["k"]),
        ("accept-encoding", &["zstd, gzip;q=0.5"]),
        ("user-agent", &["test/1"]),
        ("content-length", &[&body.len().to_string()]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-host", &["public.example"]),
        ("x-forwarded-proto", &["http"]),
        ("x-hop", &[]),
    ] {
        assert_eq!(values(name), expected, "{name} in {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_as_they_are_sent() {
    let engine = require_engine!();
    let (proxy, mock, model) = served(&engine, "streaming").await;
    let begun = Instant::now();
    let mut stream = Stream::begin(&proxy, &model, 6, 400).await;
    let mut arrived = vec![begun.elapsed()];
    while stream.next().await.unwrap() {
        arrived.push(begun.elapsed());
    }
    // The tokens are 400 ms apart: an answer that is held back arrives in one piece at the end.
    assert!(arrived.len() >= 6, "{arrived:?}");
    let apart = arrived.windows(2).filter(|pair| pair[1] - pair[0] > Duration::from_millis(200)).count();
    assert!(apart >= 4, "{arrived:?}");
    assert!(mock.stats().await.finished >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_the_request_in_every_phase() {
    let engine = require_engine!();
    let (proxy, mock, model) = served(&engine, "cancelled").await;
    let before_the_head = (false, "first_ms=30000");
    let before_the_first_token = (true, "first_ms=30000");
    let in_mid_stream = (true, "tokens=1000&token_ms=50");
    for (streamed, pace) in [before_the_head, before_the_first_token, in_mid_stream] {
        let mut best = Duration::MAX;
        for _ in 0..TRIES {
            best = best.min(cancel(&proxy, &mock, &model, streamed, pace).await);
            if best <= CANCELLED_WITHIN {
                break;
            }
        }
        assert!(best <= CANCELLED_WITHIN, "{pace}, streamed: {streamed}: cancelled after {best:?}");
    }
}

/// Begins a request, leaves, and returns how long the backend took to notice.
async fn cancel(proxy: &ProxyProcess, mock: &MockContainer, model: &str, streamed: bool, pace: &str) -> Duration {
    let stats = format!("http://{}/stats", mock.authority().await);
    let http = client();
    let aborted = async || -> u64 {
        let said: Value = http.get(&stats).send().await.unwrap().json().await.unwrap();
        said["aborted"].as_u64().unwrap()
    };
    let before = aborted().await;
    let url = proxy.url(&format!("/v1/chat/completions?{pace}"));
    let body = json!({"model": model, "stream": streamed, "messages": []});
    let asked = tokio::spawn(async move {
        let mut response = client().post(url).json(&body).send().await.unwrap();
        while let Ok(Some(_)) = response.chunk().await {}
    });
    mock.until_stats("the request is there", |stats| stats.in_flight == 1).await;
    asked.abort();
    let _ = asked.await;
    let left = Instant::now();
    until("the backend knows", BOUND, async || (aborted().await > before).then_some(())).await;
    left.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_dies_in_mid_answer_leaves_a_broken_transfer() {
    let engine = require_engine!();
    let (proxy, mock, model) = served(&engine, "dying").await;
    // Chunked, and cut by the server alone.
    let path = "/v1/chat/completions?tokens=20&cut_after=3";
    let cut = proxy.post(path, &json!({"model": model, "stream": true, "messages": []})).await;
    assert!(cut.is_err(), "{cut:?}");
    // With a length.
    let path = "/v1/blob?bytes=1000000000";
    let mut response = proxy.send(path, &json!({ "model": model })).await.unwrap();
    response.chunk().await.unwrap().unwrap();
    let _ = mock.get("/admin/crash").await;
    let end = loop {
        match response.chunk().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "a broken transfer must not look like a whole one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_through() {
    let engine = require_engine!();
    let (proxy, _mock, model) = served(&engine, "realtime").await;
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let head = format!(
        "GET /v1/realtime?model={model} HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        said.push(stream.read_u8().await.unwrap());
    }
    let said = String::from_utf8(said).unwrap().to_lowercase();
    assert!(said.starts_with("http/1.1 101"), "{said}");
    assert!(said.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{said}");
    // A text frame of a client, masked with zeros; the echo comes without a mask.
    stream.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
    let mut frame = [0; 7];
    tokio::time::timeout(BOUND, stream.read_exact(&mut frame)).await.expect("an echo").unwrap();
    assert_eq!(&frame, b"\x81\x05hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_its_file_before_its_model_is_routed() {
    let engine = require_engine!();
    let (proxy, mock, model) = served(&engine, "transcribing").await;
    let file = "x".repeat(300_000);
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
         {file}\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n"
    );
    let length = form.len();
    let sent = client()
        .post(proxy.url("/v1/audio/transcriptions"))
        .header("content-type", "multipart/form-data; boundary=b")
        .body(form)
        .send()
        .await;
    let answer = engine_tests::Answer::of(sent.unwrap()).await.unwrap();
    assert_eq!(answer.mock.as_deref(), Some(mock.name()));
    assert_eq!(answer.json()["text"], format!("received {length} bytes"));
}
