//! Headers on their way: what stays behind, what is protected, what is added once.

use super::support::http_stage::Stage;
use super::support::raw_backend::RawBackend;
use super::support::raw_client::{get, post, post_with};
use super::{MODEL, OK};

#[tokio::test]
async fn rule_06_hop_by_hop_headers_stay_behind_and_connection_cannot_remove_the_rest() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    let headers = "Connection: close, X-Mine, AUTHORIZATION, host, Content-Type, x-api-key, X-Forwarded-For, traceparent\r\n\
                   Connection: content-length, x-other\r\nX-Mine: 1\r\nX-Other: 2\r\nAuthorization: Bearer t\r\n\
                   x-api-key: k\r\ncontent-type: application/json\r\nx-forwarded-for: 192.0.2.1\r\ntraceparent: 00-1\r\n\
                   Keep-Alive: timeout=9\r\nProxy-Connection: close\r\nProxy-Authorization: secret\r\nTE: gzip\r\n\
                   X-Forwarded_For: 6\r\nX_Forwarded_For: 7\r\n";
    assert_eq!(stage.ask(post_with("/v1/x", headers, MODEL)).await.status, 200);
    let seen = &backend.requests()[0];
    for gone in [
        "connection",
        "x-mine",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "x_forwarded_for",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}: {seen:?}");
    }
    for (kept, value) in [
        ("authorization", "Bearer t"),
        ("host", "a"),
        ("content-type", "application/json"),
        ("x-api-key", "k"),
        ("traceparent", "00-1"),
        ("x-forwarded-for", "192.0.2.1, 127.0.0.1"),
    ] {
        assert_eq!(seen.header(kept), Some(value), "{seen:?}");
    }
}

#[tokio::test]
async fn rule_06_an_answers_hop_by_hop_headers_stay_behind_too() {
    let backend = RawBackend::answering(
        "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-kept: 2\r\n\
         proxy-authenticate: Basic\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let stage = Stage::before(backend.address()).await;
    let answer = stage.ask(get("/v1/x?model=m")).await;
    for gone in ["connection", "x-hop", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(answer.header(gone), None, "{gone}: {answer:?}");
    }
    assert_eq!(answer.header("x-kept"), Some("2"));
}

#[tokio::test]
async fn the_client_is_noted_once() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    stage.ask(post("/v1/x", MODEL)).await;
    let behind =
        "x-forwarded-for: 1\r\nx-forwarded-for: 2\r\nx-forwarded-proto: https\r\nx-forwarded-host: ai.example\r\n";
    stage.ask(post_with("/v1/x", behind, MODEL)).await;
    let seen = backend.requests();
    let forwarded = |request: usize| {
        let names = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        names.map(|name| {
            let of = |line: &&&str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
            assert_eq!(seen[request].headers().iter().filter(of).count(), 1, "{name} once");
            seen[request].header(name).unwrap().to_owned()
        })
    };
    assert_eq!(forwarded(0), ["127.0.0.1", "a", "http"]);
    assert_eq!(forwarded(1), ["1, 2, 127.0.0.1", "ai.example", "https"]);
}

