//! The real proxy as a process of its own: started on a free port, its log read, its end awaited.

use crate::http::{Answer, client};
use crate::tools::proxy_binary;
use crate::wait::{BOUND, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// A port that was free a moment ago may be taken by another test: so often is another one tried.
const START_TRIES: usize = 3;
/// How much of the log a failed wait shows.
const SHOWN_LINES: usize = 40;

/// How the proxy is started.
#[derive(Clone, Default)]
pub struct ProxyBuilder {
    env: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// How long one of many questions may wait for its answer.
const ONE_QUESTION: Duration = Duration::from_secs(3);

impl ProxyBuilder {
    /// Sets a variable. Of this process's own, `PROXY_*` and `OTEL_*` are not passed on.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds an argument, such as `--help`.
    pub fn argument(mut self, word: &str) -> Self {
        self.arguments.push(word.to_owned());
        self
    }

    /// Starts it and waits until `/readyz` answers 200.
    pub async fn start(self) -> ProxyProcess {
        for _ in 1..START_TRIES {
            let mut proxy = self.spawn().await;
            if proxy.becomes_ready().await {
                return proxy;
            }
            if !proxy.shown().contains("in use") {
                panic!("the proxy ended before it was ready:\n{}", proxy.shown());
            }
        }
        let mut proxy = self.spawn().await;
        assert!(proxy.becomes_ready().await, "no start:\n{}", proxy.shown());
        proxy
    }

    /// Starts it and waits for nothing: for a proxy whose engine is away, or that refuses its settings.
    pub async fn spawn(&self) -> ProxyProcess {
        let port = free_port();
        let mut command = Command::new(proxy_binary());
        for (name, _) in std::env::vars() {
            if name.starts_with("PROXY_") || name.starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        command
            .args(&self.arguments)
            .env("PROXY_PORT", port.to_string())
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the proxy can be started");
        let (lines, errors) = (Lines::default(), Lines::default());
        lines.read(child.stdout.take().expect("piped"));
        errors.read(child.stderr.take().expect("piped"));
        ProxyProcess { child, port, lines, errors }
    }
}

/// A proxy that was started. Dropping it kills it.
pub struct ProxyProcess {
    child: Child,
    port: u16,
    lines: Lines,
    errors: Lines,
}

impl ProxyProcess {
    /// How to start one.
    pub fn builder() -> ProxyBuilder {
        ProxyBuilder::default()
    }

    /// Starts one with default settings and waits until it is ready.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// The port it was told to listen on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// `http://127.0.0.1:port` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// `GET`, read to the end.
    pub async fn get(&self, path: &str) -> reqwest::Result<Answer> {
        Answer::of(client().get(self.url(path)).send().await?).await
    }

    /// `POST` of a JSON body, read to the end.
    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Result<Answer> {
        Answer::of(self.send(path, body).await?).await
    }

    /// `POST` of a JSON body; returns when the head of the answer is there, to read the stream piece by piece.
    pub async fn send(&self, path: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        client().post(self.url(path)).json(body).send().await
    }

    /// One chat request that does not stream.
    pub async fn chat(&self, model: &str) -> reqwest::Result<Answer> {
        let message = json!([{"role": "user", "content": "hello"}]);
        self.post("/v1/chat/completions", &json!({"model": model, "messages": message})).await
    }

    /// The ids of `GET /v1/models`; none while it does not answer.
    pub async fn models(&self) -> Vec<String> {
        let Ok(answer) = self.get("/v1/models").await else {
            return Vec::new();
        };
        let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let data = said["data"].as_array().cloned().unwrap_or_default();
        data.iter().filter_map(|model| model["id"].as_str().map(str::to_owned)).collect()
    }

    /// Waits until the ids of `GET /v1/models` satisfy `wanted`.
    pub async fn until_models(&self, what: &str, wanted: impl Fn(&[String]) -> bool) {
        self.until(&format!("the models are such that {what}"), async || wanted(&self.models().await).then_some(()))
            .await;
    }

    /// Waits until this model is listed.
    pub async fn until_listed(&self, model: &str) {
        self.until_models(&format!("{model} is listed"), |ids| ids.iter().any(|id| id == model)).await;
    }

    /// Waits until this model is not listed.
    pub async fn until_unlisted(&self, model: &str) {
        self.until_models(&format!("{model} is not listed"), |ids| !ids.iter().any(|id| id == model)).await;
    }

    /// Waits until a chat request for `model` is answered by the mock of this name.
    pub async fn until_answered_by(&self, model: &str, mock: &str) {
        self.until(&format!("{model} is answered by {mock}"), async || {
            // One that reaches a container just as that is paused waits for it, as it must; the next one does not.
            let answer = tokio::time::timeout(ONE_QUESTION, self.chat(model)).await.ok()?.ok()?;
            (answer.mock.as_deref() == Some(mock)).then_some(())
        })
        .await;
    }

    /// Every line of its standard output that is JSON.
    pub fn log(&self) -> Vec<Value> {
        self.lines.all().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its standard output, line by line.
    pub fn output(&self) -> Vec<String> {
        self.lines.all()
    }

    /// Its standard error, line by line.
    pub fn errors(&self) -> Vec<String> {
        self.errors.all()
    }

    /// Waits for a line of the log and returns it.
    pub async fn until_log(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(&format!("the log says {what}"), async || self.log().into_iter().find(|line| wanted(line))).await
    }

    /// Waits for a line of the log that holds this text anywhere.
    pub async fn until_log_holds(&self, text: &str) -> Value {
        self.until_log(text, |line| line.to_string().contains(text)).await
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until it has ended.
    pub async fn until_exit(&mut self, bound: Duration) -> ExitStatus {
        match tokio::time::timeout(bound, self.child.wait()).await {
            Ok(status) => status.expect("the proxy can be waited for"),
            Err(_) => panic!("the proxy still runs after {bound:?}:\n{}", self.shown()),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id as i32));
        let pid = pid.expect("the proxy still runs");
        kill_process(pid, signal).expect("a signal can be sent to one's own child");
    }

    /// Waits for `/readyz`; `false` when the process ended instead.
    async fn becomes_ready(&mut self) -> bool {
        let url = self.url("/readyz");
        let child = &mut self.child;
        let ready = wait_for(BOUND, async || {
            if child.try_wait().is_ok_and(|status| status.is_some()) {
                return Some(false);
            }
            let answer = client().get(&url).send().await.ok()?;
            (answer.status() == 200).then_some(true)
        })
        .await;
        ready.unwrap_or_else(|| panic!("the proxy was not ready in {BOUND:?}:\n{}", self.shown()))
    }

    async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        let found = wait_for(BOUND, look).await;
        found.unwrap_or_else(|| panic!("waited {BOUND:?} in vain until {what}; the proxy said:\n{}", self.shown()))
    }

    fn shown(&self) -> String {
        format!("{}\n{}", self.lines.last(), self.errors.last())
    }
}

/// Lines that a task of its own reads from a pipe.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn read(&self, from: impl AsyncRead + Unpin + Send + 'static) {
        let lines = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut from = BufReader::new(from).lines();
            while let Ok(Some(line)) = from.next_line().await {
                lines.lock().expect("no reader panics").push(line);
            }
        });
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no reader panics").clone()
    }

    fn last(&self) -> String {
        let all = self.all();
        all[all.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("0.0.0.0", 0)).expect("some port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}
