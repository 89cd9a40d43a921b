//! A builder of mock backends in containers.

use crate::bare;
use crate::container::{Hold, MockContainer};
use crate::engine::Engine;
use crate::images::MOCK_IMAGE;
use crate::network::TestNetwork;
use crate::run;
use bollard::models::{HostConfig, RestartPolicy, RestartPolicyNameEnum};
use std::collections::HashMap;
use std::time::Duration;
use testcontainers::core::Healthcheck;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

/// What a container should be like. It serves nobody until [`Mock::start`].
#[derive(Clone)]
pub struct Mock {
    pub(crate) image: String,
    pub(crate) name: String,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) command: Vec<String>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) stop_timeout: Option<Duration>,
    pub(crate) no_healthcheck: bool,
    pub(crate) health_every: Option<Duration>,
    restart: Option<RestartPolicyNameEnum>,
    network: Option<String>,
    memory: Option<i64>,
    auto_remove: bool,
}

impl Mock {
    pub(crate) const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
    pub(crate) const HEALTH_RETRIES: u32 = 2;

    /// A mock that is labelled for the proxy and serves these models. Its name is `name` made unique.
    pub fn serving(name: &str, models: &[&str]) -> Self {
        Self::of_image(MOCK_IMAGE, name).env("MODELS", models.join(","))
    }

    /// Another image (such as [`crate::LLAMA_IMAGE`]), labelled for the proxy.
    pub fn of_image(image: &str, name: &str) -> Self {
        let name = run::unique(name);
        let mock = Self {
            image: image.to_owned(),
            name: name.clone(),
            labels: run::labels(),
            env: Vec::new(),
            command: Vec::new(),
            stop_signal: None,
            stop_timeout: None,
            no_healthcheck: false,
            health_every: None,
            restart: None,
            network: None,
            memory: None,
            auto_remove: false,
        };
        mock.label("inference.enable", "true").env("NAME", name)
    }

    /// Sets or overrides a label, such as `inference.port`.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes a label away, such as `inference.enable`.
    pub fn without_label(mut self, name: &str) -> Self {
        self.labels.remove(name);
        self
    }

    /// Sets a variable of the mock; see `tests/README.md` for those it knows.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Exactly this name, not made unique: for a container that takes the place of another.
    pub fn exact_name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self.env("NAME", name)
    }

    /// Arguments for the image's entry point, such as `sleep 60`.
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The signal that a stop sends (`SIGQUIT`); the mock is told to take it for a stop signal.
    pub fn stop_signal(mut self, signal: &str) -> Self {
        self.stop_signal = Some(signal.to_owned());
        self.env("EXTRA_SIG", signal)
    }

    /// How long a stop waits before it kills; whole seconds.
    pub fn stop_timeout(mut self, wait: Duration) -> Self {
        self.stop_timeout = Some(wait);
        self
    }

    /// Restart policy `always`.
    pub fn restart_always(mut self) -> Self {
        self.restart = Some(RestartPolicyNameEnum::ALWAYS);
        self
    }

    /// Restart policy `on-failure`.
    pub fn restart_on_failure(mut self) -> Self {
        self.restart = Some(RestartPolicyNameEnum::ON_FAILURE);
        self
    }

    /// On this network only, not on the default bridge.
    pub fn network(self, network: &TestNetwork) -> Self {
        self.network_mode(network.name())
    }

    /// A network mode by name: `host`, `none`, `container:<id>`.
    pub fn network_mode(mut self, mode: &str) -> Self {
        self.network = Some(mode.to_owned());
        self
    }

    /// Memory limit in bytes, without swap; for `/admin/oom`.
    pub fn memory(mut self, bytes: i64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// As `docker run --rm`; give it a stop timeout, too.
    pub fn auto_remove(mut self) -> Self {
        self.auto_remove = true;
        self
    }

    /// As if the image had no `HEALTHCHECK`.
    pub fn no_healthcheck(mut self) -> Self {
        self.no_healthcheck = true;
        self
    }

    /// Another interval than the image's 500 ms; two failures make it unhealthy.
    pub fn health_every(mut self, interval: Duration) -> Self {
        self.health_every = Some(interval);
        self
    }

    /// Creates and starts the container; it is removed when the value is dropped.
    pub async fn start(self, engine: &Engine) -> MockContainer {
        let hold = if self.stop_signal.is_some() || self.stop_timeout.is_some() {
            Hold::Bare(bare::start(engine, &self).await)
        } else {
            Hold::Testcontainers(Box::new(self.start_by_testcontainers().await))
        };
        let port = self.port();
        MockContainer::new(engine, hold, self.name, port)
    }

    /// As [`Mock::start`], then waits until the engine says healthy.
    pub async fn start_healthy(self, engine: &Engine) -> MockContainer {
        let container = self.start(engine).await;
        container.until_healthy().await;
        container
    }

    async fn start_by_testcontainers(&self) -> ContainerAsync<GenericImage> {
        let (image, tag) = self.image.split_once(':').unwrap_or((&self.image, "latest"));
        let host_config = self.host_config();
        let mut request = GenericImage::new(image, tag)
            .with_container_name(&self.name)
            .with_labels(self.labels.clone())
            .with_cmd(self.command.clone())
            .with_host_config_modifier(move |config| *config = host_config.clone());
        for (name, value) in &self.env {
            request = request.with_env_var(name, value);
        }
        if self.no_healthcheck {
            request = request.with_health_check(Healthcheck::none());
        } else if let Some(interval) = self.health_every {
            let command = self.health_command();
            let check = Healthcheck::cmd(command.iter().skip(1))
                .with_interval(interval)
                .with_timeout(Self::HEALTH_TIMEOUT)
                .with_retries(Self::HEALTH_RETRIES);
            request = request.with_health_check(check);
        }
        let started = request.start().await;
        started.unwrap_or_else(|why| panic!("starting {}: {why}", self.name))
    }

    /// No port is published: the proxy must find its way by the container's own address.
    pub(crate) fn host_config(&self) -> HostConfig {
        HostConfig {
            network_mode: self.network.clone(),
            memory: self.memory,
            memory_swap: self.memory,
            auto_remove: Some(self.auto_remove),
            restart_policy: self.restart.map(|name| RestartPolicy { name: Some(name), maximum_retry_count: None }),
            ..HostConfig::default()
        }
    }

    pub(crate) fn health_command(&self) -> Vec<String> {
        ["CMD", "/mock", "healthcheck"].map(str::to_owned).to_vec()
    }

    fn port(&self) -> u16 {
        let label = self.labels.get("inference.port").and_then(|port| port.parse().ok());
        let env = self.env.iter().find(|(name, _)| name == "PORT");
        env.and_then(|(_, port)| port.parse().ok()).or(label).unwrap_or(8000)
    }
}
