//! The proxies that are compared: how each is set up and started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::process::Process;
use crate::traffic::{MODELS, ModelStands, request};
use crate::{Asked, Failure};

/// How long a proxy may take until it routes; sglang-router first loads Python.
const START_MAX: Duration = Duration::from_secs(60);

/// A proxy, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// This project's.
    Ours,
    /// Another build of it.
    Beside,
    /// nginx: forwards, never looks at the model. What the others are compared with.
    Nginx,
    /// nginx as it comes: it takes the whole body of a request, if need be into a file, before it passes any of it on.
    NginxHolding,
    /// HAProxy: reads the model in the first bytes of the body.
    Haproxy,
    /// sglang-router: parses the body.
    Sglang,
    /// The backend itself: what load and backend cost.
    Direct,
}

/// All of them; the one that is compared with comes first.
pub const ALL: [Peer; 7] =
    [Peer::Nginx, Peer::Ours, Peer::Beside, Peer::NginxHolding, Peer::Haproxy, Peer::Sglang, Peer::Direct];

/// A proxy that runs and routes.
pub struct Running {
    /// Which.
    pub peer: Peer,
    /// Where it listens.
    pub port: u16,
    /// Its process; the backend itself has none of its own.
    pub process: Option<Process>,
}

impl Peer {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "lw-inference-proxy",
            Self::Beside => "another build",
            Self::Nginx => "nginx",
            Self::NginxHolding => "nginx, holding bodies",
            Self::Haproxy => "HAProxy",
            Self::Sglang => "sglang-router",
            Self::Direct => "no proxy",
        }
    }

    /// The version that is installed, or `None` where it is not.
    pub fn version(self, asked: &Asked) -> Option<String> {
        let said = |program: &Path, argument: &str| {
            let out = Command::new(program).arg(argument).output().ok()?;
            Some(format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
        };
        let word = |text: String, at: usize| text.split_whitespace().nth(at).map(str::to_owned);
        match self {
            Self::Direct => Some(String::new()),
            Self::Ours => word(said(&asked.proxy, "--version")?, 1),
            Self::Beside => word(said(asked.beside.as_ref()?, "--version")?, 1),
            Self::Nginx | Self::NginxHolding => {
                word(said(&program("nginx")?, "-v")?, 2).map(|v| v.replace("nginx/", ""))
            }
            Self::Haproxy => word(said(&program("haproxy")?, "-v")?, 2),
            Self::Sglang => {
                let pip = program("sglang-router")?.with_file_name("pip");
                let shown = Command::new(pip).args(["show", "sglang-router"]).output().ok()?;
                let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
                Some(shown.lines().find_map(|line| line.strip_prefix("Version: "))?.to_owned())
            }
        }
    }

    /// How it is to be had where it is missing.
    pub fn how_to_get(self) -> &'static str {
        match self {
            Self::Nginx | Self::NginxHolding => "apt-get install nginx-light",
            Self::Haproxy => "apt-get install haproxy",
            Self::Sglang => "python3 -m venv .cache/bench-venv && .cache/bench-venv/bin/pip install sglang-router",
            Self::Ours | Self::Beside => "make build",
            Self::Direct => "",
        }
    }

    /// Starts it on this core, and waits until it routes.
    ///
    /// # Errors
    /// It cannot be started, or does not route.
    pub async fn start(self, asked: &Asked, backends: [u16; 2], core: usize, dir: &Path) -> Result<Running, Failure> {
        let dir = dir.join(self.name().replace([' ', ','], "-"));
        fs::create_dir_all(&dir)?;
        if self == Self::Direct {
            return Ok(Running { peer: self, port: backends[0], process: None });
        }
        let port = free_port()?;
        let log = dir.join("log");
        let missing = || format!("{} is not installed: {}", self.name(), self.how_to_get());
        let process = match self {
            Self::Ours | Self::Beside => {
                let build = asked.beside.as_deref().filter(|_| self == Self::Beside).unwrap_or(&asked.proxy);
                Process::start(build, Some(core), &log, |command| set_ours(command, port, &backends))?
            }
            Self::Nginx | Self::NginxHolding => {
                let config = dir.join("nginx.conf");
                fs::write(&config, nginx_config(&dir, port, backends, self == Self::NginxHolding))?;
                let nginx = program("nginx").ok_or_else(missing)?;
                Process::start(&nginx, Some(core), &log, |command| {
                    command.arg("-e").arg(dir.join("error.log")).arg("-p").arg(&dir).arg("-c").arg(&config);
                })?
            }
            Self::Haproxy => {
                let config = dir.join("haproxy.cfg");
                fs::write(&config, haproxy_config(port, backends))?;
                let haproxy = program("haproxy").ok_or_else(missing)?;
                Process::start(&haproxy, Some(core), &log, |command| {
                    command.arg("-db").arg("-f").arg(&config);
                })?
            }
            Self::Sglang | Self::Direct => {
                let router = program("sglang-router").ok_or_else(missing)?;
                let metrics = free_port()?;
                Process::start(&router, Some(core), &log, |command| set_sglang(command, port, metrics, backends))?
            }
        };
        let mut running = Running { peer: self, port, process: Some(process) };
        running.wait_until_it_routes(&log).await?;
        Ok(running)
    }
}

