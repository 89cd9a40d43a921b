//! Requests as they go out, and answers that leave a doubt about their end.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body::Frame;
use lw_inference_proxy::adapters::upstream::{HttpUpstream, UpstreamSettings};
use ports::upstream::{BodyError, SendFailure, Sent, UpstreamClient, UpstreamResponse};

use crate::support::bodies::{self, empty, full, get, post, read, text};
use crate::support::raw_backend::{Ended, RawBackend, soon};
use crate::support::upstream_contract::{fail, respond, send, target};
use crate::{OK, channel};

#[tokio::test]
async fn a_head_goes_out_byte_for_byte() {
    let backend = RawBackend::answering(OK).await;
    let request = Request::get("/a/./b/..//c%2e?%00=|^`{}")
        .header("x-z", "1")
        .header("host", "h")
        .header("x-a", "")
        .header("x-z", "2")
        .header("accept", HeaderValue::from_bytes(b"caf\xc3\xa9 \x80").unwrap())
        .body(empty())
        .unwrap();
    respond(&channel(&backend), request).await;
    let seen = &backend.requests()[0];
    let expected = "GET /a/./b/..//c%2e?%00=|^`{} HTTP/1.1\r\nx-z: 1\r\nx-z: 2\r\nhost: h\r\nx-a: \r\naccept: caf";
    assert!(seen.head.starts_with(expected), "{}", seen.head);
    assert_eq!(seen.headers().len(), 5);
}

#[tokio::test]
async fn the_version_is_our_own() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
        let mut request = get("/");
        *request.version_mut() = version;
        respond(&channel, request).await;
    }
    for request in backend.requests() {
        assert_eq!((request.line(), request.headers()), ("GET / HTTP/1.1", vec!["host: backend"]));
    }
}

#[tokio::test]
async fn nothing_is_added_but_framing_and_that_only_where_it_is_needed() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS, Method::from_bytes(b"X-Y").unwrap()] {
        let request = |body| Request::builder().method(&method).uri("/").header("host", "h").body(body).unwrap();
        let chunks = || bodies::frames([Ok(Frame::data(Bytes::from_static(b"chunk")))]);
        let mut with_length = request(full("given"));
        with_length.headers_mut().insert("content-length", 5.into());
        let mut of_given_length = request(chunks());
        of_given_length.headers_mut().insert("content-length", 5.into());
        for request in [request(empty()), request(full("known")), request(chunks()), with_length, of_given_length] {
            respond(&channel, request).await;
        }
        let seen = backend.requests();
        let seen: Vec<_> = seen[seen.len() - 5..]
            .iter()
            .map(|request| (request.headers()[1..].to_vec(), String::from_utf8_lossy(&request.body).into_owned()))
            .collect();
        let expected = [
            (vec![], ""),
            (vec!["content-length: 5"], "known"),
            (vec!["transfer-encoding: chunked"], "chunk"),
            (vec!["content-length: 5"], "given"),
            (vec!["content-length: 5"], "chunk"),
        ];
        assert_eq!(seen, expected.map(|(headers, body)| (headers, body.to_owned())), "{method}");
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let backend = RawBackend::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nx-t: there\r\n\r\n",
    )
    .await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let body = bodies::frames([Ok(Frame::data(Bytes::from_static(b"body"))), Ok(Frame::trailers(trailers))]);
    let request = Request::post("/").header("host", "h").header("trailer", "x-sum").body(body).unwrap();
    let answer = read(respond(&channel(&backend), request).await.into_body()).await;
    assert_eq!((answer.text(), answer.error.as_ref()), ("ok", None));
    assert_eq!(answer.trailers.unwrap()["x-t"], "there");
    let seen = &backend.requests()[0];
    assert_eq!((&seen.body[..], seen.trailers.trim()), (&b"body"[..], "x-sum: 7"));
}

