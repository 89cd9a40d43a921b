//! Descriptors: the limit is raised, connections fit into it, and running out of them stops nothing for good.

use std::time::Duration;

use serde_json::Value;

use super::support::proxy_process::ProxyProcess;
use super::support::raw_client::{RawClient, get};
use super::{OK, serving};

#[tokio::test]
async fn rule_26_the_soft_limit_is_raised_and_connections_fit_into_the_hard_one() {
    let backend = serving(|mut peer, _| async move { peer.send(OK).await }).await;
    let proxy = ProxyProcess::start_under(&["prlimit", "--nofile=64:512"], &[backend.address()], &[]).await;
    println!("rule 26: soft limit 64, hard limit 512: now {}", proxy.descriptor_limit());
    assert_eq!(proxy.descriptor_limit(), 512);
    // Nobody asked for more: a line that says how many, and no warning.
    let said = line_with(&proxy, "client connections").expect("it says how many connections fit");
    assert_eq!((&said["level"], &said["at_most"]), (&"INFO".into(), &192.into()), "{said}");
    // (512 - 128) / 2 connections fit; those over it are told so, and descriptors are left for backends.
    let mut clients: Vec<RawClient> = Vec::new();
    let (mut served, mut refused) = (0, 0);
    for _ in 0..300 {
        let mut client = proxy.client().await;
        let _ = client.try_send(get("/v1/x?model=m")).await;
        match client.answer().await.map(|answer| answer.status) {
            Some(200) => served += 1,
            Some(503) => refused += 1,
            other => panic!("{other:?}"),
        }
        clients.push(client);
    }
    println!("rule 26: of 300 connections {served} were served and {refused} were told 503");
    assert_eq!((served, refused), (192, 108));
    drop(clients);
    proxy.until("the connections to close", |proxy| proxy.descriptors() < 100).await;
    assert_eq!(proxy.ask(get("/v1/x?model=m")).await.status, 200);
}

/// The first line of log with this message.
fn line_with(proxy: &ProxyProcess, message: &str) -> Option<Value> {
    let output = proxy.output();
    let mut lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line["message"].as_str().is_some_and(|text| text.contains(message)))
}

#[tokio::test]
async fn rule_26_connections_that_were_asked_for_and_do_not_fit_are_a_warning() {
    let backend = serving(|mut peer, _| async move { peer.send(OK).await }).await;
    for (asked, level, at_most) in [("193", "WARN", 192), ("192", "INFO", 192), ("20", "INFO", 20)] {
        let environment = [("PROXY_MAX_CONNECTIONS", asked)];
        let by = ["prlimit", "--nofile=64:512"];
        let proxy = ProxyProcess::start_under(&by, &[backend.address()], &environment).await;
        let said = line_with(&proxy, "client connections").expect("it says how many connections fit");
        assert_eq!((&said["level"], &said["at_most"]), (&level.into(), &at_most.into()), "{asked}: {said}");
    }
}

#[tokio::test]
async fn rule_26_out_of_descriptors_it_waits_and_recovers() {
    let backend = serving(|mut peer, _| async move { peer.send(OK).await }).await;
    let proxy = ProxyProcess::start(&[backend.address()], &[]).await;
    // Lowered while it runs: no count of connections can foresee that.
    let limit = proxy.descriptors() + 8;
    let pid = proxy.pid().to_string();
    let lowered = std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}")]).status();
    assert!(lowered.unwrap().success());
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(proxy.client().await);
    }
    proxy.until("the warning", |proxy| proxy.output().contains("connections cannot be accepted")).await;
    let before = proxy.ticks();
    let window = Duration::from_secs(1);
    proxy.pass(window).await;
    let used = proxy.ticks() - before;
    let warnings = proxy.output().matches("connections cannot be accepted").count();
    println!("rule 26: out of descriptors: {used}% of a processor, {warnings} line(s) of log");
    assert!(used < 20, "{used} ticks of 10 ms within {window:?}");
    // One each time that it begins: a descriptor that came free in between may begin it anew.
    assert!(warnings <= 5, "{warnings} lines");
    drop(clients);
    let answer = super::support::raw_backend::soon("service", proxy.ask(get("/healthz"))).await;
    assert_eq!(answer.status, 200);
}
