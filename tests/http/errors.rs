//! The proxy's own errors: every case of the table, in the shape of either dialect.

use domain::container::{Condition, Container, ContainerId, LifecycleEvent};
use domain::signal;
use domain::table::MAX_MODELS_PER_BACKEND;
use lw_inference_proxy::adapters::http::HttpSettings;

use super::support::fake_container_source::container;
use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal, nobody};
use super::support::raw_client::{RawAnswer, post, post_with};
use super::{MODEL, OK};

/// A case of the table.
struct Case {
    body: &'static str,
    status: u16,
    code: &'static str,
    openai_type: &'static str,
    anthropic_type: &'static str,
}

const fn case(body: &'static str, status: u16, code: &'static str, anthropic_type: &'static str) -> Case {
    let openai_type = if status >= 500 { "server_error" } else { "invalid_request_error" };
    Case { body, status, code, openai_type, anthropic_type }
}

/// Sends the body in every dialect and looks at the whole of each answer.
async fn judge(stage: &Stage, case: &Case) {
    let Case { body, status, code, openai_type, anthropic_type } = case;
    let openai = stage.ask(post("/v1/chat/completions", body)).await;
    let error = &openai.json()["error"];
    assert_eq!((openai.status, openai.code().as_str()), (*status, *code), "{body}: {openai:?}");
    assert_eq!(error["type"], *openai_type);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()) && error.get("param").is_some());
    about_all(&openai, *status);
    for request in [
        post("/v1/messages", body),
        post("/v1/messages/count_tokens?beta=true", body),
        post_with("/v1/x", "anthropic-version: 2023-06-01\r\n", body),
    ] {
        let answer = stage.ask(&request).await;
        let json = answer.json();
        assert_eq!((answer.status, &json["type"]), (*status, &"error".into()), "{answer:?}");
        assert_eq!(json["error"]["type"], *anthropic_type, "{answer:?}");
        assert_eq!(json["error"]["message"], error["message"]);
        let id = answer.header("x-request-id").unwrap();
        assert_eq!((&json["request_id"], answer.header("request-id")), (&id.into(), Some(id)));
        about_all(&answer, *status);
    }
}

fn about_all(answer: &RawAnswer, status: u16) {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.headers("x-request-id").len(), 1);
    let wait: Option<u32> = answer.header("retry-after").map(|seconds| seconds.parse().unwrap());
    assert_eq!(wait.is_some(), status == 503, "{answer:?}");
    assert!(wait.is_none_or(|seconds| (1..=120).contains(&seconds)));
    for secret in ["127.0.0.1", "Connection refused", "os error"] {
        assert!(!answer.text().contains(secret), "{answer:?}");
    }
}

#[tokio::test]
async fn requests_without_one_sane_model_are_400() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    for (body, code) in [
        ("{}", "missing_model"),
        (r#"{"messages":[{"model":"m"}]}"#, "missing_model"),
        ("", "missing_model"),
        (r#"{"model":null}"#, "invalid_model"),
        (r#"{"model":""}"#, "invalid_model"),
        (r#"{"model":7}"#, "invalid_model"),
        (r#"{"model":["m"]}"#, "invalid_model"),
        (r#"{"model":"\ud800"}"#, "invalid_model"),
        (r#"{"model":"m","model":"m"}"#, "ambiguous_model"),
        (r#"{"model":"m","Model":"m"}"#, "ambiguous_model"),
        (r#"{"model":"m","mod\u0065l":"n"}"#, "ambiguous_model"),
        ("model=m", "invalid_body"),
        ("[]", "invalid_body"),
        (r#"{"model":"m""#, "invalid_body"),
    ] {
        judge(&stage, &case(body, 400, code, "invalid_request_error")).await;
    }
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn a_model_that_nobody_serves_is_404_and_names_what_there_is() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    judge(&stage, &case(r#"{"model":"n"}"#, 404, "model_not_found", "not_found_error")).await;
    let answer = stage.ask(post("/v1/x", r#"{"model":"n"}"#)).await;
    assert!(answer.text().contains("`m`"), "{answer:?}");
    for number in 0..30 {
        stage.add(&format!("c{number}"), &format!("model-{number:02}"), nobody()).await;
    }
    let answer = stage.ask(post("/v1/x", r#"{"model":"n"}"#)).await;
    assert!(answer.text().contains("and 11 more") && answer.text().len() < 2000, "{answer:?}");
}

#[tokio::test]
async fn a_model_that_is_left_out_is_404_and_says_so() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    let elsewhere = nobody();
    stage.lists(elsewhere, (0..MAX_MODELS_PER_BACKEND).map(|n| format!("many-{n}")));
    stage.add("c", "n", elsewhere).await;
    judge(&stage, &case(r#"{"model":"n"}"#, 404, "model_not_found", "not_found_error")).await;
    let answer = stage.ask(post("/v1/x", r#"{"model":"n"}"#)).await;
    assert!(answer.text().contains("`n` is left out: there are too many models"), "{answer:?}");
    let answer = stage.ask(post("/v1/x", r#"{"model":"not-listed"}"#)).await;
    assert!(answer.text().contains("does not exist"), "{answer:?}");
}

#[tokio::test]
async fn a_draining_backend_is_503_and_a_known_model_that_is_not_ready_too() {
    let hold = Signal::new();
    let script = hold.clone();
    let backend = RawBackend::start(move |mut peer| {
        let hold = script.clone();
        async move {
            peer.request().await?;
            hold.given().await;
            peer.send(OK).await
        }
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut busy = stage.client().await;
    busy.send(post("/v1/x", MODEL)).await;
    backend.until("the request", |backend| !backend.requests().is_empty()).await;
    stage.source.edge(&ContainerId::new("b0"), LifecycleEvent::Signal(signal::Signal::TERM));
    stage.until("the drain", |shared| shared.load().table.active() == 0).await;
    judge(&stage, &case(MODEL, 503, "model_draining", "overloaded_error")).await;
    hold.give();
    assert_eq!(busy.answer().await.unwrap().status, 200, "what was in flight finishes");

    let unhealthy = Stage::before(backend.address()).await;
    unhealthy.source.put(Container { condition: Condition::Starting, ..container("b0") });
    unhealthy.until("the end of it", |shared| shared.load().table.active() == 0).await;
    unhealthy.until("no drain", |shared| shared.load().table.draining().is_empty()).await;
    judge(&unhealthy, &case(MODEL, 503, "model_unavailable", "overloaded_error")).await;
}

#[tokio::test]
async fn a_backend_that_is_not_there_or_breaks_is_502() {
    let stage = Stage::before(nobody()).await;
    judge(&stage, &case(MODEL, 502, "backend_unreachable", "api_error")).await;
    let backend = RawBackend::start(|mut peer| async move { peer.request().await.map(drop) }).await;
    let stage = Stage::before(backend.address()).await;
    judge(&stage, &case(MODEL, 502, "backend_unreachable", "api_error")).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let backend = RawBackend::answering(OK).await;
    let http = HttpSettings { max_buffered_body: 1024, ..HttpSettings::default() };
    let stage = Stage::tuned(&[("m", backend.address())], Tuning { http, ..Tuning::default() }).await;
    let body: &'static str =
        Box::leak(format!("{{\"x\":\"{}\",\"model\":\"m\"}}", "a".repeat(300_000)).into_boxed_str());
    judge(&stage, &case(body, 413, "body_too_large", "request_too_large")).await;
}
