//! What the tests on a real container engine share: the engine, mock backends, the proxy as a process, bounded waits.
//!
//! These are tests: a step that fails panics with what was tried and what came instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bare;
mod container;
mod engine;
mod http;
mod images;
mod mock;
mod network;
/// nginx, configured as the example shows.
#[path = "../../support/nginx.rs"]
pub mod nginx;
mod proxy;
mod python;
mod run;
mod tools;
mod wait;

pub use bollard;
pub use container::{MockContainer, Stats};
pub use engine::{Engine, not_run};
pub use http::{Answer, client};
pub use images::{LLAMA_IMAGE, MOCK_IMAGE, PROXY_IMAGE, build_proxy_image};
pub use mock::Mock;
pub use network::TestNetwork;
pub use proxy::{ProxyBuilder, ProxyProcess};
pub use python::pytest;
pub use run::{LABEL, run_id};
pub use tools::{repository, venv_python};
pub use wait::{BOUND, POLL, until, wait_for};

/// The engine, or the end of this test: with words that say it was not run, or, under `CI=true`, as a failure.
#[macro_export]
macro_rules! require_engine {
    () => {
        match $crate::Engine::reach().await {
            Some(engine) => engine,
            None => return,
        }
    };
}
