//! A second opinion on the corpus: how many requests a backend sees behind nginx and behind HAProxy.
//!
//! `cargo test --test second_opinion -- --ignored --nocapture` prints where they differ from what the corpus expects of
//! this proxy. It judges nothing: servers may differ. It says so where one of the two is not installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use support::corpus_case::Case;
use support::raw_backend::{RawBackend, nobody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How many cases run at the same time, each behind a backend of its own.
const LANES: usize = 8;
/// After which silence a case is over.
const QUIET: Duration = Duration::from_millis(250);

/// Writes the configuration for fronts and backs into a folder; answers the program and its arguments.
type Configure = fn(&Path, &[(SocketAddr, SocketAddr)]) -> (String, Vec<String>);

fn nginx(folder: &Path, lanes: &[(SocketAddr, SocketAddr)]) -> (String, Vec<String>) {
    let servers: String = lanes
        .iter()
        .map(|(front, back)| {
            format!("server {{ listen {front}; location / {{ proxy_pass http://{back}; proxy_http_version 1.1; }} }}\n")
        })
        .collect();
    let at = folder.display();
    let text = format!(
        "daemon off; pid {at}/nginx.pid; error_log {at}/nginx.log; worker_processes 1; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n{servers}}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    ("nginx".into(), vec!["-c".into(), file.display().to_string()])
}

fn haproxy(folder: &Path, lanes: &[(SocketAddr, SocketAddr)]) -> (String, Vec<String>) {
    let mut text = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n".to_owned();
    for (lane, (front, back)) in lanes.iter().enumerate() {
        text.push_str(&format!("listen l{lane}\n bind {front}\n server s {back}\n"));
    }
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    ("haproxy".into(), vec!["-f".into(), file.display().to_string()])
}

fn start((program, arguments): (String, Vec<String>)) -> Option<Child> {
    let paths = "/usr/sbin:/usr/bin:/sbin:/bin";
    let mut command = Command::new(&program);
    command.args(arguments).env("PATH", paths).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().inspect_err(|error| println!("{program} was not run: {error}")).ok()
}

/// How many requests each case made of itself at the backend.
async fn counts(cases: &Arc<Vec<Case>>, configure: Configure) -> Option<Vec<usize>> {
    let mut backends = Vec::new();
    for _ in 0..LANES {
        backends.push(RawBackend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
    }
    let lanes: Vec<_> = backends.iter().map(|backend| (nobody(), backend.address())).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("second-opinion-{}", lanes[0].0.port()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut server = start(configure(&folder, &lanes))?;
    while TcpStream::connect(lanes[0].0).await.is_err() {
        if let Some(status) = server.try_wait().unwrap() {
            println!("the server ended: {status}");
            return None;
        }
        tokio::task::yield_now().await;
    }
    let mut running = tokio::task::JoinSet::new();
    for (lane, backend) in backends.into_iter().enumerate() {
        let (cases, front) = (Arc::clone(cases), lanes[lane].0);
        running.spawn(async move {
            let mut seen = Vec::new();
            for (number, case) in cases.iter().enumerate().skip(lane).step_by(LANES) {
                let before = backend.requests().len();
                let mut stream = TcpStream::connect(front).await.unwrap();
                let _ = stream.write_all(&case.bytes).await;
                let mut bytes = vec![0; 65536];
                while let Ok(Ok(1..)) = tokio::time::timeout(QUIET, stream.read(&mut bytes)).await {}
                seen.push((number, backend.requests().len() - before));
            }
            seen
        });
    }
    let mut all = vec![0; cases.len()];
    while let Some(seen) = running.join_next().await {
        seen.unwrap().into_iter().for_each(|(number, count)| all[number] = count);
    }
    Some(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nginx and HAProxy"]
async fn rule_03_a_second_opinion_on_the_corpus() {
    let cases = Arc::new(Case::all("requests"));
    let opinions = [("nginx", counts(&cases, nginx).await), ("HAProxy", counts(&cases, haproxy).await)];
    for (name, counts) in opinions {
        let Some(counts) = counts else {
            println!("{name}: not run");
            continue;
        };
        let differs = |(case, count): &(&Case, &usize)| !case.allows("backend", &count.to_string());
        let different: Vec<_> = cases.iter().zip(&counts).filter(differs).collect();
        println!("{name}: {} of {} cases as expected of this proxy", cases.len() - different.len(), cases.len());
        for (case, count) in different {
            println!("  {}: {count}, here {}", case.name, case.field("backend").unwrap());
        }
    }
}
