//! The proxy as these tests run it: it logs all, and a request has a connection of its own, which is read to its end.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::proxy_process::ProxyProcess;
use super::support::raw_backend::nobody;

/// Longest wait for the proxy to do something.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Proxy(ProxyProcess);

impl Proxy {
    /// Starts it in front of these backends, and waits until it is ready. No request of it is one that telemetry tells of.
    pub async fn start(backends: &[SocketAddr], env: &[(&str, &str)]) -> Self {
        let env = [env, &[("RUST_LOG", "lw_inference_proxy=debug")]].concat();
        Self(ProxyProcess::spawn_at(nobody(), &[], backends, &env).until_200(&["/readyz"]).await)
    }

    /// The lines of log until now.
    pub fn log(&self) -> Vec<String> {
        self.0.output().lines().map(str::to_owned).collect()
    }

    /// Waits for a line that is wanted.
    pub async fn logged(&self, wanted: impl Fn(&str) -> bool) -> String {
        let found = async {
            loop {
                if let Some(line) = self.log().into_iter().find(|line| wanted(line)) {
                    return line;
                }
                self.0.tick().await;
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(line) => line,
            Err(_) => panic!("no such line in {:#?}", self.log()),
        }
    }

    /// The names of its threads, as the kernel keeps them: their first 15 characters.
    pub fn thread_names(&self) -> Vec<String> {
        self.0.thread_names()
    }

    /// Sends a request and gives the connection.
    pub async fn send(&self, path: &str, headers: &str, body: &str) -> TcpStream {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        let mut socket = TcpStream::connect(self.0.address).await.unwrap();
        socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        socket
    }

    /// Sends a request and reads its whole answer.
    pub async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let mut socket = self.send(path, headers, body).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
        let _ = read.expect("an answer in time");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends it a signal to stop.
    pub fn tell_to_stop(&self) {
        self.0.signal("TERM");
    }

    /// Waits for its end, and for the last of its log.
    pub async fn ended(&mut self) -> ExitStatus {
        self.0.ended_within(PATIENCE).await
    }

    /// Tells it to stop and waits for its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.tell_to_stop();
        self.ended().await
    }
}
