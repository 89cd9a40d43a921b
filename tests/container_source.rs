//! Every container source keeps the contract of its port: the scripted one, and Docker's against an engine of our own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "contracts/container_source.rs"]
mod contract;
#[path = "support/fake_container_source.rs"]
mod fake_container_source;
#[path = "support/fake_engine/mod.rs"]
mod fake_engine;
#[path = "support/heard.rs"]
mod heard;
#[path = "support/static_stage.rs"]
mod static_stage;

use std::collections::HashMap;
use std::sync::Arc;

use contract::Stage;
use domain::container::{Condition, ContainerId, LifecycleEvent};
use domain::labels;
use domain::signal::Signal;
use fake_container_source::{FakeContainerSource, container};
use fake_engine::FakeEngine;
use lw_inference_proxy::adapters::docker::DockerSource;
use ports::container_source::ContainerSource;

container_source_contract!(scripted, crate::Scripted);
container_source_contract!(docker_with_a_fake_engine, crate::Faked);
container_source_contract!(fixed_backends, crate::static_stage::Addresses, shows [], lacks [
    bad_labels: "not applicable: an address has no labels",
    signals: "not applicable: who only probes sees no signals",
    ends: "not applicable: who only probes sees no ends",
    pauses: "not applicable: who only probes sees no pauses",
    order: "not applicable: who only probes sees neither signals, pauses nor ends",
    removals: "not applicable: the list of addresses does not change",
    absence: "not applicable: there is nothing but the addresses themselves that could be absent",
    losses: "not applicable: there is nothing but the addresses themselves that could be lost",
]);

/// Neither of these needs anything that may be missing.
fn not_run(clause: &str, why: &str) {
    panic!("{clause} not run: {why}");
}

/// The scripted source, which is its own stage.
#[derive(Default)]
struct Scripted {
    source: FakeContainerSource,
    labels: HashMap<String, String>,
}

impl Scripted {
    fn current(&self, id: &ContainerId) -> domain::container::Container {
        let mut container = container(id.as_str());
        let port = self.labels.get(id.as_str()).map(String::as_str);
        container.labels = labels::parse(|name| port.filter(|_| name == labels::PORT));
        container.started_at = self.source.now();
        container
    }
}

impl Stage for Scripted {
    async fn set_up() -> Result<Self, String> {
        Ok(Self::default())
    }

    async fn set_up_absent() -> Self {
        let stage = Self::default();
        stage.source.lose("it is not there");
        stage
    }

    fn source(&self) -> Arc<dyn ContainerSource> {
        Arc::new(self.source.clone())
    }

    async fn run(&mut self, name: &str, given: &[(&str, &str)]) -> ContainerId {
        let get = |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let id = ContainerId::new(name);
        self.labels.insert(name.to_owned(), get(labels::PORT).unwrap_or("8000").to_owned());
        if labels::has_opted_in(get) {
            self.source.put(self.current(&id));
        }
        id
    }

    async fn signal(&mut self, id: &ContainerId, signal: Signal) {
        self.source.edge(id, LifecycleEvent::Signal(signal));
    }

    async fn end(&mut self, id: &ContainerId) {
        self.source.edge(id, LifecycleEvent::Ended { exit_code: Some(0) });
        let mut container = self.current(id);
        container.condition = Condition::NotRunning;
        self.source.put(container);
    }

    async fn start_again(&mut self, id: &ContainerId) {
        self.source.put(self.current(id));
    }

    async fn pause_and_resume(&mut self, id: &ContainerId) {
        self.source.edge(id, LifecycleEvent::Paused);
        self.source.put(self.current(id));
    }

    async fn remove(&mut self, id: &ContainerId) {
        self.source.remove(id);
    }

    async fn lose(&mut self) {
        self.source.lose("it went away");
    }

    async fn find(&mut self) {
        self.source.find();
    }

    async fn nothing_runs(&mut self) {
        assert_eq!(self.source.watchers(), 0);
    }
}

/// Docker's source, with an engine of our own behind it.
struct Faked(FakeEngine);

impl Stage for Faked {
    async fn set_up() -> Result<Self, String> {
        Ok(Self(FakeEngine::start()))
    }

    async fn set_up_absent() -> Self {
        Self(FakeEngine::absent())
    }

    fn source(&self) -> Arc<dyn ContainerSource> {
        Arc::new(DockerSource::new(self.0.settings()).unwrap())
    }

    async fn run(&mut self, name: &str, labels: &[(&str, &str)]) -> ContainerId {
        self.0.run(name, labels, Some("healthy"))
    }

    async fn signal(&mut self, id: &ContainerId, signal: Signal) {
        self.0.event(id, "kill", &[("signal", &signal.0.to_string())]);
    }

    async fn end(&mut self, id: &ContainerId) {
        self.0.die(id, 0);
    }

    async fn start_again(&mut self, id: &ContainerId) {
        self.0.start_again(id);
    }

    async fn pause_and_resume(&mut self, id: &ContainerId) {
        self.0.change(id, |c| c.status = "paused".to_owned());
        self.0.event(id, "pause", &[]);
        self.0.change(id, |c| c.status = "running".to_owned());
        self.0.event(id, "unpause", &[]);
    }

    async fn remove(&mut self, id: &ContainerId) {
        self.0.die(id, 137);
        self.0.remove(id);
    }

    async fn lose(&mut self) {
        self.0.go_down().await;
    }

    async fn find(&mut self) {
        self.0.come_up();
    }

    async fn nothing_runs(&mut self) {
        self.0.deserted().await;
    }
}
