//! Parses the lines of the engine's event stream.

use std::sync::Arc;

use domain::container::{ContainerId, EngineTime, LifecycleEvent, LostAddresses};
use domain::labels::{self, ENABLE};
use domain::signal::Signal;

use super::api_types::{Actor, Event};
use super::settings::LabelFilter;

/// The actions to subscribe to. Without the list every health probe would be three events. `remove` is Podman's
/// `destroy`.
pub const ACTIONS: [&str; 14] = [
    "start",
    "restart",
    "kill",
    "die",
    "stop",
    "oom",
    "pause",
    "unpause",
    "destroy",
    "remove",
    "rename",
    "health_status",
    "connect",
    "disconnect",
];

/// An event about a container.
#[derive(Debug, PartialEq)]
pub struct EngineEvent {
    pub id: ContainerId,
    /// The time on the engine's clock.
    pub at: EngineTime,
    /// The name, if the labels in the event opt in, or seem to be meant to.
    pub opted_in: Option<Arc<str>>,
    /// The lifecycle event that this implies by itself. For a lost network it has no addresses: the engine names only
    /// the network.
    pub lifecycle: Option<LifecycleEvent>,
    /// Whether the state may have changed, which only an inspection shows.
    pub needs_inspection: bool,
    /// The change of its network, which other containers may share.
    pub network: Network,
}

/// A change of a container's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    Same,
    /// The container joined or left the network of this name.
    Changed(String),
    /// A run began or ended, and its network with it.
    NewRun,
}

/// A parsed line.
#[derive(Debug, PartialEq)]
pub enum Line {
    Event(EngineEvent),
    /// Something of no interest, such as an action outside of [`ACTIONS`].
    Other,
    Unreadable,
}

/// Parses one line without its line break.
pub fn read(line: &[u8]) -> Line {
    // Newer engines may put a record separator before each object.
    let line = line.trim_ascii();
    let line = line.strip_prefix(b"\x1e").unwrap_or(line);
    if line.is_empty() {
        return Line::Other;
    }
    match serde_json::from_slice::<Event>(line) {
        Ok(event) => parse(&event).map_or(Line::Other, Line::Event),
        Err(_) => Line::Unreadable,
    }
}

fn parse(event: &Event) -> Option<EngineEvent> {
    let at = EngineTime(u64::try_from(event.time_nano).unwrap_or(0));
    let attribute = |name: &str| event.actor.attributes.get(name).map(String::as_str);
    match event.r#type.as_str() {
        "container" => of_container(event, at),
        "network" => {
            let id = attribute("container").filter(|id| !id.is_empty())?;
            let lifecycle = match event.action.as_str() {
                "connect" => None,
                "disconnect" => Some(LifecycleEvent::LeftNetwork(LostAddresses::These(Vec::new()))),
                _ => return None,
            };
            let network = Network::Changed(attribute("name").unwrap_or_default().to_owned());
            Some(EngineEvent {
                id: ContainerId::new(id),
                at,
                opted_in: None,
                lifecycle,
                needs_inspection: true,
                network,
            })
        }
        _ => None,
    }
}

fn of_container(event: &Event, at: EngineTime) -> Option<EngineEvent> {
    let Actor { id, attributes } = &event.actor;
    if id.is_empty() {
        return None;
    }
    let attribute = |name: &str| attributes.get(name).map(String::as_str);
    let (action, detail) = event.action.split_once(':').unwrap_or((&event.action, &event.health_status));
    // Attributes hold the labels as well, so each is read only with the action that it belongs to.
    let (lifecycle, needs_inspection) = match action {
        "start" | "restart" | "unpause" => (None, true),
        "health_status" => ((detail.trim() == "unhealthy").then_some(LifecycleEvent::Unhealthy), true),
        "kill" => match attribute("signal").and_then(Signal::parse) {
            Some(signal) => (Some(LifecycleEvent::Signal(signal)), false),
            None => (None, true),
        },
        "die" => {
            (Some(LifecycleEvent::Ended { exit_code: attribute("exitCode").and_then(|code| code.parse().ok()) }), true)
        }
        "stop" => (Some(LifecycleEvent::Ended { exit_code: None }), true),
        // If the container ends with this, that comes up to a third of a second later.
        "oom" => (Some(LifecycleEvent::OutOfMemory), false),
        "pause" => (Some(LifecycleEvent::Paused), true),
        "destroy" | "remove" => (Some(LifecycleEvent::Removed), false),
        "rename" => {
            (attribute("name").map(|name| LifecycleEvent::Renamed(Arc::from(name.trim_start_matches('/')))), true)
        }
        _ => return None,
    };
    let name = || Arc::from(attribute("name").unwrap_or_default().trim_start_matches('/'));
    Some(EngineEvent {
        id: ContainerId::new(id.as_str()),
        at,
        opted_in: labels::may_have_opted_in(attribute).then(name),
        lifecycle,
        needs_inspection,
        network: match action {
            "start" | "restart" | "die" | "stop" | "destroy" | "remove" => Network::NewRun,
            _ => Network::Same,
        },
    })
}

