//! Containers as a source shows them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::container::{Addresses, Condition, Container, ContainerId, EngineTime, Reach};
use domain::labels::InferenceLabels;
use domain::signal::Signal;

/// Builds a [`Container`]. Without further words it is healthy, in its first run, at 127.0.0.1:8000 under `/v1`.
#[derive(Debug, Clone)]
pub struct ContainerBuilder(Container);

impl ContainerBuilder {
    /// Begins with a healthy container that has this id and this name.
    pub fn new(id: &str) -> Self {
        Self(Container {
            id: ContainerId::new(id),
            name: Arc::from(id),
            started_at: EngineTime(1),
            condition: Condition::Healthy,
            labels: Ok(InferenceLabels::default()),
            reach: Reach::At(Addresses::from(IpAddr::from([127, 0, 0, 1]))),
            stop_signal: Signal::TERM,
            stop_timeout: Some(Duration::from_secs(10)),
            health_output: None,
            health_check_took: None,
            restarts: 0,
            last_end: None,
            origin: None,
            service: None,
        })
    }

    /// Sets its addresses, the best one first. Without any the builder stays as it is.
    #[must_use]
    pub fn at(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        if let Some(addresses) = Addresses::in_order(addresses) {
            self.0.reach = Reach::At(addresses);
        }
        self
    }

    /// Sets the port of its server.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.0.labels = Ok(InferenceLabels { port, ..InferenceLabels::default() });
        self
    }

    /// Sets what it is doing.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.0.condition = condition;
        self
    }

    /// Sets the start of its run, on the engine's clock.
    #[must_use]
    pub fn run(mut self, started_at: u64) -> Self {
        self.0.started_at = EngineTime(started_at);
        self
    }

    /// Returns the container.
    pub fn build(self) -> Container {
        self.0
    }
}
