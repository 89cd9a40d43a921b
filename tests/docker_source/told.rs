//! What engines tell, and in which order.

use std::net::IpAddr;
use std::time::Duration;

use domain::container::{Condition, ContainerEvent, LifecycleEvent, LostAddresses, Reach};
use domain::signal::Signal;
use lw_inference_proxy::adapters::docker::DockerSettings;
use ports::container_source::ContainerSource;

use super::fake_engine::FakeEngine;
use super::heard::Heard;
use super::{OPTED_IN, source, watch, with_one};

fn at(ip: &str) -> Reach {
    Reach::At(ip.parse::<IpAddr>().unwrap().into())
}

fn left(ips: &[&str]) -> LifecycleEvent {
    LifecycleEvent::LeftNetwork(LostAddresses::These(ips.iter().map(|ip| ip.parse().unwrap()).collect()))
}

#[tokio::test]
async fn a_stop_on_docker_20_is_told_from_the_kill_on() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.event(&id, "kill", &[("signal", "15")]);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Signal(Signal::TERM));
    engine.die(&id, 0);
    engine.network_event(&id, "disconnect");
    engine.event(&id, "stop", &[]);
    heard.until_edge(&id).await;
    heard.until_edge(&id).await;
    heard.until_edge(&id).await;
    heard.until_condition(&id, Condition::NotRunning).await;
    let edges: Vec<_> = heard.story(&id).into_iter().filter(|word| word != "NotRunning").collect();
    let expected = [
        "Signal(Signal(15))",
        "Ended { exit_code: Some(0) }",
        "LeftNetwork(These([10.1.0.2]))",
        "Ended { exit_code: None }",
    ];
    assert_eq!(edges, expected);
}

#[tokio::test]
async fn a_stop_on_docker_28_is_told_from_the_kill_on() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.event(&id, "kill", &[("signal", "3")]);
    engine.network_event(&id, "disconnect");
    engine.change(&id, |c| {
        c.status = "exited".to_owned();
        c.running = false;
    });
    engine.event(&id, "stop", &[]);
    engine.event(&id, "die", &[("exitCode", "137"), ("execDuration", "4")]);
    heard.until_condition(&id, Condition::NotRunning).await;
    let edges: Vec<_> = heard.story(&id).into_iter().filter(|word| word != "NotRunning").collect();
    let expected = [
        "Signal(Signal(3))",
        "LeftNetwork(These([10.1.0.2]))",
        "Ended { exit_code: None }",
        "Ended { exit_code: Some(137) }",
    ];
    assert_eq!(edges, expected);
}

#[tokio::test]
async fn a_stop_on_podman_is_seen_in_the_list_before_it_is_over() {
    let engine = FakeEngine::start();
    engine.be_podman();
    let id = engine.add("llm", OPTED_IN, Some("healthy"));
    let settings = DockerSettings { check_every: Duration::from_secs(3600), ..engine.settings() };
    let mut heard = Heard::new(source(settings).watch());
    heard.snapshot().await;
    engine.change(&id, |c| c.status = "stopping".to_owned());
    heard.until_condition(&id, Condition::Stopping).await;
    engine.die(&id, 0);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Ended { exit_code: Some(0) });
    engine.take_away(&id);
    engine.event(&id, "remove", OPTED_IN);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::Removed);
}

#[tokio::test]
async fn a_kill_without_a_signal_is_looked_into() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    engine.change(&id, |c| c.status = "stopping".to_owned());
    engine.event(&id, "kill", &[]);
    assert_eq!(heard.until_observed(&id).await.condition, Condition::Stopping);
}

#[tokio::test]
async fn a_podman_restart_that_begins_with_restart_ends_up_running() {
    let engine = FakeEngine::start();
    engine.be_podman();
    let (mut heard, id) = with_one(&engine).await;
    engine.event(&id, "restart", &[]);
    engine.die(&id, 0);
    engine.event(&id, "init", &[]);
    engine.start_again(&id);
    heard.until(|event| matches!(event, ContainerEvent::Lifecycle { event: LifecycleEvent::Ended { .. }, .. })).await;
    heard.until_condition(&id, Condition::Healthy).await;
}

#[tokio::test]
async fn the_probes_of_podman_are_no_storm() {
    let engine = FakeEngine::start();
    engine.be_podman();
    let (mut heard, id) = with_one(&engine).await;
    engine.inspects_take(Duration::from_millis(20));
    let before = engine.inspects_of(&id);
    for _ in 0..500 {
        engine.event(&id, "health_status", &[]);
    }
    let marker = engine.run("marker", OPTED_IN, None);
    heard.until_observed(&marker).await;
    assert!(engine.inspects_of(&id) - before <= 10, "{}", engine.inspects_of(&id) - before);
}

