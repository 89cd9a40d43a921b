//! Asking a healthy container for its models: every way in which that fails, until it works.
//!
//! The containers here are on the host's network, and their server is in this process: it answers as a test tells it.

use crate::scene::{ask, lines, warnings};
use engine_tests::{BOUND, Engine, Mock, MockContainer, ProxyProcess, require_engine, until};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_list_is_asked_for_again_and_each_reason_is_logged_once() {
    let engine = require_engine!();
    let model = engine.unique("scripted");
    let proxy = ProxyProcess::start().await;
    let script = Script::serve("HTTP/1.1 500 Internal Server Error", "{}").await;
    let mock = script.container(&engine, script.port).await;
    for (status, body, said) in [
        ("HTTP/1.1 500 Internal Server Error", "{}", "500"),
        ("HTTP/1.1 200 OK", "<html>", "not a list of models"),
        ("HTTP/1.1 200 OK", r#"{"object":"list","data":[]}"#, "lists no model"),
    ] {
        script.answer(status, body);
        let asked = script.asked();
        until("it is asked twice more", BOUND, async || (script.asked() >= asked + 2).then_some(())).await;
        proxy.until_log(said, |line| line["container"] == mock.name() && line.to_string().contains(said)).await;
        let told = warnings(&proxy, mock.name(), said);
        assert_eq!(told.len(), 1, "{said}: {told:?}");
    }
    assert_eq!(ask(&proxy, &model).await.status, 404, "it has never been ready");
    script.answer("HTTP/1.1 200 OK", &format!(r#"{{"data":[{{"id":"{model}"}}]}}"#));
    proxy.until_listed(&model).await;
    assert_eq!(lines(&proxy, "backend registered", mock.name()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_takes_too_long_is_asked_for_again() {
    let engine = require_engine!();
    let model = engine.unique("slow");
    let proxy = ProxyProcess::start().await;
    let script = Script::serve("hang", "").await;
    let mock = script.container(&engine, script.port).await;
    proxy.until_log("a warning", |line| line["container"] == mock.name() && line["level"] == "WARN").await;
    script.answer("HTTP/1.1 200 OK", &format!(r#"{{"data":[{{"id":"{model}"}}]}}"#));
    proxy.until_listed(&model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_listens_late_though_healthy_is_asked_until_it_listens() {
    let engine = require_engine!();
    let model = engine.unique("late");
    let proxy = ProxyProcess::start().await;
    let health = Script::serve("HTTP/1.1 200 OK", "").await;
    let late = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = late.local_addr().unwrap().port();
    drop(late);
    let mock = health.container(&engine, port).await;
    proxy.until_log("a refusal", |line| line["container"] == mock.name() && line["level"] == "WARN").await;
    let list = format!(r#"{{"data":[{{"id":"{model}"}}]}}"#);
    let _late = Script::serve_at(port, "HTTP/1.1 200 OK", &list).await;
    proxy.until_listed(&model).await;
    assert_eq!(warnings(&proxy, mock.name(), "").len(), 1, "however often it was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_stopped_while_it_is_asked_never_becomes_a_backend() {
    let engine = require_engine!();
    let model = engine.unique("hasty");
    let proxy = ProxyProcess::start().await;
    let mock = Mock::serving("hasty", &[&model])
        .env("MODELS_DELAY_MS", 2500)
        .env("ON_TERM", "finish")
        .stop_timeout(Duration::from_secs(20))
        .start(&engine)
        .await;
    mock.until_stats("it is asked for its models", |stats| stats.in_flight > 0).await;
    mock.stop(None).await;
    mock.until_exited().await;
    assert!(mock.logs().await.contains("finishes "), "it did answer:\n{}", mock.logs().await);
    assert_eq!(ask(&proxy, &model).await.status, 404);
    assert_eq!(lines(&proxy, "backend registered", mock.name()), 0);
}

/// A server in this process, for a container on the host's network.
struct Script {
    port: u16,
    said: Arc<Mutex<(String, String)>>,
    asked: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Script {
    async fn serve(status: &str, body: &str) -> Self {
        Self::serve_at(0, status, body).await
    }

    async fn serve_at(port: u16, status: &str, body: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let port = listener.local_addr().unwrap().port();
        let said = Arc::new(Mutex::new((status.to_owned(), body.to_owned())));
        let asked = Arc::<Mutex<usize>>::default();
        let (say, count) = (Arc::clone(&said), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&say), Arc::clone(&count)));
            }
        });
        Self { port, said, asked, task }
    }

    /// A container whose health is asked here, and whose models at `port` of the host.
    async fn container(&self, engine: &Engine, port: u16) -> MockContainer {
        Mock::serving("scripted", &[])
            .network_mode("host")
            .env("PORT", self.port)
            .label("inference.port", &port.to_string())
            .command(&["sleep", "600"])
            .start_healthy(engine)
            .await
    }

    /// What it says to the next question for models; `hang`: nothing.
    fn answer(&self, status: &str, body: &str) {
        *self.said.lock().unwrap() = (status.to_owned(), body.to_owned());
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, said: Arc<Mutex<(String, String)>>, asked: Arc<Mutex<usize>>) {
    let mut head = vec![0; 4096];
    let read = stream.read(&mut head).await.unwrap_or(0);
    let health = head[..read].starts_with(b"GET /health");
    let (status, body) = match health {
        true => ("HTTP/1.1 200 OK".to_owned(), String::new()),
        false => said.lock().unwrap().clone(),
    };
    if !health {
        *asked.lock().unwrap() += 1;
    }
    if status == "hang" {
        let _ = stream.read(&mut head).await;
        return;
    }
    let answer = format!("{status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}
