//! One run of the binary: started with its own environment, its output kept, its memory and descriptors looked at.
// Several test files use it, each of them a part.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::support::raw_backend::{SOON, nobody, soon};
use super::support::raw_client::{RawAnswer, RawClient, get};

/// How often a condition outside this process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct ProxyProcess {
    pub address: SocketAddr,
    child: Child,
    output: Arc<Mutex<String>>,
    keepers: Vec<JoinHandle<()>>,
}

impl ProxyProcess {
    /// Starts it before these backends, and waits until it is ready.
    pub async fn start(backends: &[SocketAddr], environment: &[(&str, &str)]) -> Self {
        Self::start_under(&[], backends, environment).await
    }

    /// The same, started by another program, such as `prlimit`.
    pub async fn start_under(by: &[&str], backends: &[SocketAddr], environment: &[(&str, &str)]) -> Self {
        Self::spawn_at(nobody(), by, backends, environment).until_ready().await
    }

    /// Starts it at this address, and waits for nothing.
    pub fn spawn_at(address: SocketAddr, by: &[&str], backends: &[SocketAddr], environment: &[(&str, &str)]) -> Self {
        let binary = binary();
        let words: Vec<&str> = by.iter().copied().chain([&*binary]).collect();
        let urls: Vec<_> = backends.iter().map(|backend| format!("http://{backend}/v1")).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PROXY_BIND", address.ip().to_string())
            .env("PROXY_PORT", address.port().to_string())
            .env("PROXY_BACKENDS", urls.join(","))
            .env("PROXY_DOCKER", "off")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let keepers = vec![keep(child.stdout.take().unwrap(), &output), keep(child.stderr.take().unwrap(), &output)];
        Self { address, child, output, keepers }
    }

    pub async fn until_ready(mut self) -> Self {
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        while !self.is_ready().await {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && tokio::time::Instant::now() < until, "{ended:?}: {}", self.output());
            self.tick().await;
        }
        self
    }

    async fn is_ready(&self) -> bool {
        if tokio::net::TcpStream::connect(self.address).await.is_err() {
            return false;
        }
        let ready = self.ask(get("/readyz")).await.status == 200;
        ready && self.ask(get("/v1/models/m")).await.status == 200
    }

    /// Waits a moment.
    pub async fn tick(&self) {
        self.pass(LOOK_EVERY).await;
    }

    /// Lets time pass in which nothing is expected to happen.
    pub async fn pass(&self, time: Duration) {
        let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
    }

    pub async fn client(&self) -> RawClient {
        RawClient::connect(self.address).await
    }

    pub async fn ask(&self, request: impl AsRef<[u8]>) -> RawAnswer {
        self.client().await.ask(request).await
    }

    /// Waits for something outside this process.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        soon(what, async {
            while !holds(self) {
                self.tick().await;
            }
        })
        .await;
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Waits for its end, and for the last of its output.
    pub async fn ended(&mut self) -> ExitStatus {
        self.ended_within(SOON).await
    }

    /// The same, where it may take longer.
    pub async fn ended_within(&mut self, bound: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(bound, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it runs after {bound:?}: {}", self.output())).unwrap();
        for keeper in self.keepers.drain(..) {
            soon("the end of its output", keeper).await.unwrap();
        }
        status
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap()
    }

    /// Resident memory, in KiB.
    pub fn memory_kib(&self) -> i64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Resident memory when it stands still, in KiB.
    pub async fn settled_kib(&self) -> i64 {
        let mut before = self.memory_kib();
        for _ in 0..50 {
            self.pass(Duration::from_millis(100)).await;
            let now = self.memory_kib();
            if (now - before).abs() < 64 {
                return now;
            }
            before = now;
        }
        before
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Open descriptors when they change no more: connections to backends wait for a next request for 3 s at most.
    pub async fn descriptors_at_rest(&self) -> usize {
        const REST: Duration = Duration::from_secs(4);
        const LONGEST: Duration = Duration::from_secs(60);
        let begun = tokio::time::Instant::now();
        let (mut last, mut since) = (self.descriptors(), begun);
        while since.elapsed() < REST {
            assert!(begun.elapsed() < LONGEST, "{last} descriptors, and still changing");
            self.tick().await;
            let now = self.descriptors();
            if now != last {
                (last, since) = (now, tokio::time::Instant::now());
            }
        }
        last
    }

    /// The soft limit of open descriptors.
    pub fn descriptor_limit(&self) -> u64 {
        let limits = self.proc("limits");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).unwrap().parse().unwrap()
    }

    /// Processor time that it has used, in clock ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let behind_name = stat.rsplit_once(')').unwrap().1;
        let fields: Vec<_> = behind_name.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

/// The binary that `LW_PROXY_BIN` names, or the one that was built with the tests.
#[allow(clippy::disallowed_methods, reason = "which binary is tested is no setting of the proxy")]
fn binary() -> String {
    std::env::var("LW_PROXY_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_lw-inference-proxy").to_owned())
}

fn keep(stream: impl AsyncRead + Unpin + Send + 'static, output: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    })
}
