//! A container in the words of the engine's API.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::FakeContainer;

/// As an item of the list.
pub(super) fn summary(c: &FakeContainer) -> Value {
    let health = c.health.as_ref().filter(|_| c.running).map(|h| match h.as_str() {
        "starting" => " (health: starting)".to_owned(),
        other => format!(" ({other})"),
    });
    let status = match c.running {
        true => format!("Up {} seconds{}", c.started_at % 60, health.unwrap_or_default()),
        false => "Exited (0) 3 seconds ago".to_owned(),
    };
    json!({"Id": c.id, "Names": [format!("/{}", c.name)], "State": c.status, "Status": status, "Labels": c.labels,
        "NetworkSettings": {"Networks": networks(c)}})
}

/// As a look at it alone.
pub(super) fn inspected(c: &FakeContainer) -> Value {
    let seconds = c.started_at / 1_000_000_000;
    let started = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    let mut state = json!({"Status": c.status, "Running": c.running, "Paused": c.status == "paused",
        "Restarting": c.status == "restarting", "StartedAt": rfc3339(&started, c.started_at % 1_000_000_000)});
    if let Some(health) = &c.health {
        state["Health"] = json!({"Status": health, "FailingStreak": 0, "Log": [{"Output": "fine\n"}]});
    }
    json!({"Id": c.id, "Name": format!("/{}", c.name), "State": state,
        "Config": {"Labels": c.labels, "StopSignal": c.stop_signal, "StopTimeout": c.stop_timeout, "Env": ["SECRET=canary"]},
        "HostConfig": {"NetworkMode": c.network_mode, "RestartPolicy": {"Name": "a-policy-of-the-future"}},
        "NetworkSettings": {"Networks": networks(c)}})
}

fn networks(c: &FakeContainer) -> Value {
    let end = |ip: &str, gateway: &str| json!({"IPAddress": ip, "IPPrefixLen": 16, "Gateway": gateway});
    let mut networks = json!({c.network.clone(): end(&c.ip, &c.gateway)});
    for (name, ip, gateway) in &c.more_networks {
        networks[name] = end(ip, gateway);
    }
    networks
}

/// `Sun, 22 Nov 2026 13:20:15 GMT` and nanoseconds, as `2026-11-22T13:20:15.000000007Z`.
fn rfc3339(http_date: &str, nanos: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<_> = http_date.split(' ').collect();
    let month = MONTHS.iter().position(|month| *month == words[2]).unwrap() + 1;
    format!("{}-{month:02}-{}T{}.{nanos:09}Z", words[3], words[1], words[4])
}
