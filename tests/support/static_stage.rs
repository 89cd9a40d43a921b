//! Fixed backends without a network: addresses that answer when a test says so.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::backend_url::BackendUrl;
use domain::container::ContainerId;
use domain::labels;
use lw_inference_proxy::adapters::static_backends::{StaticSettings, StaticSource};
use ports::container_source::ContainerSource;
use ports::upstream::{Channel, ListModelsError, ListedModel, Target, UpstreamClient};

use crate::contract::Stage;

/// What is asked for models; by the whole URL, for one address may carry several backends.
#[derive(Default)]
pub struct Answers {
    answers: Mutex<HashMap<String, Result<Vec<ListedModel>, ListModelsError>>>,
    asked: AtomicUsize,
}

impl Answers {
    /// What this backend answers from now on. Without it: refused.
    pub fn set(&self, address: SocketAddr, base_path: &str, answer: Result<Vec<ListedModel>, ListModelsError>) {
        self.answers.lock().unwrap().insert(format!("{address}{base_path}"), answer);
    }

    /// How often anything was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A list of one model.
pub fn a_list() -> Result<Vec<ListedModel>, ListModelsError> {
    Ok(vec![ListedModel { id: "m".into(), object: r#"{"id":"m"}"#.into() }])
}

#[async_trait]
impl UpstreamClient for Answers {
    async fn models(&self, target: &Target) -> Result<Vec<ListedModel>, ListModelsError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let key = format!("{}{}", target.address, target.base_path.as_str());
        self.answers.lock().unwrap().get(&key).cloned().unwrap_or(Err(ListModelsError::ConnectionRefused))
    }

    fn open(&self, _: &Target) -> Arc<dyn Channel> {
        unreachable!("a probe opens no channel")
    }
}

/// Probes as often as a test can wish.
pub fn quick() -> StaticSettings {
    StaticSettings {
        healthy_every: Duration::from_millis(10),
        unhealthy_every: Duration::from_millis(10),
        probe_timeout: Duration::from_secs(5),
        failures_until_unhealthy: 2,
    }
}

/// A list of addresses, some of which answer. The name of a container is its base path.
#[derive(Default)]
pub struct Addresses {
    answers: Arc<Answers>,
    named: Vec<BackendUrl>,
}

impl Addresses {
    fn url(name: &str) -> BackendUrl {
        BackendUrl::parse(&format!("http://127.0.0.1:9000/{name}")).unwrap()
    }
}

impl Stage for Addresses {
    async fn set_up() -> Result<Self, String> {
        Ok(Self::default())
    }

    fn expect(&mut self, name: &str) {
        self.named.push(Self::url(name));
    }

    fn source(&self) -> Arc<dyn ContainerSource> {
        let upstream = Arc::clone(&self.answers) as Arc<dyn UpstreamClient>;
        Arc::new(StaticSource::new(self.named.clone(), upstream, quick()))
    }

    /// Who opts in is who is in the list.
    async fn run(&mut self, name: &str, given: &[(&str, &str)]) -> ContainerId {
        let url = Self::url(name);
        if labels::has_opted_in(|wanted| given.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)) {
            if !self.named.contains(&url) {
                self.named.push(url.clone());
            }
            self.answers.set("127.0.0.1:9000".parse().unwrap(), url.base_path.as_str(), a_list());
        }
        StaticSource::id_of(&url)
    }

    /// What probes holds the way to probe; besides it only the stage and the source do.
    async fn nothing_runs(&mut self) {
        while Arc::strong_count(&self.answers) > 2 {
            tokio::task::yield_now().await;
        }
    }
}
