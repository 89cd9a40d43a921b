//! One model on several backends: who takes which request, and what happens when one of them fails.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use domain::balance::{EJECT_AFTER_FAILURES, Policy};
use domain::container::{ContainerId, LifecycleEvent};
use domain::labels::InferenceLabels;
use domain::pool::Replicas;
use domain::signal::Signal;

use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::{RawBackend, Signal as Given, nobody};
use super::support::raw_client::post;
use super::{MODEL, OK};

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";
const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad";

pub async fn pool(policy: Policy, backends: &[SocketAddr], labels: impl Fn(usize) -> InferenceLabels) -> Stage {
    let mut tuning = Tuning::default();
    tuning.rules.replicas = Replicas::All;
    tuning.rules.balance = policy;
    let stage = Stage::tuned(&[], tuning).await;
    for (number, backend) in backends.iter().enumerate() {
        stage.add_labelled(&format!("b{number}"), "m", *backend, labels(number)).await;
    }
    stage
}

pub fn plain(_: usize) -> InferenceLabels {
    InferenceLabels::default()
}

async fn three(answers: [&'static str; 3]) -> [RawBackend; 3] {
    let [a, b, c] = answers;
    [RawBackend::answering(a).await, RawBackend::answering(b).await, RawBackend::answering(c).await]
}

fn addresses(backends: &[RawBackend]) -> Vec<SocketAddr> {
    backends.iter().map(RawBackend::address).collect()
}

pub fn chat(system: &str, user: &str) -> String {
    let body = format!(
        r#"{{"messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"{user}"}}],"model":"m"}}"#
    );
    post("/v1/chat/completions", &body)
}

#[tokio::test]
async fn conversations_stay_with_the_member_that_has_seen_their_beginning() {
    let backends = three([OK; 3]).await;
    let stage = pool(Policy::PrefixAffinity, &addresses(&backends), plain).await;
    for turn in 0..4 {
        for tenant in 0..12 {
            let answer = stage.ask(chat(&format!("tenant {tenant}"), &format!("turn {turn}"))).await;
            assert_eq!(answer.status, 200);
        }
    }
    let mut used = 0;
    let mut homes = vec![HashSet::new(); 12];
    for (number, backend) in backends.iter().enumerate() {
        used += usize::from(!backend.requests().is_empty());
        for request in backend.requests() {
            let body = String::from_utf8(request.body).unwrap();
            let tenant: usize = body.split("tenant ").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
            homes[tenant].insert(number);
        }
    }
    assert!(homes.iter().all(|homes| homes.len() == 1), "{homes:?}");
    assert!(used > 1, "twelve tenants at one member");
}

#[tokio::test]
async fn requests_without_a_beginning_are_spread() {
    let backends = three([OK; 3]).await;
    let stage = pool(Policy::PrefixAffinity, &addresses(&backends), plain).await;
    for _ in 0..90 {
        assert_eq!(stage.ask(post("/v1/x", MODEL)).await.status, 200);
    }
    for backend in &backends {
        assert!((12..60).contains(&backend.requests().len()), "{}", backend.requests().len());
    }
}

#[tokio::test]
async fn the_member_with_the_fewest_requests_takes_the_next() {
    let go = Given::new();
    let mut backends = Vec::new();
    for _ in 0..3 {
        let go = go.clone();
        backends.push(
            RawBackend::start(move |mut peer| {
                let go = go.clone();
                async move {
                    peer.request().await?;
                    go.until_given().await;
                    peer.send(OK).await
                }
            })
            .await,
        );
    }
    let stage = pool(Policy::LeastRequests, &addresses(&backends), plain).await;
    let mut clients = Vec::new();
    for sent in 1..=12 {
        let mut client = stage.client().await;
        client.send(post("/v1/x", MODEL)).await;
        clients.push(client);
        let at_work = |stage: &Stage| ["b0", "b1", "b2"].map(|id| stage.in_flight_of(id)).iter().sum::<usize>();
        stage.until("the request at a member", |_| at_work(&stage) == sent).await;
    }
    assert_eq!(["b0", "b1", "b2"].map(|id| stage.in_flight_of(id)), [4; 3]);
    go.give();
    for mut client in clients {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_request_that_a_member_declines_goes_to_another_and_who_always_declines_is_ejected() {
    for declines in [UNAVAILABLE, "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nslow"] {
        let backends = three([declines, OK, OK]).await;
        let stage = pool(Policy::LeastRequests, &addresses(&backends), plain).await;
        for _ in 0..60 {
            let answer = stage.ask(post("/v1/x", MODEL)).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        }
        let asked = backends[0].requests();
        assert!(asked.iter().all(|request| request.body == MODEL.as_bytes()));
        if declines == UNAVAILABLE {
            assert_eq!(asked.len(), EJECT_AFTER_FAILURES as usize, "it is ejected then");
            let report = stage.shared.report();
            let lines: Vec<_> =
                report.containers.iter().map(|line| (line.name.as_str(), line.state.as_str())).collect();
            assert_eq!(lines, [("b0", "ejected"), ("b1", "ready"), ("b2", "ready")]);
            assert!(!report.is_well() && report.containers[0].line.contains("of other replicas do not"));
            assert!(report.containers[1].line.contains("one of 3 replicas (all)"), "{}", report.containers[1].line);
            assert_eq!(
                (report.models.len(), report.models[0].replicas.len(), report.models[0].behind.len()),
                (1, 2, 0)
            );
        }
    }
}

#[tokio::test]
async fn what_every_member_declines_is_answered_as_they_answered() {
    let backends = three([UNAVAILABLE; 3]).await;
    let stage = pool(Policy::LeastRequests, &addresses(&backends), plain).await;
    let answer = stage.ask(post("/v1/x", MODEL)).await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "busy"));
    assert_eq!(backends.iter().map(|backend| backend.requests().len()).sum::<usize>(), 2, "tried once more");
}

#[tokio::test]
async fn a_member_whose_gateway_fails_is_ejected_and_the_answers_are_passed_on() {
    let backends = three([BAD_GATEWAY, OK, OK]).await;
    let stage = pool(Policy::LeastRequests, &addresses(&backends), plain).await;
    let mut failed = 0;
    for _ in 0..60 {
        failed += usize::from(stage.ask(post("/v1/x", MODEL)).await.status == 502);
    }
    assert_eq!(failed, EJECT_AFTER_FAILURES as usize);
    let all = three([BAD_GATEWAY; 3]).await;
    let stage = pool(Policy::LeastRequests, &addresses(&all), plain).await;
    for _ in 0..30 {
        assert_eq!(stage.ask(post("/v1/x", MODEL)).await.status, 502);
    }
    assert!(all.iter().all(|backend| backend.requests().len() > 5), "where all fail nobody is ejected");
}

#[tokio::test]
async fn a_member_that_refuses_connections_costs_no_request() {
    let backends = three([OK; 3]).await;
    let stage = pool(
        Policy::PrefixAffinity,
        &[backends[0].address(), nobody(), backends[1].address(), backends[2].address()],
        plain,
    )
    .await;
    for n in 0..40 {
        assert_eq!(stage.ask(chat("s", &n.to_string())).await.status, 200);
    }
}

#[tokio::test]
async fn where_every_member_has_as_many_requests_as_it_may_the_next_is_told_to_come_again() {
    let go = Given::new();
    let hold = |go: Given| {
        RawBackend::start(move |mut peer| {
            let go = go.clone();
            async move {
                peer.request().await?;
                go.until_given().await;
                peer.send(OK).await
            }
        })
    };
    let backends = [hold(go.clone()).await, hold(go.clone()).await];
    let labels = |_| InferenceLabels { max_requests: Some(1), ..InferenceLabels::default() };
    let stage = pool(Policy::PrefixAffinity, &addresses(&backends), labels).await;
    let mut clients = Vec::new();
    for n in 0..2 {
        let mut client = stage.client().await;
        client.send(chat("s", &n.to_string())).await;
        clients.push(client);
        stage.until("the request", |_| stage.in_flight_of("b0") + stage.in_flight_of("b1") == n + 1).await;
    }
    let busy = stage.ask(chat("s", "2")).await;
    assert_eq!((busy.status, busy.code().as_str(), busy.header("retry-after")), (503, "model_busy", Some("1")));
    go.give();
    for mut client in clients {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    assert_eq!(stage.ask(chat("s", "3")).await.status, 200);
}

#[tokio::test]
async fn a_tier_is_used_only_while_the_one_before_it_cannot_take_a_request() {
    let backends = three([OK; 3]).await;
    let labels = |number| InferenceLabels { priority: u8::from(number == 2), ..InferenceLabels::default() };
    let stage = pool(Policy::LeastRequests, &addresses(&backends), labels).await;
    for _ in 0..20 {
        stage.ask(post("/v1/x", MODEL)).await;
    }
    assert_eq!(backends[2].requests().len(), 0);
    for id in ["b0", "b1"] {
        stage.source.edge(&ContainerId::new(id), LifecycleEvent::Signal(Signal::TERM));
    }
    stage.until("both to leave", |routes| routes.load().table.active() == 1).await;
    assert_eq!(stage.ask(post("/v1/x", MODEL)).await.status, 200);
    assert_eq!(backends[2].requests().len(), 1);
}

#[tokio::test]
async fn a_member_that_stops_finishes_what_it_has_and_gets_nothing_new() {
    let (begun, go) = (Given::new(), Given::new());
    let script = (begun.clone(), go.clone());
    let slow = RawBackend::start(move |mut peer| {
        let (begun, go) = script.clone();
        async move {
            peer.request().await?;
            begun.give();
            go.until_given().await;
            peer.send(OK).await
        }
    })
    .await;
    let stage = pool(Policy::LeastRequests, &[slow.address()], plain).await;
    let mut client = stage.client().await;
    client.send(post("/v1/x", MODEL)).await;
    begun.until_given().await;
    let other = RawBackend::answering(OK).await;
    stage.add_labelled("b9", "m", other.address(), InferenceLabels::default()).await;
    stage.source.edge(&ContainerId::new("b0"), LifecycleEvent::Signal(Signal::TERM));
    stage.until("it to leave", |routes| routes.load().table.active() == 1).await;
    for _ in 0..10 {
        assert_eq!(stage.ask(post("/v1/x", MODEL)).await.status, 200);
    }
    assert_eq!((other.requests().len(), slow.requests().len()), (10, 1));
    go.give();
    assert_eq!(client.answer().await.unwrap().status, 200, "what it had begun");
}

#[tokio::test]
async fn a_long_body_that_names_its_model_first_is_not_held_whole() {
    let backends = three([OK; 3]).await;
    let stage = pool(Policy::PrefixAffinity, &addresses(&backends), plain).await;
    let head = r#"{"model":"m","messages":[{"role":"user","content":""#;
    let length = 8 << 20;
    let mut client = stage.client().await;
    client
        .send(format!("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{head}", head.len() + length + 4))
        .await;
    client.send("x".repeat(400 * 1024)).await;
    let reached = |backends: &[RawBackend]| backends.iter().map(RawBackend::connections).sum::<usize>() > 0;
    let began = tokio::time::Instant::now();
    while !reached(&backends) && began.elapsed() < Duration::from_secs(5) {
        tokio::task::yield_now().await;
    }
    assert!(reached(&backends), "the beginning is enough");
    client.send("x".repeat(length - 400 * 1024)).await;
    client.send("\"}]}").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_member_that_accepts_and_never_answers_is_ejected_when_its_clients_give_up() {
    let silent = RawBackend::start(|mut peer| async move {
        peer.request().await?;
        peer.ended().await;
        Ok(())
    })
    .await;
    let other = RawBackend::answering(OK).await;
    let stage = pool(Policy::PrefixAffinity, &[silent.address(), other.address()], plain).await;
    let mut waiting = Vec::new();
    let mut number = 0;
    while waiting.len() < EJECT_AFTER_FAILURES as usize {
        let mut client = stage.client().await;
        client.send(chat("s", &number.to_string())).await;
        number += 1;
        let before = waiting.len();
        stage
            .until("it to be at a member", |_| {
                stage.in_flight_of("b0") > before || other.requests().len() + before >= number
            })
            .await;
        if stage.in_flight_of("b0") > before {
            waiting.push(client);
        }
    }
    // Long enough that no client is merely impatient.
    let nothing = tokio::time::timeout(Duration::from_millis(2100), waiting[0].next_chunk()).await;
    assert!(nothing.is_err(), "it answered");
    drop(waiting);
    stage.until("the clients to be gone", |_| stage.in_flight_of("b0") == 0).await;
    let before = silent.requests().len();
    for n in 0..20 {
        assert_eq!(stage.ask(chat("t", &n.to_string())).await.status, 200);
    }
    assert_eq!(silent.requests().len(), before);
    assert_eq!(stage.shared.report().containers[0].state, "ejected");
}
