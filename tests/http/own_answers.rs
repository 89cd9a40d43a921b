//! What the proxy answers by itself: when it was, what there is, and why something else is not.

use std::time::Duration;

use domain::container::{Condition, Container, ContainerId, LifecycleEvent};
use domain::drain::DrainPolicy;
use domain::table::TableRules;
use lw_inference_proxy::adapters::http::HttpSettings;

use super::support::fake_container_source::container;
use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, nobody};
use super::support::raw_client::{get, post};
use super::{MODEL, OK};

#[tokio::test]
async fn own_answers_carry_a_date_and_a_backends_stays_as_it_came() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    for request in [
        get("/healthz"),
        get("/readyz"),
        get("/status"),
        get("/v1/models"),
        get("/v1/models/m"),
        get("/v1/models/none"),
        get("/"),
        get("/v1/../x"),
        post("/v1/x", "{}"),
        post("/v1/messages", r#"{"model":"none"}"#),
    ] {
        let answer = stage.ask(&request).await;
        let dates = answer.headers("date");
        assert!(dates.len() == 1 && httpdate::parse_http_date(dates[0]).is_ok(), "{request:?}: {answer:?}");
    }
    assert_eq!(stage.ask(post("/v1/x", MODEL)).await.header("date"), None, "nothing is added to a backend's answer");
    let old = "Thu, 01 Jan 1970 00:00:00 GMT";
    let dated = RawBackend::answering(format!("HTTP/1.1 200 OK\r\ndate: {old}\r\ncontent-length: 2\r\n\r\nok")).await;
    let stage = Stage::before(dated.address()).await;
    assert_eq!(stage.ask(post("/v1/x", MODEL)).await.headers("date"), [old]);
}

#[tokio::test]
async fn the_root_says_where_the_status_is_while_there_is_one() {
    let stage = Stage::before(nobody()).await;
    let answer = stage.ask(get("/")).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("/status") && answer.text().contains("/v1/"), "{answer:?}");
    let http = HttpSettings { status: false, ..HttpSettings::default() };
    let stage = Stage::tuned(&[("m", nobody())], Tuning { http, ..Tuning::default() }).await;
    let answer = stage.ask(get("/")).await;
    assert!(answer.status == 404 && !answer.text().contains("/status"), "{answer:?}");
}

#[tokio::test]
async fn a_404_for_a_model_says_how_many_containers_are_starting() {
    let stage = Stage::before(nobody()).await;
    let unknown = || post("/v1/x", r#"{"model":"n"}"#);
    assert!(!stage.ask(unknown()).await.text().contains("starting"));
    for (id, said) in [("s1", "1 container is still starting"), ("s2", "2 containers are still starting")] {
        stage.source.put(Container { condition: Condition::Starting, ..container(id) });
        stage.until("it is seen", |shared| shared.load().table.entries().any(|(of, _)| of.as_str() == id)).await;
        for request in [unknown(), get("/v1/models/n")] {
            let answer = stage.ask(request).await;
            assert!(answer.status == 404 && answer.text().contains(said), "{answer:?}");
        }
    }
    stage.source.remove(&ContainerId::new("s1"));
    stage.source.remove(&ContainerId::new("s2"));
    stage.until("none starts", |shared| shared.load().table.starting() == 0).await;
    assert!(!stage.ask(unknown()).await.text().contains("starting"));
}

#[tokio::test]
async fn an_answer_that_breaks_the_protocol_is_not_called_no_answer() {
    for answer in [
        "HTTP/1.1 2OO OK\r\ncontent-length: 2\r\n\r\nok",
        "rubbish\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    ] {
        let backend = RawBackend::answering(answer).await;
        let stage = Stage::before(backend.address()).await;
        let answered = stage.ask(post("/v1/x", MODEL)).await;
        assert_eq!((answered.status, answered.code().as_str()), (502, "backend_unreachable"), "{answer:?}");
        let said = answered.text();
        assert!(said.contains("not valid HTTP") && !said.contains("did not answer"), "{answer:?}: {said}");
        assert!(!said.contains("127.0.0.1"), "{said}");
    }
}

#[tokio::test]
async fn a_request_that_a_drain_cut_is_told_the_true_reason() {
    for (edge, said) in [
        (LifecycleEvent::Unhealthy, "turned unhealthy"),
        (LifecycleEvent::Signal(domain::signal::Signal::TERM), "was sent SIGTERM"),
    ] {
        let backend = RawBackend::start(|mut peer| async move {
            peer.request().await?;
            std::future::pending::<std::io::Result<()>>().await
        })
        .await;
        let drain = DrainPolicy { timeout: Duration::from_millis(50), readmit_after: Duration::from_secs(300) };
        let rules = TableRules {
            drain,
            refresh_every: Duration::from_secs(30),
            replicas: Default::default(),
            balance: Default::default(),
        };
        let stage = Stage::tuned(&[("m", backend.address())], Tuning { rules, ..Tuning::default() }).await;
        let mut client = stage.client().await;
        client.send(post("/v1/x", MODEL)).await;
        backend.until("the request", |backend| !backend.requests().is_empty()).await;
        stage.source.edge(&ContainerId::new("b0"), edge);
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "model_draining"));
        let text = answer.text();
        assert!(text.contains(said) && !text.contains("was stopped"), "{text}");
    }
}
