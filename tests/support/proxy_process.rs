//! The proxy as a process of its own, with backends that it is told of.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Longest wait for the proxy to do something.
const SOON: Duration = Duration::from_secs(20);

pub struct ProxyProcess {
    pub address: SocketAddr,
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
    keeper: JoinHandle<()>,
}

/// A command that runs the proxy with nothing but these variables.
pub fn command(env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lw-inference-proxy"));
    command.env_clear().envs(env.iter().copied()).kill_on_drop(true);
    command
}

impl ProxyProcess {
    /// Starts it in front of these backends, and waits until it is ready.
    pub async fn start(backends: &[SocketAddr], env: &[(&str, &str)]) -> Self {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let urls: Vec<_> = backends.iter().map(|backend| format!("http://{backend}/v1")).collect();
        let mut process = command(env)
            .env("PROXY_DOCKER", "off")
            .env("PROXY_BACKENDS", urls.join(","))
            .env("PROXY_BIND", "127.0.0.1")
            .env("PROXY_PORT", address.port().to_string())
            .env("RUST_LOG", "lw_inference_proxy=debug")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        let keeper = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        let proxy = Self { address, process, log, keeper };
        let ready = async {
            while proxy.get("/readyz").await.is_none_or(|answer| !answer.contains(" 200 ")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let came = tokio::time::timeout(SOON, ready).await;
        assert!(came.is_ok(), "the proxy is not ready; its log: {:#?}", proxy.log());
        proxy
    }

    /// The lines of log until now.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line that is wanted.
    pub async fn logged(&self, wanted: impl Fn(&str) -> bool) -> String {
        let found = async {
            loop {
                if let Some(line) = self.log().into_iter().find(|line| wanted(line)) {
                    return line;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(SOON, found).await {
            Ok(line) => line,
            Err(_) => panic!("no such line in {:#?}", self.log()),
        }
    }

    /// The names of its threads, as the kernel keeps them: their first 15 characters.
    pub fn thread_names(&self) -> Vec<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id().unwrap())).unwrap();
        threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok()).collect()
    }

    async fn get(&self, path: &str) -> Option<String> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut socket = TcpStream::connect(self.address).await.ok()?;
        socket.write_all(head.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Sends a request and gives the connection.
    pub async fn send(&self, path: &str, headers: &str, body: &str) -> TcpStream {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        socket
    }

    /// Sends a request and reads its whole answer.
    pub async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let mut socket = self.send(path, headers, body).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, socket.read_to_end(&mut answer)).await;
        let _ = read.expect("an answer in time");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends it a signal to stop.
    pub fn tell_to_stop(&self) {
        let pid = self.process.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for its end, and for the last of its log.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = async {
            let status = self.process.wait().await.unwrap();
            (&mut self.keeper).await.unwrap();
            status
        };
        tokio::time::timeout(SOON, ended).await.expect("it ends")
    }

    /// Tells it to stop and waits for its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.tell_to_stop();
        self.ended().await
    }
}
