//! A container that was started: what it says, what it has counted, and what can be done to it.

use crate::bare::{self, BareContainer};
use crate::engine::Engine;
use crate::http::{Answer, client};
use crate::run;
use crate::wait::{BOUND, until};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HealthStatusEnum, NetworkConnectRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
    RestartContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::StreamExt;
use testcontainers::{ContainerAsync, GenericImage};

/// What keeps the container, and removes it when dropped.
pub enum Hold {
    /// Made by testcontainers, which removes it too.
    Testcontainers(Box<ContainerAsync<GenericImage>>),
    /// Made through the engine's own API.
    Bare(BareContainer),
}

/// What a mock has counted since its process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Requests of the API, model lists included.
    pub requests: u64,
    /// Answers that were written to their end.
    pub finished: u64,
    /// Answers whose client left first, or that were cut as asked.
    pub aborted: u64,
    /// Answers that are being written.
    pub in_flight: u64,
    /// Connections accepted.
    pub connections: u64,
}

/// A container that was started. Dropping it removes it.
pub struct MockContainer {
    engine: Engine,
    id: String,
    name: String,
    port: u16,
    _hold: Hold,
}

impl MockContainer {
    pub(crate) fn new(engine: &Engine, hold: Hold, name: String, port: u16) -> Self {
        let id = match &hold {
            Hold::Bare(container) => container.id.clone(),
            Hold::Testcontainers(container) => container.id().to_owned(),
        };
        Self { engine: engine.clone(), id, name, port, _hold: hold }
    }