/// Returns the filter of `GET /events`, without labels: network events carry none.
pub fn filter() -> String {
    serde_json::json!({ "type": ["container", "network"], "event": ACTIONS }).to_string()
}

/// Returns the filter of `GET /events` for signals.
pub fn signals_filter() -> String {
    serde_json::json!({ "type": ["container"], "event": ["kill"] }).to_string()
}

/// Returns the filter of `GET /containers/json`. It allows any value of the label, so that a mistaken one can be
/// reported.
pub fn list_filter(only: Option<&LabelFilter>) -> String {
    let mut labels = vec![ENABLE.to_owned()];
    labels.extend(only.map(|only| format!("{}={}", only.key, only.value)));
    serde_json::json!({ "label": labels }).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;
    use serde_json::json;

    fn container(action: &str, extra: &[(&str, &str)]) -> EngineEvent {
        let mut attributes = json!({"name": "c1", "inference.enable": "true"});
        for (name, value) in extra {
            attributes[name] = json!(value);
        }
        let line = json!({"Type": "container", "Action": action, "timeNano": 7, "Actor": {"ID": "a1", "Attributes": attributes}});
        match read(line.to_string().as_bytes()) {
            Line::Event(event) => event,
            other => panic!("{action}: {other:?}"),
        }
    }

    #[test]
    fn each_action_is_an_edge_a_look_or_both() {
        let ended = |exit_code| Some(LifecycleEvent::Ended { exit_code });
        for (action, extra, lifecycle, needs_inspection) in [
            ("start", None, None, true),
            ("restart", None, None, true),
            ("unpause", None, None, true),
            ("health_status: healthy", None, None, true),
            ("health_status: unhealthy", None, Some(LifecycleEvent::Unhealthy), true),
            ("health_status", None, None, true),
            ("kill", Some(("signal", "15")), Some(LifecycleEvent::Signal(Signal::TERM)), false),
            ("kill", None, None, true),
            ("die", Some(("exitCode", "137")), ended(Some(137)), true),
            ("stop", None, ended(None), true),
            ("oom", None, Some(LifecycleEvent::OutOfMemory), false),
            ("pause", None, Some(LifecycleEvent::Paused), true),
            ("destroy", None, Some(LifecycleEvent::Removed), false),
            ("remove", None, Some(LifecycleEvent::Removed), false),
            ("rename", Some(("name", "/c2")), Some(LifecycleEvent::Renamed("c2".into())), true),
        ] {
            let event = container(action, extra.as_slice());
            assert_eq!((event.lifecycle, event.needs_inspection), (lifecycle, needs_inspection), "{action}");
            assert!(event.opted_in.is_some());
            assert_eq!(event.at, EngineTime(7));
        }
    }

    #[test]
    fn a_label_that_is_called_signal_is_no_signal() {
        assert_eq!(container("start", &[("signal", "9"), ("exitCode", "1")]).lifecycle, None);
    }

    #[test]
    fn podman_says_the_health_beside_the_action() {
        let line = br#"{"Type":"container","Action":"health_status","HealthStatus":"unhealthy","Actor":{"ID":"a"}}"#;
        let Line::Event(event) = read(line) else { panic!("unread") };
        assert_eq!(event.lifecycle, Some(LifecycleEvent::Unhealthy));
    }

    #[test]
    fn network_events_are_about_the_container_in_their_attributes() {
        let left = LifecycleEvent::LeftNetwork(LostAddresses::These(Vec::new()));
        for (action, lifecycle) in [("connect", None), ("disconnect", Some(left))] {
            let line = json!({"Type": "network", "Action": action,
                "Actor": {"ID": "net", "Attributes": {"container": "c", "name": "bridge"}}});
            let Line::Event(event) = read(line.to_string().as_bytes()) else { panic!("{action}") };
            assert_eq!((event.id.as_str(), event.lifecycle), ("c", lifecycle));
            assert_eq!(event.network, Network::Changed("bridge".to_owned()));
        }
    }

    #[test]
    fn what_is_unknown_is_passed_over_and_what_is_rubbish_is_named() {
        for line in [
            &br#"{"Type":"galaxy","Action":"spin","Actor":{"ID":"x"}}"#[..],
            br#"{"Type":"container","Action":"exec_create: /mock healthcheck","Actor":{"ID":"x"}}"#,
            br#"{"Type":"container","Action":"die","Actor":{"ID":""}}"#,
            br#"{"Type":null,"Action":null,"Actor":null,"timeNano":null}"#,
            br#"{"Type":"network","Action":"connect","Actor":{"Attributes":null}}"#,
            b"{}",
            b"",
            b" \r",
        ] {
            assert_eq!(read(line), Line::Other, "{}", String::from_utf8_lossy(line));
        }
        for line in [&b"<html>"[..], b"[]x", b"{\"Type\":5}", b"\xff\xfe", b"{\"Type\":"] {
            assert_eq!(read(line), Line::Unreadable, "{}", String::from_utf8_lossy(line));
        }
        assert!(matches!(
            read(b"\x1e{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"x\"}}"),
            Line::Event(_)
        ));
    }
}
