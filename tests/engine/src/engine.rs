//! The container engine that the tests run on.

use crate::images;
use crate::run::{self, unique};
use bollard::Docker;
use std::fs::OpenOptions;
use std::io::Write;

/// Longest wait for the head of an answer of an engine that a test started itself: a stop may take its time.
const ENGINE_TIMEOUT_SECONDS: u64 = 60;

/// A reachable engine with the mock's image on it. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
}

impl Engine {
    /// The engine of `DOCKER_HOST` or the default socket; sweeps left-overs and builds the mock's image if need be.
    /// `None`: there is none, and a line has said so. Under `CI=true` that is a failure instead.
    pub async fn reach() -> Option<Self> {
        let at = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "the default socket".into());
        let docker = match Docker::connect_with_defaults() {
            Ok(docker) => docker.negotiate_version().await,
            Err(why) => Err(why),
        };
        match docker {
            Ok(docker) => {
                run::sweep(&docker).await;
                images::ensure_mock_image(&docker).await;
                Some(Self { docker })
            }
            Err(why) => {
                not_run(&format!("no Docker engine reachable at {at} ({why})"));
                None
            }
        }
    }

    /// The engine behind this unix socket, with the mock's image on it; `None` while it does not answer.
    pub async fn at(socket: &str) -> Option<Self> {
        let docker = Docker::connect_with_unix(socket, ENGINE_TIMEOUT_SECONDS, bollard::API_DEFAULT_VERSION).ok()?;
        let docker = docker.negotiate_version().await.ok()?;
        images::ensure_mock_image(&docker).await;
        Some(Self { docker })
    }

    /// The engine's own API, for what this library has no words for. Touch only what is labelled as ours.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// A name that no other test has: the engine is shared, so every test names its models with this.
    pub fn unique(&self, name: &str) -> String {
        unique(name)
    }

    /// Whether an image is there.
    pub async fn has_image(&self, image: &str) -> bool {
        self.docker.inspect_image(image).await.is_ok()
    }
}

/// Says in plain words that the current test was not run; under `CI=true` that is a failure.
///
/// Test runners hide what a passing test says, so the line is also added to the file that `LW_NOT_RUN` names.
pub fn not_run(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "not run: {why}; with CI=true that is a failure");
    let thread = std::thread::current();
    let line = format!("{}: not run: {why}", thread.name().unwrap_or("a test"));
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("LW_NOT_RUN") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
}
