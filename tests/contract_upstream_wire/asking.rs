//! Asking for models, on the wire.

use std::time::{Duration, Instant};

use domain::labels::BasePath;
use lw_inference_proxy::adapters::upstream::{HttpUpstream, UpstreamSettings};
use ports::upstream::{ListModelsError, ListedModel, Target, UpstreamClient};

use crate::support::raw_backend::{Blackhole, RawBackend, soon};
use crate::support::upstream_contract::target;

const LIST_MAX_BYTES: usize = 1024 * 1024;

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn ask(target: &Target) -> Result<Vec<ListedModel>, ListModelsError> {
    let settings = UpstreamSettings { ask_timeout: Duration::from_secs(1), ..UpstreamSettings::default() };
    soon("an answer", HttpUpstream::new(settings).unwrap().models(target)).await
}

#[tokio::test]
async fn one_plain_get_of_the_list_below_the_base_path() {
    let backend = RawBackend::answering(answer(r#"{"data":[{"id":"m"}]}"#)).await;
    for (base, line) in [
        ("/v1", "GET /v1/models HTTP/1.1"),
        ("/", "GET /models HTTP/1.1"),
        ("/api/v~1/", "GET /api/v~1/models HTTP/1.1"),
    ] {
        let base_path = BasePath::parse(base).unwrap();
        let models = ask(&Target { address: backend.address(), base_path, origin: None }).await.unwrap();
        assert_eq!(models[0].id, "m");
        let request = backend.requests().pop().unwrap();
        assert_eq!(request.line(), line);
        assert_eq!(request.header("host"), Some(backend.address().to_string().as_str()));
        assert_eq!(request.header("accept-encoding"), None);
    }
    assert_eq!(backend.requests().len(), 3);
    backend.until("every connection to be closed", |backend| backend.open() == 0).await;
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = RawBackend::answering(answer(r#"{"data":[{"id":"evil"}]}"#)).await;
    let backend = RawBackend::answering(format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{}/v1/models\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address()
    ))
    .await;
    assert_eq!(ask(&target(backend.address())).await, Err(ListModelsError::Status(302)));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_answer_is_never_tried_twice() {
    for begin in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "HTTP/1.1 200 OK\r\n\u{0}bad", "rubbish\r\n"] {
        for reset in [false, true] {
            let backend = RawBackend::start(move |mut peer| async move {
                peer.request().await?;
                peer.send(begin).await?;
                if reset { peer.reset() } else { Ok(()) }
            })
            .await;
            let error = ask(&target(backend.address())).await.unwrap_err();
            assert!(matches!(error, ListModelsError::Broken(_)), "{begin:?} {reset}: {error:?}");
            assert!(!error.is_unreachable());
            assert_eq!(backend.requests().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_list_may_not_be_larger_than_its_limit_whether_it_says_so_or_not() {
    let entry = r#"{"data":[{"id":"m"}],"pad":""}"#;
    let list = |bytes: usize| format!(r#"{{"data":[{{"id":"m"}}],"pad":"{}"}}"#, "x".repeat(bytes - entry.len()));
    let fits = RawBackend::answering(answer(&list(LIST_MAX_BYTES))).await;
    assert_eq!(ask(&target(fits.address())).await.unwrap()[0].id, "m");

    let says_so = answer(&list(LIST_MAX_BYTES + 1));
    let until_the_end = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", list(LIST_MAX_BYTES + 1));
    for answer in [says_so, until_the_end] {
        let backend = RawBackend::answering(answer).await;
        assert_eq!(ask(&target(backend.address())).await, Err(ListModelsError::TooLarge(LIST_MAX_BYTES)));
        backend.until("the connection to be closed", |backend| backend.open() == 0).await;
    }
}

#[tokio::test]
async fn a_slow_answer_is_given_up_in_time() {
    for begin in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let backend = RawBackend::once(move |mut peer| async move {
            peer.request().await?;
            peer.send(begin).await?;
            peer.ended().await;
            Ok(())
        })
        .await;
        let since = Instant::now();
        assert_eq!(
            ask(&target(backend.address())).await,
            Err(ListModelsError::TimedOut(Duration::from_secs(1))),
            "{begin:?}"
        );
        assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
        backend.until("the connection to be closed", |backend| backend.open() == 0).await;
    }
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_given_up_in_time() {
    let hole = Blackhole::dig().await;
    assert_eq!(ask(&target(hole.address())).await, Err(ListModelsError::TimedOut(Duration::from_secs(1))));
}

#[tokio::test]
async fn an_address_without_a_way_is_unreachable() {
    // The broadcast address: connecting fails at once, without a packet.
    let error = ask(&target("255.255.255.255:9".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, ListModelsError::Unreachable(_)), "{error:?}");
    assert!(error.is_unreachable());
}

#[tokio::test]
async fn asking_is_over_when_nobody_waits_for_it() {
    let backend = RawBackend::once(|mut peer| async move {
        peer.request().await?;
        peer.ended().await;
        Ok(())
    })
    .await;
    let client = HttpUpstream::new(UpstreamSettings::default()).unwrap();
    let to = target(backend.address());
    let asking = tokio::spawn(async move { client.models(&to).await.is_ok() });
    backend.until("the request", |backend| backend.requests().len() == 1).await;
    asking.abort();
    backend.until("the connection to be closed", |backend| backend.open() == 0).await;
}

const PROXIED: &str = "LW_TEST_BACKEND";

/// Runs in a process of its own, with a proxy in its environment.
#[tokio::test]
#[ignore = "run by the test below"]
async fn ask_and_send_with_a_proxy_in_the_environment() {
    use crate::support::bodies::{get, text};
    #[allow(clippy::disallowed_methods, reason = "how this test speaks to itself in another process")]
    let to = target(std::env::var(PROXIED).unwrap().parse().unwrap());
    let client = HttpUpstream::new(UpstreamSettings::default()).unwrap();
    assert_eq!(client.models(&to).await.unwrap()[0].id, "m");
    let channel = client.open(&to);
    text(crate::support::upstream_contract::respond(&channel, get("/")).await).await;
}

#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used() {
    let backend = RawBackend::answering(answer(r#"{"data":[{"id":"m"}]}"#)).await;
    let proxy = RawBackend::answering("HTTP/1.1 502 Proxy\r\ncontent-length: 0\r\n\r\n").await;
    let url = format!("http://{}", proxy.address());
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "asking::ask_and_send_with_a_proxy_in_the_environment"]);
    child.env(PROXIED, backend.address().to_string()).env_remove("NO_PROXY").env_remove("no_proxy");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"] {
        child.env(name, &url);
    }
    let output = soon("the child", child.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((backend.requests().len(), proxy.connections()), (2, 0));
}