#[tokio::test]
async fn every_way_to_leave_service_is_told_without_a_look() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    // No look is answered any more: what comes now comes from the events alone.
    let _held = engine.hold_inspects(&id);
    for (action, attributes, edge) in [
        ("kill", &[("signal", "9")][..], LifecycleEvent::Signal(Signal::KILL)),
        ("oom", &[], LifecycleEvent::OutOfMemory),
        ("pause", &[], LifecycleEvent::Paused),
        ("health_status: unhealthy", &[], LifecycleEvent::Unhealthy),
        ("rename", &[("name", "new"), ("oldName", "/llm")], LifecycleEvent::Renamed("new".into())),
        ("die", &[("exitCode", "137")], LifecycleEvent::Ended { exit_code: Some(137) }),
        ("stop", &[], LifecycleEvent::Ended { exit_code: None }),
        ("destroy", &[], LifecycleEvent::Removed),
    ] {
        engine.event(&id, action, attributes);
        let ContainerEvent::Lifecycle { event: told, .. } = heard.next().await else {
            panic!("{action}: {:?}", heard.all)
        };
        assert_eq!(told, edge, "{action}");
    }
}

#[tokio::test]
async fn a_network_that_is_left_and_joined_changes_the_address() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let mut ip = String::new();
    engine.change(&id, |c| ip = std::mem::take(&mut c.ip));
    engine.network_event(&id, "disconnect");
    assert_eq!(heard.until_edge(&id).await, left(&[&ip]));
    assert!(matches!(heard.until_observed(&id).await.reach, Reach::Nowhere(_)));
    engine.change(&id, |c| c.ip = "10.1.7.7".to_owned());
    engine.network_event(&id, "connect");
    let at = at("10.1.7.7");
    heard.until(|event| matches!(event, ContainerEvent::Inspected(c) if c.reach == at)).await;
}

#[tokio::test]
async fn a_container_that_uses_anothers_network_is_reached_there_until_that_one_restarts() {
    let engine = FakeEngine::start();
    let owner = engine.add("vpn", &[], None);
    let id = engine.add("llm", OPTED_IN, Some("healthy"));
    engine.change(&owner, |c| c.ip = "10.1.9.9".to_owned());
    engine.change(&id, |c| {
        c.network_mode = format!("container:{}", owner.as_str());
        c.ip = String::new();
    });
    let mut heard = watch(&engine);
    assert_eq!(heard.snapshot().await[&id].reach, at("10.1.9.9"));
    engine.die(&owner, 0);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::LeftNetwork(LostAddresses::All));
    engine.start_again(&owner);
    let lost = heard
        .until(|e| matches!(e, ContainerEvent::Inspected(c) if matches!(&c.reach, Reach::Nowhere(why) if why.to_string().contains("restart"))))
        .await;
    assert!(matches!(lost, ContainerEvent::Inspected(c) if c.id == id));
}

#[tokio::test]
async fn a_dead_network_neighbour_leaves_no_address() {
    let engine = FakeEngine::start();
    let id = engine.add("llm", OPTED_IN, None);
    engine.change(&id, |c| c.network_mode = format!("container:{}", "f".repeat(64)));
    let mut heard = watch(&engine);
    let Reach::Nowhere(why) = heard.snapshot().await[&id].reach.clone() else { panic!("reached") };
    assert!(why.to_string().contains("which is gone"), "{why}");
}

#[tokio::test]
async fn who_uses_anothers_network_is_looked_at_when_that_one_joins_or_leaves_networks() {
    let engine = FakeEngine::start();
    let owner = engine.add("vpn", &[], None);
    let id = engine.add("llm", OPTED_IN, Some("healthy"));
    engine.change(&owner, |c| c.ip = "10.1.9.9".to_owned());
    engine.change(&id, |c| {
        c.network_mode = format!("container:{}", owner.as_str());
        c.ip = String::new();
    });
    let settings = DockerSettings { check_every: Duration::from_secs(3600), ..engine.settings() };
    let mut heard = Heard::new(source(settings).watch());
    assert_eq!(heard.snapshot().await[&id].reach, at("10.1.9.9"));
    engine.change(&owner, |c| c.ip = String::new());
    engine.network_event(&owner, "disconnect");
    assert_eq!(heard.until_edge(&id).await, left(&["10.1.9.9"]));
    assert!(matches!(heard.until_observed(&id).await.reach, Reach::Nowhere(_)));
    engine.change(&owner, |c| c.ip = "10.1.8.8".to_owned());
    engine.network_event(&owner, "connect");
    let at = at("10.1.8.8");
    heard.until(|event| matches!(event, ContainerEvent::Inspected(c) if c.id == id && c.reach == at)).await;
}

#[tokio::test]
async fn a_container_that_was_killed_for_memory_is_not_looked_at_before_its_end_can_come() {
    let engine = FakeEngine::start();
    let (mut heard, id) = with_one(&engine).await;
    let looks = engine.inspects_of(&id);
    engine.event(&id, "oom", &[]);
    assert_eq!(heard.until_edge(&id).await, LifecycleEvent::OutOfMemory);
    heard.silent_for(Duration::from_millis(310)).await.expect("its end may be so late");
    engine.die(&id, 137);
    heard.until_condition(&id, Condition::NotRunning).await;
    assert_eq!(heard.story(&id), ["OutOfMemory", "Ended { exit_code: Some(137) }", "NotRunning"]);
    assert!(engine.inspects_of(&id) > looks);
}
