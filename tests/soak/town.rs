//! The containers, and what becomes of them: they come and go, turn ill, crash, are renamed, list other models, and the
//! engine itself goes away and comes back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::container::ContainerId;
use serde_json::Value;

use super::fake_engine::FakeEngine;
use super::server::Server;
use super::support::raw_backend::Signal;
use super::support::raw_client::{RawClient, get};

/// The longest wait for the proxy to see what happened to a container.
const NOTICED: Duration = Duration::from_secs(15);
/// How long things stay as they are between two acts.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the engine stays away, a container ill, or crashed.
const AWAY: Duration = Duration::from_millis(300);

/// One container with its server.
struct Tenant {
    id: ContainerId,
    name: String,
    server: Server,
}

pub struct Town {
    engine: FakeEngine,
    /// Two that serve one model: one of them is always there.
    twins: Vec<Tenant>,
    ill: Tenant,
    crashing: Tenant,
    renamed: Tenant,
    changing: Tenant,
    /// Names are never used twice.
    serial: usize,
    /// What was done until now.
    pub acts: usize,
}

impl Town {
    pub async fn build() -> Self {
        let engine = FakeEngine::start();
        let mut serial = 0;
        let mut tenant = async |models: &[&str]| {
            serial += 1;
            settle(&engine, serial, models).await
        };
        let twins = vec![tenant(&["twin"]).await, tenant(&["twin"]).await];
        let (ill, crashing) = (tenant(&["ill"]).await, tenant(&["crashing"]).await);
        let (renamed, changing) = (tenant(&["renamed"]).await, tenant(&["kept", "even"]).await);
        Self { engine, twins, ill, crashing, renamed, changing, serial, acts: 0 }
    }

    pub fn socket(&self) -> PathBuf {
        self.engine.socket()
    }

    /// Goes on until `over`, and then until everybody is in service again.
    pub async fn live(mut self, proxy: SocketAddr, over: Signal) -> Self {
        while !over.is_given() {
            match self.acts % 8 {
                0 | 4 => self.replace_a_twin(proxy).await,
                1 => self.fall_ill(proxy).await,
                2 => self.crash(proxy).await,
                3 => self.rename(proxy).await,
                5 => self.change_models(proxy).await,
                6 => self.lose_the_engine().await,
                _ => self.engine.cut_events(),
            }
            self.acts += 1;
            tokio::time::sleep(PAUSE).await;
        }
        self.all_serve(proxy).await;
        self
    }

    pub async fn all_serve(&self, proxy: SocketAddr) {
        for tenant in self.twins.iter().chain([&self.ill, &self.crashing, &self.renamed, &self.changing]) {
            serves(proxy, &tenant.name).await;
        }
    }

    /// As a rolling restart does: told to stop, drained, gone, another one in its place. In turn the one that has the
    /// requests, which is the last that came, and the one behind it.
    async fn replace_a_twin(&mut self, proxy: SocketAddr) {
        let mut old = self.twins.remove(usize::from(self.acts.is_multiple_of(8)));
        self.engine.event(&old.id, "kill", &[("signal", "15")]);
        until(proxy, "nothing in flight at what was told to stop", |status| {
            container(status, &old.name).is_none_or(|line| !in_service(line) && line["in_flight"] == 0)
        })
        .await;
        old.server.crash().await;
        self.engine.die(&old.id, 0);
        self.engine.remove(&old.id);
        self.serial += 1;
        self.twins.push(settle(&self.engine, self.serial, &["twin"]).await);
        serves(proxy, &self.twins[1].name).await;
    }

    async fn fall_ill(&mut self, proxy: SocketAddr) {
        self.engine.health(&self.ill.id, "unhealthy");
        let name = &self.ill.name;
        until(proxy, "an ill container out of service", |status| {
            container(status, name).is_none_or(|line| !in_service(line))
        })
        .await;
        tokio::time::sleep(AWAY).await;
        self.engine.health(&self.ill.id, "healthy");
        serves(proxy, &self.ill.name).await;
    }

    /// Ends without a word; nobody serves the model for a while.
    async fn crash(&mut self, proxy: SocketAddr) {
        self.serial += 1;
        self.crashing.server.crash().await;
        self.engine.die(&self.crashing.id, 137);
        tokio::time::sleep(AWAY).await;
        self.engine.remove(&self.crashing.id);
        self.crashing = settle(&self.engine, self.serial, &["crashing"]).await;
        serves(proxy, &self.crashing.name).await;
    }

    async fn rename(&mut self, proxy: SocketAddr) {
        self.serial += 1;
        self.renamed.name = format!("tenant-{}", self.serial);
        let name = self.renamed.name.clone();
        self.engine.change(&self.renamed.id, |container| container.name.clone_from(&name));
        self.engine.event(&self.renamed.id, "rename", &[("name", &name)]);
        serves(proxy, &name).await;
    }

    async fn change_models(&mut self, proxy: SocketAddr) {
        let other = if (self.acts / 8).is_multiple_of(2) { "odd" } else { "even" };
        self.changing.server.list(&["kept", other]);
        until(proxy, "the other models", |status| {
            let models = status["models"].as_array().into_iter().flatten();
            models.filter(|line| line["model"] == other || line["model"] == "kept").count() == 2
        })
        .await;
    }

    async fn lose_the_engine(&mut self) {
        self.engine.go_down().await;
        tokio::time::sleep(AWAY).await;
        self.engine.come_up();
    }
}

/// A new container on the host's network, healthy at once.
async fn settle(engine: &FakeEngine, serial: usize, models: &[&str]) -> Tenant {
    let server = Server::start(models).await;
    let name = format!("tenant-{serial}");
    let id = engine.run_here(&name, server.address().port());
    Tenant { id, name, server }
}

/// Waits until the container of this name is in service.
async fn serves(proxy: SocketAddr, name: &str) {
    let what = format!("{name} in service");
    until(proxy, &what, |status| container(status, name).is_some_and(in_service)).await;
}

fn container<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["containers"].as_array()?.iter().find(|line| line["name"] == name)
}

/// With requests, or behind another one of the same model.
fn in_service(line: &Value) -> bool {
    line["state"] == "ready" || line["state"] == "displaced"
}

async fn until(proxy: SocketAddr, what: &str, holds: impl Fn(&Value) -> bool) {
    let mut last = Value::Null;
    let seen = async {
        loop {
            last = status(proxy).await;
            if holds(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let came = tokio::time::timeout(NOTICED, seen).await;
    assert!(came.is_ok(), "waited {NOTICED:?} for {what}: {last:#}");
}

/// What the proxy says of itself.
pub async fn status(proxy: SocketAddr) -> Value {
    RawClient::connect(proxy).await.ask(get("/status")).await.json()
}