    /// Starts a container of any kind, labelled as ours, whose server listens on `port`. `name` is made unique.
    pub async fn of(engine: &Engine, name: &str, port: u16, body: ContainerCreateBody) -> Self {
        let name = run::unique(name);
        let body = ContainerCreateBody { labels: Some(run::labels()), ..body };
        let hold = Hold::Bare(bare::start_body(engine, &name, body).await);
        Self::new(engine, hold, name, port)
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name when it was made; the header `x-mock-name` of its answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the engine says of it now.
    pub async fn inspect(&self) -> ContainerInspectResponse {
        let said = self.engine.docker().inspect_container(&self.id, None).await;
        said.unwrap_or_else(|why| panic!("inspecting {}: {why}", self.name))
    }

    /// Its health, as the engine reports it.
    pub async fn health(&self) -> Option<HealthStatusEnum> {
        self.inspect().await.state?.health?.status
    }

    /// Waits until the engine reports this health.
    pub async fn until_health(&self, wanted: HealthStatusEnum) {
        until(&format!("{} is {wanted}", self.name), BOUND, async || {
            (self.health().await == Some(wanted)).then_some(())
        })
        .await;
    }

    /// Waits until the engine reports `healthy`.
    pub async fn until_healthy(&self) {
        self.until_health(HealthStatusEnum::HEALTHY).await;
    }

    /// Waits until it no longer runs; returns the exit code.
    pub async fn until_exited(&self) -> i64 {
        until(&format!("{} has exited", self.name), BOUND, async || {
            let state = self.inspect().await.state?;
            (state.running == Some(false)).then_some(state.exit_code.unwrap_or(-1))
        })
        .await
    }

    /// When its process was started, as the engine writes it; empty when it never was.
    pub async fn started_at(&self) -> String {
        let state = self.inspect().await.state;
        state.and_then(|state| state.started_at).unwrap_or_default()
    }

    /// Waits until its process has been started once more, for a container with a restart policy.
    pub async fn until_started_again(&self, before: &str) {
        until(&format!("{} is started again", self.name), BOUND, async || {
            let state = self.inspect().await.state?;
            let again = state.started_at.is_some_and(|at| at != before);
            (again && state.pid.is_some_and(|pid| pid > 0)).then_some(())
        })
        .await;
    }

    /// `host:port` of the server inside, on the first network that gives it an address; 127.0.0.1 on the host's.
    pub async fn authority(&self) -> String {
        let settings = self.inspect().await.network_settings;
        let networks = settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address =
            networks.values().filter_map(|endpoint| endpoint.ip_address.clone()).find(|address| !address.is_empty());
        format!("{}:{}", address.unwrap_or_else(|| "127.0.0.1".into()), self.port)
    }

    /// Asks the server directly, past the proxy; such as `/admin/crash?code=3`, after which no answer may come.
    pub async fn get(&self, path_and_query: &str) -> reqwest::Result<Answer> {
        let url = format!("http://{}{path_and_query}", self.authority().await);
        Answer::of(client().get(url).send().await?).await
    }

    /// What it has counted.
    pub async fn stats(&self) -> Stats {
        self.try_stats().await.unwrap_or_else(|why| panic!("stats of {}: {why}", self.name))
    }

    async fn try_stats(&self) -> reqwest::Result<Stats> {
        let said = self.get("/stats").await?.json();
        let count = |name: &str| said[name].as_u64().unwrap_or_else(|| panic!("{name} in {said}"));
        Ok(Stats {
            requests: count("requests"),
            finished: count("finished"),
            aborted: count("aborted"),
            in_flight: count("in_flight"),
            connections: count("connections"),
        })
    }

    /// Waits until what it has counted satisfies `enough`. Its server may still have to begin.
    pub async fn until_stats(&self, what: &str, enough: impl Fn(Stats) -> bool) -> Stats {
        until(&format!("{}: {what}", self.name), BOUND, async || {
            self.try_stats().await.ok().filter(|stats| enough(*stats))
        })
        .await
    }

    /// What it has written to its output so far.
    pub async fn logs(&self) -> String {
        let all = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
        let mut lines = std::pin::pin!(self.engine.docker().logs(&self.id, Some(all)));
        let mut text = String::new();
        while let Some(Ok(line)) = lines.next().await {
            text.push_str(&line.to_string());
        }
        text
    }

    /// `docker stop`: returns when it has stopped. `timeout`: instead of the container's own, in seconds.
    pub async fn stop(&self, timeout: Option<i32>) {
        let options = StopContainerOptionsBuilder::new();
        let options = timeout.map(|seconds| options.clone().t(seconds)).unwrap_or(options);
        let done = self.engine.docker().stop_container(&self.id, Some(options.build())).await;
        self.done("stopping", done);
    }

    /// `docker kill -s SIGNAL`.
    pub async fn kill(&self, signal: &str) {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let done = self.engine.docker().kill_container(&self.id, Some(options)).await;
        self.done("killing", done);
    }

    /// `docker start`, after a stop.
    pub async fn start(&self) {
        let done = self.engine.docker().start_container(&self.id, None).await;
        self.done("starting", done);
    }

    /// `docker restart`.
    pub async fn restart(&self) {
        let options = RestartContainerOptionsBuilder::new().build();
        let done = self.engine.docker().restart_container(&self.id, Some(options)).await;
        self.done("restarting", done);
    }

    /// `docker pause`.
    pub async fn pause(&self) {
        let done = self.engine.docker().pause_container(&self.id).await;
        self.done("pausing", done);
    }

    /// `docker unpause`.
    pub async fn unpause(&self) {
        let done = self.engine.docker().unpause_container(&self.id).await;
        self.done("unpausing", done);
    }

    /// `docker rename`; returns the new name, made unique.
    pub async fn rename(&self, name: &str) -> String {
        let name = run::unique(name);
        let options = RenameContainerOptionsBuilder::new().name(&name).build();
        let done = self.engine.docker().rename_container(&self.id, options).await;
        self.done("renaming", done);
        name
    }

    /// `docker network connect`.
    pub async fn connect(&self, network: &str) {
        let request = NetworkConnectRequest { container: self.id.clone(), ..NetworkConnectRequest::default() };
        let done = self.engine.docker().connect_network(network, request).await;
        self.done("connecting", done);
    }

    /// `docker network disconnect`; the default network is `bridge`.
    pub async fn disconnect(&self, network: &str) {
        let request = NetworkDisconnectRequest { container: self.id.clone(), force: Some(true) };
        let done = self.engine.docker().disconnect_network(network, request).await;
        self.done("disconnecting", done);
    }

    /// `docker rm -f`.
    pub async fn remove(&self) {
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let done = self.engine.docker().remove_container(&self.id, Some(force)).await;
        self.done("removing", done);
    }

    fn done(&self, what: &str, done: Result<(), bollard::errors::Error>) {
        done.unwrap_or_else(|why| panic!("{what} {}: {why}", self.name));
    }
}
