//! A bridge network of a test's own.

use crate::engine::Engine;
use crate::run::{labels, unique};
use bollard::models::NetworkCreateRequest;

/// A labelled bridge network. Remove it with [`TestNetwork::remove`]; else a later sweep does.
pub struct TestNetwork {
    engine: Engine,
    name: String,
}

impl TestNetwork {
    /// Makes a network with a unique name.
    pub async fn create(engine: &Engine, name: &str) -> Self {
        let name = unique(name);
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".into()),
            labels: Some(labels()),
            ..NetworkCreateRequest::default()
        };
        engine.docker().create_network(request).await.unwrap_or_else(|why| panic!("creating network {name}: {why}"));
        Self { engine: engine.clone(), name }
    }

    /// Its name on the engine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes it; its containers must have left.
    pub async fn remove(self) {
        let done = self.engine.docker().remove_network(&self.name).await;
        done.unwrap_or_else(|why| panic!("removing network {}: {why}", self.name));
    }
}