#[tokio::test]
async fn a_body_that_is_not_what_its_length_says_never_desynchronises_the_connection() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    let request =
        |length: u64, body| Request::post("/").header("host", "h").header("content-length", length).body(body).unwrap();
    // Known before anything is sent.
    for (length, body) in [(5, empty()), (5, full("four")), (3, full("four"))] {
        let error = fail(&channel, request(length, body)).await;
        assert_eq!(error.sent, Sent::NotSent);
        assert!(matches!(error.failure, SendFailure::RequestBody(BodyError::Malformed(_))), "{error:?}");
    }
    assert_eq!(backend.connections(), 0);
    // Known only at its end.
    let short = bodies::frames([Ok(Frame::data(Bytes::from_static(b"four")))]);
    let error = fail(&channel, request(5, short)).await;
    assert_eq!(error.sent, Sent::MaybeSent);
    assert!(matches!(error.failure, SendFailure::RequestBody(BodyError::Broken(_))), "{error:?}");
    backend.until("the connection to be closed", |backend| backend.connections() == 1 && backend.open() == 0).await;
    assert_eq!(backend.requests().len(), 0);
}

#[tokio::test]
async fn answers_without_a_body_keep_their_framing() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n";
    for (method, answer, length) in [
        (Method::HEAD, head, Some("999")),
        (Method::HEAD, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", None),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 999\r\n\r\n", Some("999")),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", None),
        (Method::POST, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Some("0")),
    ] {
        let backend = RawBackend::answering(answer).await;
        let channel = channel(&backend);
        for _ in 0..2 {
            let request = Request::builder().method(&method).uri("/").header("host", "h").body(empty()).unwrap();
            let answered = respond(&channel, request).await;
            let said = answered.headers().get("content-length").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(said.as_deref(), length, "{answer}");
            assert_eq!(text(answered).await, "");
        }
        assert_eq!(backend.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_an_invalid_answer_and_ends_the_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 099 Odd\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/2 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/0.9 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "ok, without a head\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
    ] {
        let backend = RawBackend::answering(answer).await;
        let channel = channel(&backend);
        for count in 1..=2 {
            let error = fail(&channel, post("/", "body")).await;
            assert!(matches!(error.failure, SendFailure::InvalidResponse(_)), "{answer:?}: {error:?}");
            assert_eq!(error.sent, Sent::MaybeSent);
            backend.until("the connection to be closed", |backend| backend.open() == 0).await;
            assert_eq!(backend.connections(), count);
        }
    }
}

