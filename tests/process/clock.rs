//! The wall clock jumps by a day, there and back, while everything that waits for a time is under way.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::fake_engine::FakeEngine;
use super::support::not_run;
use super::support::proxy_process::ProxyProcess;
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{RawClient, get, post};
use super::{EVENTS, MODEL, OK, serving};

/// What the clock shows, one after the other, as `faketime` and `date` write it.
const JUMPS: [(&str, &str); 4] = [("+1d", "+1 day"), ("-1d", "-1 day"), ("+400d", "+400 days"), ("+0", "now")];
/// How long everything is left alone after a jump: what fires early does so at once.
const MOMENT: Duration = Duration::from_millis(300);

/// A wall clock that is set through a file.
struct Clock {
    library: String,
    file: PathBuf,
}

impl Clock {
    /// `None` where faketime is not to be had, which is said.
    fn get() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/get-faketime.sh");
        let said = Command::new("bash").args([script, "look"]).output().unwrap();
        if !said.status.success() {
            not_run("jumps of the wall clock need faketime: run tests/process/get-faketime.sh");
            return None;
        }
        let file = std::env::temp_dir().join(format!("lw-clock-{}", std::process::id()));
        let clock = Self { library: String::from_utf8(said.stdout).unwrap().trim().to_owned(), file };
        clock.show("+0");
        Some(clock)
    }

    fn show(&self, time: &str) {
        // In place of the old one at once: it is read at any moment.
        let new = self.file.with_extension("new");
        std::fs::write(&new, time).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    fn environment(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", &*self.library),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            // A jump moves the wall clock and no other.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A backend that lists `model` and streams an event each time that its number of jumps has come.
async fn streaming(model: &'static str, jumps: Vec<Signal>) -> RawBackend {
    RawBackend::start(move |mut peer| {
        let jumps = jumps.clone();
        async move {
            loop {
                let head = peer.head_unrecorded().await?;
                if head.starts_with("GET ") {
                    peer.list(&[model]).await?;
                    continue;
                }
                peer.body(&head).await?;
                peer.send(EVENTS).await?;
                for jump in &jumps {
                    peer.send_chunk("data: one\n\n").await?;
                    jump.until_given().await;
                }
                peer.send("0\r\n\r\n").await?;
            }
        }
    })
    .await
}

async fn stream(proxy: &ProxyProcess, model: &str) -> RawClient {
    let mut client = proxy.client().await;
    client.send(post("/v1/x", &format!(r#"{{"model":"{model}"}}"#))).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    client
}

async fn container(proxy: &ProxyProcess, name: &str) -> Option<Value> {
    let status = proxy.ask(get("/status")).await.json();
    status["containers"].as_array().unwrap().iter().find(|line| line["name"] == name).cloned()
}

/// Waits until a container is in this state.
async fn until_state(proxy: &ProxyProcess, name: &str, state: &str) -> Value {
    for _ in 0..500 {
        match container(proxy, name).await {
            Some(line) if line["state"] == state => return line,
            _ => proxy.tick().await,
        }
    }
    panic!("{name} is not {state}: {:#?}", container(proxy, name).await);
}

fn date(when: &str) -> String {
    let said = Command::new("date").args(["-u", "-d", when, "+%F"]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn rule_29_jumps_of_the_wall_clock_cut_nothing_and_expire_nothing() {
    let Some(clock) = Clock::get() else { return };
    let jumps: Vec<_> = JUMPS.iter().map(|_| Signal::new()).collect();
    let still = serving(|mut peer, head| async move {
        peer.rest(head).await?;
        peer.send(OK).await
    })
    .await;
    let (runs, drains) = (streaming("runs", jumps.clone()).await, streaming("drains", jumps.clone()).await);
    let engine = FakeEngine::start();
    let host = format!("unix://{}", engine.socket().display());
    engine.run_here("runs", runs.address().port());
    let draining = engine.run_here("drains", drains.address().port());
    let environment =
        [&clock.environment()[..], &[("PROXY_DOCKER", "on"), ("DOCKER_HOST", &*host), ("RUST_LOG", "debug")]].concat();
    let mut proxy = ProxyProcess::start(&[still.address()], &environment).await;
    until_state(&proxy, "runs", "ready").await;
    until_state(&proxy, "drains", "ready").await;
    let (mut in_stream, mut in_drain) = (stream(&proxy, "runs").await, stream(&proxy, "drains").await);
    let mut idle = proxy.client().await;
    assert_eq!(idle.ask(get("/healthz")).await.status, 200);
    engine.event(&draining, "kill", &[("signal", "15")]);
    until_state(&proxy, "drains", "draining").await;

    for (number, ((shown, said), jump)) in JUMPS.iter().zip(&jumps).enumerate() {
        clock.show(shown);
        let day = format!("\"timestamp\":\"{}T", date(said));
        let before = proxy.output().len();
        assert_eq!(proxy.ask(post("/v1/x", MODEL)).await.status, 200);
        proxy.until("a line of log of that day", |proxy| proxy.output()[before..].contains(&day)).await;
        proxy.pass(MOMENT).await;
        // What ran goes on, what drains still may, what is idle still is taken, and what is new is found.
        for client in [&mut in_stream, &mut in_drain] {
            assert_eq!(client.next_chunk().await.unwrap().unwrap(), b"data: one\n\n", "{shown}");
        }
        assert_eq!(until_state(&proxy, "drains", "draining").await["in_flight"], 1, "{shown}");
        assert_eq!(idle.ask(get("/healthz")).await.status, 200, "{shown}");
        let name = format!("new-{number}");
        engine.run_here(&name, runs.address().port());
        until_state(&proxy, &name, "ready").await;
        jump.give();
    }
    for client in [&mut in_stream, &mut in_drain] {
        assert_eq!(client.next_chunk().await.unwrap(), None, "a whole answer");
    }
    println!("rule 29: the wall clock showed {JUMPS:?}: two streams, a drain and an idle connection did not notice");
    proxy.signal("TERM");
    drop((in_stream, in_drain, idle));
    assert_eq!(proxy.ended().await.code(), Some(0), "{}", proxy.output());
}
