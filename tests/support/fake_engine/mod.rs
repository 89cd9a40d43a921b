//! A Docker engine of our own on a unix socket: scripted containers, their events, and every way to misbehave.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod containers;
mod json;
mod state;
mod steering;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lw_inference_proxy::adapters::docker::{DockerSettings, OwnAddress};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use answers::answer;
pub use containers::FakeContainer;
use state::State;
pub use steering::Mood;

/// The engine. It ends when it is dropped.
pub struct FakeEngine {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
    server: Option<JoinHandle<()>>,
    open: Arc<tokio::sync::watch::Sender<usize>>,
}

static FOLDERS: AtomicU64 = AtomicU64::new(0);

impl FakeEngine {
    /// An engine that runs.
    pub fn start() -> Self {
        let mut engine = Self::absent();
        engine.come_up();
        engine
    }

    /// An engine that is not there yet: not even its socket file.
    pub fn absent() -> Self {
        let unique = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fake-engine-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let open = Arc::new(tokio::sync::watch::Sender::new(0));
        Self { folder, state: Arc::default(), server: None, open }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Settings for it with short periods, for a proxy on the network 10.1.0.0/16.
    pub fn settings(&self) -> DockerSettings {
        DockerSettings {
            host: Some(format!("unix://{}", self.socket().display())),
            request_timeout: Duration::from_millis(300),
            inspect_timeout: Duration::from_millis(150),
            check_every: Duration::from_millis(200),
            settle: Duration::from_millis(100),
            podman_check_every: Duration::from_millis(50),
            retry_first: Duration::from_millis(10),
            retry_max: Duration::from_millis(100),
            own_addresses: Some(vec![OwnAddress { ip: "10.1.255.254".parse().unwrap(), prefix: 16 }]),
            ..DockerSettings::default()
        }
    }

    /// Begins to listen, on a new socket file.
    pub fn come_up(&mut self) {
        // Put in place when it listens already, so that nobody finds a file without a listener.
        let new = self.folder.join("new.sock");
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new).unwrap();
        std::fs::rename(&new, self.socket()).unwrap();
        let state = Arc::clone(&self.state);
        let open = Arc::clone(&self.open);
        self.server = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                state.lock().unwrap().connections += 1;
                let state = Arc::clone(&state);
                let guard = Open::new(&open);
                connections.spawn(async move {
                    let _guard = guard;
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        }));
    }

    /// Ends: every connection is cut, and nobody listens on the socket file, which stays.
    pub async fn go_down(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
        self.state.lock().unwrap().listeners.clear();
    }

    /// Cuts the event streams and nothing else.
    pub fn cut_events(&self) {
        self.state.lock().unwrap().listeners.clear();
    }

    /// Waits until no client is connected.
    pub async fn deserted(&self) {
        self.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Counts a connection for as long as it lives.
struct Open(Arc<tokio::sync::watch::Sender<usize>>);

impl Open {
    fn new(open: &Arc<tokio::sync::watch::Sender<usize>>) -> Self {
        open.send_modify(|count| *count += 1);
        Self(Arc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