#[tokio::test]
async fn rule_08_repeated_headers_keep_their_order_and_nothing_is_added_but_the_request_id() {
    let backend = RawBackend::answering(
        "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nset-cookie: c=3\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let stage = Stage::before(backend.address()).await;
    let answer = stage.ask(post_with("/v1/x", "x-a: 1\r\nx-a: 2\r\nx-a: 3\r\n", MODEL)).await;
    assert_eq!(answer.headers("set-cookie"), ["a=1", "b=2", "c=3"]);
    let mut names: Vec<_> = answer.head.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    assert_eq!(names, ["content-length", "set-cookie", "set-cookie", "set-cookie", "x-request-id"]);
    let seen = backend.requests()[0].clone();
    let repeated: Vec<_> = seen.headers().into_iter().filter(|line| line.starts_with("x-a")).collect();
    assert_eq!(repeated, ["x-a: 1", "x-a: 2", "x-a: 3"]);
    let mut added: Vec<_> = seen.headers().into_iter().filter_map(|line| line.split(':').next()).collect();
    added.retain(|name| !["host", "content-length", "x-a"].contains(name));
    assert_eq!(added, ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"]);
}

#[tokio::test]
async fn without_a_host_none_is_noted() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    for head in ["GET /v1/x?model=m HTTP/1.0\r\n\r\n", "GET /v1/x?model=m HTTP/1.1\r\nhost:\r\n\r\n"] {
        assert_eq!(stage.ask(head).await.status, 200, "{head:?}");
        let seen = backend.requests().pop().unwrap();
        assert_eq!(seen.header("x-forwarded-host"), None, "{head:?}: {seen:?}");
    }
}

#[tokio::test]
async fn a_backend_gets_the_id_that_the_answer_carries() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    for (given, kept) in [
        ("", false),
        ("x-request-id: abc-123\r\n", true),
        ("x-request-id: a b\r\n", false),
        ("x-request-id:\r\n", false),
        ("x-request-id: <script>\r\n", false),
        ("x-request-id: abc-123\r\nconnection: x-request-id\r\n", true),
        ("x-request-id: abc-123\r\nx-request-id: other\r\n", true),
    ] {
        let answer = stage.ask(post_with("/v1/x", given, MODEL)).await;
        let seen = backend.requests().pop().unwrap();
        let of = |line: &&&str| line.to_ascii_lowercase().starts_with("x-request-id:");
        assert_eq!(seen.headers().iter().filter(of).count(), 1, "{given:?}: {seen:?}");
        assert_eq!(seen.header("x-request-id"), answer.header("x-request-id"), "{given:?}");
        assert_eq!(answer.header("x-request-id") == Some("abc-123"), kept, "{given:?}");
    }
}

#[tokio::test]
async fn rule_08_expect_is_answered_once_and_not_forwarded() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    client.send("POST /v1/x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 13\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 100, "before a byte of the body was sent");
    client.send(MODEL).await;
    assert_eq!(client.answer().await.unwrap().status, 200, "one 100 is enough");
    assert_eq!(backend.requests()[0].header("expect"), None);
}

#[tokio::test]
async fn every_answer_carries_the_callers_id_if_it_is_sane_else_one_of_ours() {
    let backend = RawBackend::answering("HTTP/1.1 200 OK\r\nx-request-id: theirs\r\ncontent-length: 2\r\n\r\nok").await;
    let stage = Stage::before(backend.address()).await;
    let long = "a".repeat(129);
    for (given, kept) in [("abc-123", true), ("a b", false), ("<script>", false), (long.as_str(), false), ("", false)] {
        for target in ["/v1/x?model=m", "/v1/x?model=unknown", "/healthz", "/nothing", "/v1/models"] {
            let answer = stage.ask(format!("GET {target} HTTP/1.1\r\nhost: a\r\nx-request-id: {given}\r\n\r\n")).await;
            let ids = answer.headers("x-request-id");
            assert_eq!(ids.len(), 1, "{target}: {answer:?}");
            assert_eq!(ids[0] == given, kept, "{target}: {given:?} became {ids:?}");
            assert!(kept || ids[0].starts_with("req-"), "{ids:?}");
        }
    }
}

#[tokio::test]
async fn rule_09_no_name_from_a_request_reaches_a_header() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    for model in [" ", r"a\r\nset-cookie: x", r"a\u202eb", r"a\u0085b", r"a\u0000", r"a\u001b[31m"] {
        let answer = stage.ask(post("/v1/x", &format!(r#"{{"model":"{model}"}}"#))).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_model"), "{model}");
        assert_eq!(answer.header("set-cookie"), None);
        assert!(!answer.text().chars().any(|c| c == '\u{202e}' || c.is_control()), "{answer:?}");
    }
}
