//! What the process prints of what it carries, and which variables it does not obey.

use super::fake_engine::FakeEngine;
use super::support::proxy_process::ProxyProcess;
use super::support::raw_backend::{RawBackend, nobody};
use super::support::raw_client::{get, post_with};
use super::{EVENTS, MODEL, OK, serving};

#[tokio::test]
async fn rule_27_no_secret_is_printed_at_any_level() {
    const CANARY: &str = "canary-7f3a9c";
    let backend = serving(|mut peer, head| async move {
        let request = peer.rest(head).await?;
        match request.line() {
            line if line.contains("/breaks") => Ok(()),
            line if line.contains("/half") => {
                peer.send(EVENTS).await?;
                peer.send_chunk(&format!("data: {CANARY}\n\n")).await
            }
            line if line.contains("/rubbish") => peer.send(format!("{CANARY}: no HTTP\r\n\r\n")).await,
            _ => {
                peer.send(format!("HTTP/1.1 200 OK\r\nset-cookie: {CANARY}\r\ncontent-length: 13\r\n\r\n{CANARY}"))
                    .await
            }
        }
    })
    .await;
    let mut proxy = ProxyProcess::start(&[backend.address(), nobody()], &[("RUST_LOG", "trace")]).await;
    let secrets = format!(
        "authorization: Bearer {CANARY}\r\nx-api-key: {CANARY}\r\ncookie: a={CANARY}\r\nproxy-authorization: {CANARY}\r\n"
    );
    let bodies = [
        format!(r#"{{"model":"m","x":"{CANARY}"}}"#),
        format!(r#"{{"model":"{CANARY}"}}"#),
        format!(r#"{{"model":"m","model":"{CANARY}"}}"#),
        format!("{CANARY} is no JSON"),
        format!(r#"{{"model":"m","x":"{CANARY}"#),
    ];
    let mut asked = 0;
    for path in ["/v1/x", "/v1/breaks", "/v1/half", "/v1/rubbish", "/v1/messages"] {
        for body in &bodies {
            proxy.ask(post_with(path, &secrets, body)).await;
            asked += 1;
        }
    }
    // A client that goes away in the middle, and rubbish.
    let mut client = proxy.client().await;
    client.send(format!("POST /v1/x HTTP/1.1\r\nhost: a\r\n{secrets}content-length: 900\r\n\r\n{MODEL}{CANARY}")).await;
    drop(client);
    proxy.client().await.send(format!("{CANARY}\r\n\r\n")).await.ended().await;
    proxy.signal("TERM");
    assert_eq!(proxy.ended().await.code(), Some(0));
    let output = proxy.output();
    println!("rule 27: {asked} requests, {} lines of log at trace, the canary in none", output.lines().count());
    assert!(output.lines().count() > asked, "the log says something of each");
    let found: Vec<_> = output.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn rule_14_a_broken_answer_is_logged_with_the_bytes_that_were_sent() {
    let backend = serving(|mut peer, head| async move {
        peer.rest(head).await?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await
    })
    .await;
    let proxy = ProxyProcess::start(&[backend.address()], &[]).await;
    let answer = proxy.ask(post_with("/v1/x", "x-request-id: r-14\r\n", MODEL)).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "half"));
    let says = |line: &str| ["broke off", "\"response_bytes\":4", "\"r-14\""].iter().all(|part| line.contains(part));
    proxy.until("a line of log", |proxy| proxy.output().lines().any(says)).await;
}

#[tokio::test]
async fn rule_09_what_requests_say_cannot_make_lines_of_log() {
    let backend = serving(|mut peer, head| async move {
        peer.rest(head).await?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await
    })
    .await;
    let mut proxy = ProxyProcess::start(&[backend.address()], &[("RUST_LOG", "debug")]).await;
    for headers in
        ["x-request-id: a\tb\u{202e}c\r\n", "x-request-id: {\"level\":\"ERROR\"}\r\n", "user-agent: \u{1b}\r\n"]
    {
        let mut client = proxy.client().await;
        client.send(post_with("/v1/x", headers, MODEL)).await;
        client.answer().await;
    }
    proxy.signal("TERM");
    proxy.ended().await;
    for line in proxy.output().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        assert!(!line.contains('\u{202e}') && !line.chars().any(char::is_control), "{line:?}");
    }
}

#[tokio::test]
async fn rule_28_the_environments_proxy_is_never_used() {
    let trap = RawBackend::answering(OK).await;
    let backend = serving(|mut peer, head| async move {
        peer.rest(head).await?;
        peer.send(OK).await
    })
    .await;
    let url = format!("http://{}", trap.address());
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let environment: Vec<_> = names.iter().map(|name| (*name, url.as_str())).collect();
    let proxy = ProxyProcess::start(&[backend.address()], &environment).await;
    assert_eq!(proxy.ask(get("/v1/x?model=m")).await.status, 200);
    assert_eq!((backend.requests().len(), trap.connections()), (1, 0));
    println!("rule 28: {} variables name a proxy; it saw no connection", names.len());
}

#[tokio::test]
async fn who_starts_it_is_told_the_next_step_and_who_stops_it_how_to_end_it_at_once() {
    let engine = FakeEngine::start();
    let host = format!("unix://{}", engine.socket().display());
    let backend = serving(|_, _| async { Ok(()) }).await;
    let environment = [("PROXY_DOCKER", "on"), ("DOCKER_HOST", &*host)];
    let mut proxy = ProxyProcess::start(&[backend.address()], &environment).await;
    let listed = |output: &str| {
        output.lines().any(|line| line.contains("containers listed") && line.contains("inference.enable=true"))
    };
    proxy.until("the label is named where no container carries it", |proxy| listed(&proxy.output())).await;
    proxy.signal("TERM");
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert!(proxy.output().contains("another signal ends them"), "{}", proxy.output());
}