impl Running {
    /// Asks until the answer is right.
    ///
    /// # Errors
    /// It ended, or never routed.
    pub async fn wait_until_it_routes(&mut self, log: &Path) -> Result<(), Failure> {
        let begun = Instant::now();
        let asked = MODELS.map(|model| request(model, ModelStands::First, 100, false));
        while begun.elapsed() < START_MAX && self.process.as_mut().is_none_or(Process::runs) {
            let mut right = 0;
            for request in &asked {
                let answered = Client::new(self.port).exchange(request, |_| true).await;
                right += usize::from(answered.is_ok_and(|answer| answer.status == 200));
            }
            if right == asked.len() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let said = fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<&str> = said.lines().rev().take(5).collect();
        Err(format!("{} does not route; it said last: {}", self.peer.name(), tail.join(" | ")).into())
    }
}

/// The settings of our own: two fixed backends, no engine.
pub fn set_ours(command: &mut Command, port: u16, backends: &[u16]) {
    let urls: Vec<_> = backends.iter().map(|port| format!("http://127.0.0.1:{port}/v1")).collect();
    command
        .env("PROXY_BACKENDS", urls.join(","))
        .env("PROXY_DOCKER", "off")
        .env("PROXY_BIND", "127.0.0.1")
        .env("PROXY_PORT", port.to_string())
        .env_remove("RUST_LOG");
}

fn set_sglang(command: &mut Command, port: u16, metrics: u16, backends: [u16; 2]) {
    command.args(["launch", "--host", "127.0.0.1", "--port", &port.to_string(), "--policy", "round_robin"]);
    command.args(["--log-level", "error", "--prometheus-host", "127.0.0.1", "--prometheus-port", &metrics.to_string()]);
    command.arg("--worker-urls").args(backends.map(|port| format!("http://127.0.0.1:{port}")));
}

/// A port that nobody listens on now.
///
/// # Errors
/// The system gives none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Where a program is installed.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = [PathBuf::from(".cache/bench-venv/bin"), PathBuf::from("/usr/sbin")];
    let found = own.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(name)).find(|p| p.is_file())?;
    found.canonicalize().ok().filter(|real| real.file_name() == found.file_name()).or(Some(found))
}

fn nginx_config(dir: &Path, port: u16, backends: [u16; 2], holds_bodies: bool) -> String {
    let dir = dir.display();
    let holding = if holds_bodies { "on" } else { "off" };
    let [first, second] = backends;
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let user = if is_root { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {dir}/nginx.pid;
error_log {dir}/error.log error;
events {{ worker_connections 12000; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  upstream backends {{
    server 127.0.0.1:{first};
    server 127.0.0.1:{second};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://backends;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
      proxy_request_buffering {holding};
      proxy_read_timeout 1h;
    }}
  }}
}}
"
    )
}

fn haproxy_config(port: u16, backends: [u16; 2]) -> String {
    let [first, second] = backends;
    let [one, two] = MODELS;
    format!(
        "global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-request 60s
  timeout http-keep-alive 120s
  option http-buffer-request
  option http-no-delay
  http-reuse always
frontend clients
  bind 127.0.0.1:{port}
  http-request set-var(txn.model) req.body,json_query('$.model')
  use_backend first if {{ var(txn.model) -m str {one} }}
  use_backend second if {{ var(txn.model) -m str {two} }}
backend first
  server s 127.0.0.1:{first} pool-max-conn 256
backend second
  server s 127.0.0.1:{second} pool-max-conn 256
"
    )
}
