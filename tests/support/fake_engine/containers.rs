//! The containers of the engine: what happens to them, silently or with its events.

use std::collections::BTreeMap;

use domain::container::ContainerId;
use serde_json::json;

use super::FakeEngine;

/// One of its containers.
#[derive(Debug, Clone)]
pub struct FakeContainer {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub status: String,
    pub running: bool,
    pub health: Option<String>,
    pub started_at: u64,
    pub ip: String,
    pub network: String,
    pub network_mode: String,
    pub stop_signal: String,
    pub gateway: String,
    pub stop_timeout: Option<i64>,
    /// Networks beside `network`: name, address, gateway.
    pub more_networks: Vec<(String, String, String)>,
}

impl FakeEngine {
    /// A time on its clock, later than every one before.
    pub fn now(&self) -> u64 {
        self.state.lock().unwrap().tick()
    }

    /// Adds a container that runs, silently.
    pub fn add(&self, name: &str, labels: &[(&str, &str)], health: Option<&str>) -> ContainerId {
        let mut state = self.state.lock().unwrap();
        state.serial += 1;
        let serial = state.serial;
        let started_at = state.tick();
        let container = FakeContainer {
            id: format!("{serial:064x}"),
            name: name.to_owned(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            status: "running".to_owned(),
            running: true,
            health: health.map(str::to_owned),
            started_at,
            ip: format!("10.1.{}.{}", serial / 250, serial % 250 + 1),
            network: "net".to_owned(),
            network_mode: "net".to_owned(),
            stop_signal: String::new(),
            gateway: "10.1.0.1".to_owned(),
            stop_timeout: None,
            more_networks: Vec::new(),
        };
        let id = ContainerId::new(container.id.as_str());
        state.containers.insert(container.id.clone(), container);
        id
    }

    /// Changes a container, silently.
    pub fn change(&self, id: &ContainerId, change: impl FnOnce(&mut FakeContainer)) {
        change(self.state.lock().unwrap().containers.get_mut(id.as_str()).expect("the container exists"));
    }

    /// Takes a container away, silently.
    pub fn take_away(&self, id: &ContainerId) -> FakeContainer {
        self.state.lock().unwrap().containers.remove(id.as_str()).expect("the container exists")
    }

    /// Sends an event about a container, at the engine's present time.
    pub fn event(&self, id: &ContainerId, action: &str, attributes: &[(&str, &str)]) -> u64 {
        let at = self.now();
        self.event_at(at, id, action, attributes);
        at
    }

    /// Sends an event with a time of its own.
    pub fn event_at(&self, at: u64, id: &ContainerId, action: &str, attributes: &[(&str, &str)]) {
        let mut state = self.state.lock().unwrap();
        let container = state.containers.get(id.as_str());
        let mut all: BTreeMap<String, String> = container.map(|c| c.labels.clone()).unwrap_or_default();
        all.insert("name".to_owned(), container.map(|c| c.name.clone()).unwrap_or_default());
        all.extend(attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        state.send(
            at,
            json!({"Type": "container", "Action": action, "Actor": {"ID": id.as_str(), "Attributes": all}, "scope": "local"}),
        );
    }

    pub fn network_event(&self, id: &ContainerId, action: &str) {
        let mut state = self.state.lock().unwrap();
        let at = state.tick();
        let attributes = json!({"container": id.as_str(), "name": "net", "type": "bridge"});
        state.send(at, json!({"Type": "network", "Action": action, "Actor": {"ID": "n1", "Attributes": attributes}}));
    }

    /// `docker rename`.
    pub fn rename(&self, id: &ContainerId, name: &str) {
        self.change(id, |c| c.name = name.to_owned());
        self.event(id, "rename", &[("name", name), ("oldName", "/before")]);
    }

    /// Sends any line.
    pub fn line(&self, line: &str) {
        self.state.lock().unwrap().send_line(0, line);
    }

    /// `docker run`: created, started, and healthy at once where it has a health check.
    pub fn run(&self, name: &str, labels: &[(&str, &str)], health: Option<&str>) -> ContainerId {
        let id = self.add(name, labels, health);
        self.event(&id, "start", &[]);
        if let Some(health) = health.filter(|health| *health != "starting") {
            self.event(&id, &format!("health_status: {health}"), &[]);
        }
        id
    }

    /// `docker run --network host` of a server that listens on this port of the machine.
    pub fn run_here(&self, name: &str, port: u16) -> ContainerId {
        let port = port.to_string();
        let id = self.add(name, &[("inference.enable", "true"), ("inference.port", &*port)], Some("healthy"));
        self.change(&id, |container| {
            container.network_mode = "host".to_owned();
            container.gateway = own_address().unwrap_or_else(|| container.gateway.clone());
        });
        self.event(&id, "start", &[]);
        self.event(&id, "health_status: healthy", &[]);
        id
    }

    /// The process ends and says so: the state first, then the event.
    pub fn die(&self, id: &ContainerId, exit_code: i64) {
        self.change(id, |c| {
            c.status = "exited".to_owned();
            c.running = false;
            c.health = c.health.as_ref().map(|_| "unhealthy".to_owned());
            c.ip = String::new();
        });
        self.event(id, "die", &[("exitCode", &exit_code.to_string())]);
    }

    /// A stopped container starts again, on another address.
    pub fn start_again(&self, id: &ContainerId) {
        let at = self.now();
        self.change(id, |c| {
            c.status = "running".to_owned();
            c.running = true;
            c.health = c.health.as_ref().map(|_| "healthy".to_owned());
            c.ip = format!("10.1.200.{}", at % 250 + 1);
            c.started_at = at;
        });
        self.event(id, "start", &[]);
    }

    /// `docker rm`.
    pub fn remove(&self, id: &ContainerId) {
        let labels = self.take_away(id).labels;
        let labels: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        self.event(id, "destroy", &labels);
    }

    pub fn health_of(&self, id: &ContainerId) -> String {
        self.state.lock().unwrap().containers[id.as_str()].health.clone().unwrap_or_default()
    }

    pub fn health(&self, id: &ContainerId, health: &str) {
        self.change(id, |c| c.health = Some(health.to_owned()));
        self.event(id, &format!("health_status: {health}"), &[]);
    }
}

/// One of this machine's addresses: as the gateway of a container's network it tells the proxy that it is on the host.
fn own_address() -> Option<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let own = interfaces.iter().map(if_addrs::Interface::ip).find(|ip| ip.is_ipv4() && !ip.is_loopback());
    own.map(|ip| ip.to_string())
}
