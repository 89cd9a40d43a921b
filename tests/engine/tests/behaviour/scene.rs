//! What the tests of this binary share: streams that are read bit by bit, steady requests, refusals, a relay to the engine.

use engine_tests::{Answer, BOUND, ProxyProcess, client, until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// What changes at a container is seen in requests within a second; the rest is for a busy machine. It is less than the
/// 30 seconds after which containers are looked at anyway, so that what is seen by then was told by an event.
pub const SOON: Duration = Duration::from_secs(10);
/// The pause between two steady requests: steady, and gentle.
const STEADY_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for one steady request.
const STEADY_WAIT: Duration = Duration::from_secs(10);

/// A streamed chat whose first event has arrived.
pub struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    /// Begins a chat of `tokens` tokens, one every `token_ms`, and waits for its first piece.
    pub async fn begin(proxy: &ProxyProcess, model: &str, tokens: u64, token_ms: u64) -> Self {
        let path = format!("/v1/chat/completions?tokens={tokens}&token_ms={token_ms}");
        let body = json!({"model": model, "stream": true, "messages": []});
        let response = proxy.send(&path, &body).await.expect("the head of a stream");
        assert_eq!(response.status(), 200, "the stream is taken");
        let mut stream = Self { response, text: String::new() };
        assert!(stream.next().await.expect("a first piece"), "the stream is not empty");
        stream
    }

    /// Reads the next piece; `false` at a clean end.
    pub async fn next(&mut self) -> reqwest::Result<bool> {
        let piece = self.response.chunk().await?;
        if let Some(piece) = &piece {
            self.text.push_str(&String::from_utf8_lossy(piece));
        }
        Ok(piece.is_some())
    }

    /// Reads to a clean end; an error is what a client sees of a stream that was cut.
    pub async fn finish(mut self) -> reqwest::Result<String> {
        while self.next().await? {}
        Ok(self.text)
    }

    /// Reads to the end, which must be the whole answer.
    pub async fn finish_whole(self) {
        let text = self.finish().await.expect("a whole stream");
        assert!(text.ends_with("data: [DONE]\n\n"), "the stream ends as the server ended it: {text}");
    }

    /// Reads to the end, which must be an error.
    pub async fn finish_broken(self) {
        let ended = tokio::time::timeout(BOUND, self.finish()).await.expect("the stream ends");
        assert!(ended.is_err(), "the client must see that the stream is not whole: {ended:?}");
    }
}

/// What the proxy says to a request that it does not carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub retry_after: Option<u64>,
}

impl Refusal {
    fn of(answer: &Answer) -> Self {
        let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let after = answer.headers.get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
        let code = said["error"]["code"].as_str().unwrap_or_default().to_owned();
        Self { status: answer.status, code, retry_after: after }
    }
}

/// Asks for a model once.
pub async fn ask(proxy: &ProxyProcess, model: &str) -> Refusal {
    Refusal::of(&proxy.chat(model).await.expect("an answer"))
}

/// Waits until a request for `model` is refused with this status and code; returns how long that took.
pub async fn until_refused(proxy: &ProxyProcess, model: &str, status: u16, code: &str) -> Duration {
    let begun = Instant::now();
    let refusal = until(&format!("{model} is refused with {status} {code}"), BOUND, async || {
        let refusal = Refusal::of(&proxy.chat(model).await.ok()?);
        (refusal.status == status && refusal.code == code).then_some(refusal)
    })
    .await;
    if status == 503 {
        let after = refusal.retry_after.expect("Retry-After");
        assert!((1..=120).contains(&after), "{refusal:?}");
    }
    begun.elapsed()
}

/// The warnings in the log that name this container and hold this text.
pub fn warnings(proxy: &ProxyProcess, container: &str, text: &str) -> Vec<Value> {
    let is =
        |line: &Value| line["level"] == "WARN" && [container, text].iter().all(|part| line.to_string().contains(part));
    proxy.log().into_iter().filter(is).collect()
}

