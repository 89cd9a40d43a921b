//! One run of the binary: started with its own environment, its output kept, its cache and descriptors looked at.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::raw_backend::{SOON, nobody, soon};
use super::raw_client::{RawAnswer, RawClient, get};

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
        let urls: Vec<_> = backends.iter().map(|backend| format!("http://{backend}/v1")).collect();
        let mut child = command(by)
            .env("PROXY_BIND", address.ip().to_string())
            .env("PROXY_PORT", address.port().to_string())
            .env("PROXY_BACKENDS", urls.join(","))
            .env("PROXY_DOCKER", "off")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let keepers = vec![keep(child.stdout.take().unwrap(), &output), keep(child.stderr.take().unwrap(), &output)];
        Self { address, child, output, keepers }
    }

    /// Waits until it is ready and knows the model `m`.
    pub async fn until_ready(self) -> Self {
        self.until_200(&["/readyz", "/v1/models/m"]).await
    }

    /// Waits until it answers all these paths with 200.
    pub async fn until_200(mut self, paths: &[&str]) -> Self {
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        while !self.answers_200(paths).await {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && tokio::time::Instant::now() < until, "{ended:?}: {}", self.output());
            self.tick().await;
        }
        self
    }

    async fn answers_200(&self, paths: &[&str]) -> bool {
        if tokio::net::TcpStream::connect(self.address).await.is_err() {
            return false;
        }
        for path in paths {
            if self.ask(get(path)).await.status != 200 {
                return false;
            }
        }
        true
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

    /// Resident cache, in KiB.
    pub fn memory_kib(&self) -> i64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Resident cache when it stands still, in KiB.
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

    /// Waits until at most a quarter of what was taken is still there, and says how much. The allocator gives back within
    /// some 10 s what nobody uses; a busy machine may take longer.
    pub async fn gives_back(&self, before: i64, took: i64) -> i64 {
        const WITHIN: Duration = Duration::from_secs(60);
        let until = std::time::Instant::now() + WITHIN;
        while self.memory_kib() - before > took / 4 {
            let keeps = self.memory_kib() - before;
            assert!(std::time::Instant::now() < until, "it took {took} KiB and keeps {keeps} KiB");
            self.pass(Duration::from_millis(100)).await;
        }
        self.memory_kib() - before
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    /// The names of its threads, as the kernel keeps them: their first 15 characters.
    pub fn thread_names(&self) -> Vec<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok()).collect()
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

/// A command that runs the proxy with an empty environment, started by another program where one is named.
pub fn command(by: &[&str]) -> Command {
    let binary = binary();
    let words: Vec<&str> = by.iter().copied().chain([&*binary]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").kill_on_drop(true);
    command
}

/// The binary that `LW_PROXY_BIN` names, or the one that was built with the tests.
#[allow(clippy::disallowed_methods, reason = "which binary is tested is not a setting of the proxy")]
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
