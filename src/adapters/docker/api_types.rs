//! The engine's responses, as far as they are read.
//!
//! bollard's own structures refuse a whole response for one unknown word, and engines differ. Here a missing or `null`
//! field is its default, and words stay strings.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default.
fn lenient<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A line of `GET /events`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Event {
    #[serde(deserialize_with = "lenient")]
    pub r#type: String,
    #[serde(deserialize_with = "lenient")]
    pub action: String,
    #[serde(deserialize_with = "lenient")]
    pub actor: Actor,
    #[serde(rename = "timeNano", deserialize_with = "lenient")]
    pub time_nano: i64,
    /// The health on Podman.
    #[serde(deserialize_with = "lenient")]
    pub health_status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Actor {
    #[serde(rename = "ID", deserialize_with = "lenient")]
    pub id: String,
    #[serde(rename = "Attributes", deserialize_with = "lenient")]
    pub attributes: BTreeMap<String, String>,
}

/// An entry of `GET /containers/json`, invalid without an id.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    pub id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub names: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub state: String,
    #[serde(default, deserialize_with = "lenient")]
    pub status: String,
    #[serde(default, deserialize_with = "lenient")]
    pub network_settings: NetworkSettings,
    /// Absent if a socket proxy leaves the labels out.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// `GET /containers/{id}/json`, invalid without an id or a state.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    pub id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    pub state: State,
    #[serde(default, deserialize_with = "lenient")]
    pub restart_count: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub config: Config,
    #[serde(default, deserialize_with = "lenient")]
    pub host_config: HostConfig,
    #[serde(default, deserialize_with = "lenient")]
    pub network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct State {
    #[serde(deserialize_with = "lenient")]
    pub status: String,
    #[serde(deserialize_with = "lenient")]
    pub running: bool,
    #[serde(deserialize_with = "lenient")]
    pub paused: bool,
    #[serde(deserialize_with = "lenient")]
    pub restarting: bool,
    #[serde(deserialize_with = "lenient")]
    pub dead: bool,
    #[serde(deserialize_with = "lenient")]
    pub started_at: String,
    #[serde(deserialize_with = "lenient")]
    pub exit_code: i64,
    #[serde(rename = "OOMKilled", deserialize_with = "lenient")]
    pub oom_killed: bool,
    /// Old Podman calls it `Healthcheck`.
    #[serde(alias = "Healthcheck", deserialize_with = "lenient")]
    pub health: Health,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    #[serde(deserialize_with = "lenient")]
    pub status: String,
    #[serde(deserialize_with = "lenient")]
    pub log: Vec<HealthRun>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthRun {
    #[serde(deserialize_with = "lenient")]
    pub start: String,
    #[serde(deserialize_with = "lenient")]
    pub end: String,
    #[serde(deserialize_with = "lenient")]
    pub output: String,
}

/// The configuration of a container, without its environment: that may hold secrets.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    #[serde(deserialize_with = "lenient")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "stop_signal")]
    pub stop_signal: String,
    #[serde(deserialize_with = "lenient")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub healthcheck: HealthTest,
}

/// The definition of the health check.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthTest {
    #[serde(deserialize_with = "lenient")]
    pub test: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    #[serde(deserialize_with = "lenient")]
    pub network_mode: String,
}

/// The networks of a container, by name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkSettings {
    #[serde(deserialize_with = "endpoints")]
    pub networks: BTreeMap<String, Endpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    #[serde(rename = "IPAddress", deserialize_with = "lenient")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen", deserialize_with = "lenient")]
    pub ip_prefix_len: i64,
    #[serde(rename = "Gateway", deserialize_with = "lenient")]
    pub gateway: String,
    #[serde(rename = "GlobalIPv6Address", deserialize_with = "lenient")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen", deserialize_with = "lenient")]
    pub global_ipv6_prefix_len: i64,
    #[serde(rename = "IPv6Gateway", deserialize_with = "lenient")]
    pub ipv6_gateway: String,
}

/// `GET /version`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Version {
    #[serde(deserialize_with = "lenient")]
    pub version: String,
    #[serde(deserialize_with = "lenient")]
    pub api_version: String,
    #[serde(deserialize_with = "lenient")]
    pub components: Vec<Component>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Component {
    #[serde(deserialize_with = "lenient")]
    pub name: String,
}

fn endpoints<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Endpoint>, D::Error> {
    let networks: Option<BTreeMap<String, Option<Endpoint>>> = Option::deserialize(from)?;
    Ok(networks.unwrap_or_default().into_iter().map(|(name, end)| (name, end.unwrap_or_default())).collect())
}

/// Reads a name, or the number that old Podman writes.
fn stop_signal<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Name(String),
        Number(i64),
    }
    Ok(match Option::<Written>::deserialize(from)? {
        Some(Written::Name(name)) => name,
        Some(Written::Number(number)) => number.to_string(),
        None => String::new(),
    })
}
