//! Containers with what testcontainers cannot ask for: a stop signal and a stop timeout of their own.

use crate::engine::Engine;
use crate::mock::Mock;
use bollard::models::{ContainerCreateBody, HealthConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use std::time::Duration;

/// Removes its container when dropped.
pub struct BareContainer {
    engine: Engine,
    pub id: String,
}

/// Creates and starts the container.
pub async fn start(engine: &Engine, mock: &Mock) -> BareContainer {
    let body = ContainerCreateBody {
        image: Some(mock.image.clone()),
        labels: Some(mock.labels.clone()),
        env: Some(mock.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        cmd: (!mock.command.is_empty()).then(|| mock.command.clone()),
        stop_signal: mock.stop_signal.clone(),
        stop_timeout: mock.stop_timeout.map(|wait| wait.as_secs() as i64),
        healthcheck: health(mock),
        host_config: Some(mock.host_config()),
        ..ContainerCreateBody::default()
    };
    start_body(engine, &mock.name, body).await
}

/// Creates and starts a container of any kind.
pub async fn start_body(engine: &Engine, name: &str, body: ContainerCreateBody) -> BareContainer {
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let made = engine.docker().create_container(Some(options), body).await;
    let id = made.unwrap_or_else(|why| panic!("creating {name}: {why}")).id;
    let container = BareContainer { engine: engine.clone(), id };
    let started = engine.docker().start_container(&container.id, None).await;
    started.unwrap_or_else(|why| panic!("starting {name}: {why}"));
    container
}

fn health(mock: &Mock) -> Option<HealthConfig> {
    let nanos = |wait: Duration| Some(wait.as_nanos() as i64);
    if mock.no_healthcheck {
        return Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() });
    }
    mock.health_every.map(|interval| HealthConfig {
        test: Some(mock.health_command()),
        interval: nanos(interval),
        timeout: nanos(Mock::HEALTH_TIMEOUT),
        retries: Some(i64::from(Mock::HEALTH_RETRIES)),
        ..HealthConfig::default()
    })
}

impl Drop for BareContainer {
    fn drop(&mut self) {
        let (docker, id) = (self.engine.docker().clone(), self.id.clone());
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                let _ = runtime.block_on(docker.remove_container(&id, Some(force)));
            }
        });
        let _ = removed.join();
    }
}