#[tokio::test]
async fn a_head_may_be_large_but_not_endless() {
    let padded = |bytes: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: {}\r\n\r\nok", "x".repeat(bytes));
    let backend = RawBackend::answering(padded(12 * 1024)).await;
    assert_eq!(text(respond(&channel(&backend), get("/")).await).await, "ok");
    let backend = RawBackend::answering(padded(128 * 1024)).await;
    let error = fail(&channel(&backend), get("/")).await;
    assert!(matches!(error.failure, SendFailure::InvalidResponse(_)), "{error:?}");

    let many = |count: usize| {
        let lines: String = (1..count).map(|n| format!("x-{n}: 1\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{lines}\r\nok")
    };
    let backend = RawBackend::answering(many(100)).await;
    assert_eq!(text(respond(&channel(&backend), get("/")).await).await, "ok");
    let backend = RawBackend::answering(many(101)).await;
    let error = fail(&channel(&backend), get("/")).await;
    assert!(matches!(error.failure, SendFailure::InvalidResponse(_)), "{error:?}");
}

#[tokio::test]
async fn a_backend_is_asked_for_its_models_by_the_rules_by_which_requests_are_carried() {
    const LIST: &str = r#"{"data":[{"id":"m"}]}"#;
    let length = format!("content-length: {}\r\n", LIST.len());
    let chunks = format!("{:x}\r\n{LIST}\r\n0\r\n\r\n", LIST.len());
    let padding = |bytes: usize| format!("x-padding: {}\r\n", "x".repeat(bytes));
    let chunked = "transfer-encoding: chunked\r\n";
    let mut agreed = 0;
    for (head, body) in [
        (length.clone(), LIST),
        (chunked.to_owned(), &*chunks),
        (String::new(), LIST),
        (chunked.repeat(2), &*chunks),
        ("transfer-encoding: chunked, chunked\r\n".into(), &*chunks),
        ("transfer-encoding: Chunked\r\n".into(), &*chunks),
        ("transfer-encoding: gzip, chunked\r\n".into(), &*chunks),
        ("transfer-encoding: identity\r\n".into(), LIST),
        (format!("transfer-encoding: identity\r\n{length}"), LIST),
        ("transfer-encoding:\r\n".into(), LIST),
        (format!("{chunked}{length}"), &*chunks),
        (format!("{length}{chunked}"), &*chunks),
        (length.repeat(2), LIST),
        (format!("{length}content-length: 1\r\n"), LIST),
        (format!("{length}{}", padding(14 * 1024)), LIST),
        (format!("{length}{}", padding(16 * 1024)), LIST),
        (format!("{length}{}", padding(20 * 1024)), LIST),
        (format!("{length}{}", padding(40 * 1024)), LIST),
        (format!("{length}{}", padding(300 * 1024)), LIST),
        (format!("{length}{}", "x: y\r\n".repeat(98)), LIST),
        (format!("{length}{}", "x: y\r\n".repeat(120)), LIST),
    ] {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let answer = format!("{version} 200 OK\r\n{head}\r\n{body}");
            let backend = RawBackend::start(move |mut peer| {
                let answer = answer.clone();
                async move {
                    peer.request().await?;
                    peer.send(answer).await?;
                    peer.half_close().await?;
                    peer.ended().await;
                    Ok(())
                }
            })
            .await;
            let target = target(backend.address());
            let client = HttpUpstream::new(UpstreamSettings::default()).unwrap();
            let listed = soon("a list", client.models(&target)).await;
            let carried = match send(&client.open(&target), get("/")).await {
                Ok(UpstreamResponse::Response(response)) => Ok(read(response.into_body()).await.text().to_owned()),
                Ok(UpstreamResponse::Tunnel(..)) => panic!("a tunnel"),
                Err(error) => Err(error),
            };
            let shown: String = head.chars().take(80).collect();
            assert_eq!(listed.is_ok(), carried.is_ok(), "{version} {shown}: {listed:?}, {carried:?}");
            if let Ok(text) = carried {
                assert_eq!(text, LIST);
                agreed += 1;
            }
        }
    }
    assert!(agreed >= 10, "{agreed}");
}

#[tokio::test]
async fn informational_answers_are_skipped() {
    let answer = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{OK}");
    let backend = RawBackend::answering(answer).await;
    let channel = channel(&backend);
    for _ in 0..2 {
        assert_eq!(text(respond(&channel, post("/", "body")).await).await, "ok");
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn bytes_after_an_answer_poison_nothing() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let nothing = "HTTP/1.1 204 No Content\r\n\r\n";
    for (answer, expected) in [(OK, "ok"), (chunked, "ok"), (nothing, "")] {
        // With the answer, and after it.
        for late in [false, true] {
            let backend = RawBackend::start(move |mut peer| async move {
                peer.request().await?;
                if late {
                    peer.send(answer).await?;
                    tokio::task::yield_now().await;
                    peer.send(evil).await?;
                } else {
                    peer.send(format!("{answer}{evil}")).await?;
                }
                // Never reads a second request from here.
                assert!(matches!(peer.ended().await, Ended::Fin | Ended::Reset));
                Ok(())
            })
            .await;
            let channel = channel(&backend);
            for sent in 1..=5 {
                assert_eq!(text(respond(&channel, get("/")).await).await, expected);
                if late {
                    // The evil bytes are there before the next request is.
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                assert_eq!(backend.connections(), sent);
            }
        }
    }
}