/// The lines of the log with this message that name this container.
pub fn lines(proxy: &ProxyProcess, message: &str, container: &str) -> usize {
    proxy.log().iter().filter(|line| line["message"] == message && line["container"] == container).count()
}

/// One steady request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The status; 0 when there was no whole answer.
    pub status: u16,
    pub code: String,
    pub mock: String,
}

/// Asks for one model steadily until told to stop. Functional requests, no load.
pub struct Steady {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Steady {
    /// Begins.
    pub fn begin(proxy: &ProxyProcess, model: &str) -> Self {
        let (seen, stop) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let (to, until, url) = (Arc::clone(&seen), Arc::clone(&stop), proxy.url("/v1/echo"));
        let body = json!({"model": model});
        let task = tokio::spawn(async move {
            let client = client();
            while !until.load(Ordering::Relaxed) {
                let sent = client.post(&url).timeout(STEADY_WAIT).json(&body).send().await;
                let one = match sent {
                    Ok(response) => Answer::of(response).await,
                    Err(why) => Err(why),
                };
                let one = match one {
                    Ok(answer) => {
                        let Refusal { status, code, .. } = Refusal::of(&answer);
                        Seen { status, code, mock: answer.mock.unwrap_or_default() }
                    }
                    Err(why) => Seen { status: 0, code: why.to_string(), mock: String::new() },
                };
                to.lock().unwrap().push(one);
                tokio::time::sleep(STEADY_EVERY).await;
            }
        });
        Self { seen, stop, task }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits for this many further answers.
    pub async fn more(&self, count: usize) {
        let before = self.seen().len();
        until("there are more answers", BOUND, async || (self.seen().len() >= before + count).then_some(())).await;
    }

    /// Ends, and tells what was seen.
    pub async fn end(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("steady requests do not panic");
        self.seen.lock().unwrap().clone()
    }

    /// Ends; every request must have been answered by a backend.
    pub async fn end_without_a_failure(self) -> Vec<Seen> {
        let seen = self.end().await;
        let failed: Vec<_> = seen.iter().filter(|one| one.status != 200).collect();
        assert!(failed.is_empty() && !seen.is_empty(), "{} of {} failed: {failed:?}", failed.len(), seen.len());
        seen
    }
}

/// A way to the engine's socket that can be closed and cut.
pub struct Relay {
    path: PathBuf,
    engine: PathBuf,
    open: Option<JoinHandle<()>>,
    connections: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

impl Relay {
    /// A relay that is closed: there is no socket yet.
    pub fn closed(name: &str, engine: &Path) -> Self {
        let path = std::env::temp_dir().join(format!("{name}.sock"));
        Self { path, engine: engine.to_owned(), open: None, connections: Arc::default() }
    }

    /// For `DOCKER_HOST`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Opens it.
    pub fn open(&mut self) {
        let listener = UnixListener::bind(&self.path).expect("a socket can be made");
        let (engine, connections) = (self.engine.clone(), Arc::clone(&self.connections));
        self.open = Some(tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let engine = engine.clone();
                connections.lock().await.spawn(async move {
                    if let Ok(mut engine) = UnixStream::connect(engine).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                    }
                });
            }
        }));
    }

    /// Cuts every connection through it.
    pub async fn cut(&self) {
        self.connections.lock().await.shutdown().await;
    }

    /// Closes it, and cuts every connection.
    pub async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            let _ = open.await;
        }
        let _ = std::fs::remove_file(&self.path);
        self.cut().await;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.abort();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The socket of the engine that the tests run on; `None` when it is reached otherwise.
pub fn engine_socket() -> Option<PathBuf> {
    match std::env::var("DOCKER_HOST") {
        Ok(host) => host.strip_prefix("unix://").map(PathBuf::from),
        Err(_) => Some(PathBuf::from("/var/run/docker.sock")),
    }
}
