//! Rolling restarts: clients, nginx, the proxy, and two containers of one model, of which one after the other is stopped
//! and started. No request fails, no stream is cut, and each request comes to one container once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use engine_tests::nginx::Nginx;
use engine_tests::{Answer, Engine, Mock, MockContainer, ProxyProcess, client, require_engine};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often a container is stopped and started again; `LW_ROLLING_CYCLES` says otherwise.
const CYCLES: usize = 20;
/// How many clients ask for short answers, and how many for streams.
const CLIENTS: usize = 2;
const STREAMS: usize = 2;
/// The pause between two requests of a client: steady, and gentle.
const PAUSE: Duration = Duration::from_millis(50);
/// A stream takes longer than the engine needs to tell of a stop signal.
const TOKENS: usize = 30;
const TOKEN_MS: usize = 40;
/// Longer than any stream here.
const PATIENT: Duration = Duration::from_secs(30);

/// Clients that keep a connection each.
#[derive(Clone)]
struct Asking {
    at: SocketAddr,
    model: String,
    over: Arc<AtomicBool>,
}

impl Asking {
    /// Asks once. What is wrong with the answer, if something is; else which container gave it.
    async fn once(&self, client: &reqwest::Client, name: &str, streams: bool) -> Result<String, String> {
        let tokens = if streams { TOKENS } else { 2 };
        let url = format!("http://{}/v1/chat/completions?id={name}&tokens={tokens}&token_ms={TOKEN_MS}", self.at);
        let body = json!({"model": self.model, "stream": streams, "messages": []});
        let wrong = |why: &dyn std::fmt::Debug| format!("{name}: {why:?}");
        let answer = client.post(url).json(&body).send().await.map_err(|why| wrong(&why))?;
        let answer = Answer::of(answer).await.map_err(|why| wrong(&why))?;
        let whole = (0..tokens).all(|number| answer.text.contains(&format!("tok{number} ")));
        let ended = !streams || answer.text.ends_with("data: [DONE]\n\n");
        match answer.mock.clone() {
            Some(mock) if answer.status == 200 && whole && ended => Ok(mock),
            _ => Err(wrong(&answer)),
        }
    }

    /// Asks until it is told that all is over; the names of its requests.
    async fn steadily(self, number: usize, streams: bool) -> Result<Vec<String>, String> {
        let (client, mut sent) = (client(), Vec::new());
        while !self.over.load(Ordering::Relaxed) {
            let name = format!("{}-{number}-{}", if streams { "stream" } else { "plain" }, sent.len());
            self.once(&client, &name, streams).await?;
            sent.push(name);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(sent)
    }
}

/// How often each of our requests came to one of these containers, in all their lives; none may have been broken off.
async fn came(containers: [&MockContainer; 2]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for container in containers {
        let log = container.logs().await;
        let broken: Vec<_> = log.lines().filter(|line| line.ends_with(" aborted")).collect();
        assert!(broken.is_empty(), "{}: {broken:?}", container.name());
        for line in log.lines() {
            if let Some(name) = line.split("?id=").nth(1).and_then(|rest| rest.split('&').next()) {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    counts
}

async fn replica(engine: &Engine, name: &str, model: &str) -> MockContainer {
    let mock = Mock::serving(name, &[model]).env("ON_TERM", "finish").health_every(Duration::from_millis(200));
    mock.stop_timeout(PATIENT).start(engine).await
}

fn cycles() -> usize {
    std::env::var("LW_ROLLING_CYCLES").ok().and_then(|cycles| cycles.parse().ok()).unwrap_or(CYCLES)
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_25_rolling_restarts_of_two_containers_fail_no_request_and_cut_no_stream() {
    let engine = require_engine!();
    let (model, cycles) = (engine.unique("rolling"), cycles());
    let proxy = ProxyProcess::start().await;
    let Some(nginx) = Nginx::start(&[SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port()))]) else { return };
    let (first, second) = (replica(&engine, "first", &model).await, replica(&engine, "second", &model).await);
    for replica in [&first, &second] {
        proxy.until_log("it is in service", |line| line["container"] == replica.name()).await;
    }
    let (over, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let asking = Asking { at: nginx.address, model: model.clone(), over: Arc::clone(&over) };
    let mut load = JoinSet::new();
    for number in 0..CLIENTS + STREAMS {
        load.spawn(asking.clone().steadily(number, number >= CLIENTS));
    }
    // The last one to turn healthy serves: restarted, it is the one in service. So every other time it is this one that
    // is stopped, and in between the one that it relieved, whose streams still run.
    let mut sent = Vec::new();
    let served = asking.once(&client(), "who", false).await.unwrap();
    sent.push("who".to_owned());
    let (mut serves, mut other) = if served == first.name() { (&first, &second) } else { (&second, &first) };
    for cycle in 0..cycles {
        if cycle % 2 == 0 {
            // A stream of our own runs on it, so that it is still there when the engine tells of the signal.
            let name = format!("held-{cycle}");
            let (asking, client) = (&asking, client());
            let held = async { asking.once(&client, &name, true).await };
            let stopped = async {
                serves.until_stats("the stream has begun", |stats| stats.in_flight > 0).await;
                serves.stop(None).await;
            };
            let (held, ()) = tokio::join!(held, stopped);
            assert_eq!(held.as_deref(), Ok(serves.name()));
            sent.push(name);
            proxy.until_answered_by(&model, other.name()).await;
        } else {
            std::mem::swap(&mut serves, &mut other);
            serves.stop(None).await;
        }
        serves.start().await;
        proxy.until_answered_by(&model, serves.name()).await;
    }
    over.store(true, Ordering::Relaxed);
    let ended: Vec<_> = load.join_all().await;
    let failed: Vec<_> = ended.iter().filter_map(|client| client.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:#?}\nnginx: {}", nginx.errors());
    sent.extend(ended.into_iter().flatten().flatten());
    let streams = sent.iter().filter(|name| !name.starts_with("plain")).count();
    println!(
        "rule 25: {cycles} stops and starts of two containers behind nginx and the proxy in {:.0} s: {} requests, \
         {streams} of them streams, none failed or cut, each came to one container once",
        began.elapsed().as_secs_f32(),
        sent.len(),
    );
    assert_eq!(came([&first, &second]).await, sent.into_iter().map(|name| (name, 1)).collect());
}
