//! What the requests of a run go through: our policies, sglang-router's, or nothing but a rule of the load.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Chance;
use super::kinds::Conversation;
use super::oracle::Plan;
use crate::client::Client;
use crate::peers::{Peer, free_port, program, set_ours};
use crate::process::Process;
use crate::traffic::{MODELS, ModelStands, request};
use crate::{Asked, Failure};

/// How long a router may take until it routes; sglang-router first loads Python.
const START_MAX: Duration = Duration::from_secs(60);

/// A router that routes knows all of its members after so long.
const FINDS_MEMBERS_WITHIN: Duration = Duration::from_millis(300);

/// A way to choose a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Router {
    /// Each conversation stays with one member, chosen by one who knows all that is to come. No proxy.
    Oracle,
    /// One member after the other. No proxy.
    RoundRobin,
    /// Ours, by `least_requests`.
    LeastRequests,
    /// Ours, by `prefix_affinity`.
    PrefixAffinity,
    /// Three of ours side by side, by `prefix_affinity`; each request goes to one of them by chance.
    Three,
    /// Another build of ours, by `prefix_affinity`.
    Beside,
    /// sglang-router, by `cache_aware`.
    CacheAware,
    /// sglang-router, by `round_robin`.
    SglangRoundRobin,
}

/// All of them, in the order of the tables.
pub const ALL: [Router; 8] = [
    Router::Oracle,
    Router::RoundRobin,
    Router::LeastRequests,
    Router::PrefixAffinity,
    Router::Three,
    Router::Beside,
    Router::CacheAware,
    Router::SglangRoundRobin,
];

/// A router that runs and routes.
pub struct Started {
    /// Which.
    pub router: Router,
    ports: Vec<u16>,
    processes: Vec<Process>,
}

impl Router {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oracle => "oracle",
            Self::RoundRobin => "round robin",
            Self::LeastRequests => "ours, least_requests",
            Self::PrefixAffinity => "ours, prefix_affinity",
            Self::Three => "three of ours, prefix_affinity",
            Self::Beside => "another build, prefix_affinity",
            Self::CacheAware => "sglang-router, cache_aware",
            Self::SglangRoundRobin => "sglang-router, round_robin",
        }
    }

    /// Whether it is sglang-router.
    pub fn is_sglang(self) -> bool {
        matches!(self, Self::CacheAware | Self::SglangRoundRobin)
    }

    fn policy(self) -> &'static str {
        match self {
            Self::LeastRequests => "least_requests",
            Self::CacheAware => "cache_aware",
            Self::Oracle | Self::RoundRobin | Self::SglangRoundRobin => "round_robin",
            Self::PrefixAffinity | Self::Three | Self::Beside => "prefix_affinity",
        }
    }

    /// Starts it on this core; [`Started::wait_until_it_routes`] waits for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(self, asked: &Asked, members: &[u16], core: usize, dir: &Path) -> Result<Started, Failure> {
        let count = match self {
            Self::Oracle | Self::RoundRobin => 0,
            Self::Three => 3,
            _ => 1,
        };
        let mut started = Started { router: self, ports: members.to_vec(), processes: Vec::new() };
        if count > 0 {
            started.ports.clear();
        }
        for at in 0..count {
            let port = free_port()?;
            let log = dir.join(format!("{self:?}-{at}.log"));
            let build = asked.beside.as_ref().filter(|_| self == Self::Beside).unwrap_or(&asked.proxy);
            let process = match self.is_sglang() {
                true => {
                    let sglang = program("sglang-router").ok_or_else(|| Peer::Sglang.how_to_get())?;
                    let metrics = free_port()?;
                    Process::start(&sglang, Some(core), &log, |command| {
                        set_sglang(command, port, metrics, self.policy(), members);
                    })?
                }
                false => Process::start(build, Some(core), &log, |command| {
                    set_ours(command, port, members);
                    command.env("PROXY_REPLICAS", "all").env("PROXY_BALANCE", self.policy());
                })?,
            };
            started.processes.push(process);
            started.ports.push(port);
        }
        Ok(started)
    }
}

impl Started {
    /// Asks until it routes, and gives it the time to find all of its members.
    ///
    /// # Errors
    /// It ended, or never routed.
    pub async fn wait_until_it_routes(&mut self, dir: &Path) -> Result<(), Failure> {
        let begun = Instant::now();
        let ask = request(MODELS[0], ModelStands::First, 50, true);
        for (at, (process, port)) in self.processes.iter_mut().zip(&self.ports).enumerate() {
            while !Client::new(*port).exchange(&ask, |_| true).await.is_ok_and(|answer| answer.status == 200) {
                if begun.elapsed() > START_MAX || !process.runs() {
                    let log = fs::read_to_string(dir.join(format!("{:?}-{at}.log", self.router))).unwrap_or_default();
                    let tail: Vec<&str> = log.lines().rev().take(5).collect();
                    let name = self.router.name();
                    return Err(format!("{name} does not route; its log ends: {}", tail.join(" | ")).into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(FINDS_MEMBERS_WITHIN).await;
        Ok(())
    }

    /// Where each turn of each conversation goes.
    pub fn ports(
        &self,
        plan: &Plan,
        conversations: &[Conversation],
        seed: u64,
    ) -> impl Fn(usize, usize) -> u16 + use<> {
        let (router, ports) = (self.router, self.ports.clone());
        let chosen = plan.members.clone();
        let offsets: Vec<usize> =
            conversations.iter().scan(0, |sum, one| Some(std::mem::replace(sum, *sum + one.turns.len()))).collect();
        let next = Arc::new(AtomicUsize::new(0));
        move |conversation, turn| {
            let at = match router {
                Router::Oracle => chosen.get(conversation).copied().unwrap_or(0),
                Router::RoundRobin => next.fetch_add(1, Ordering::Relaxed) % ports.len(),
                _ => {
                    let place = offsets.get(conversation).map_or(turn, |offset| offset + turn);
                    Chance::new(seed ^ place as u64).below(ports.len())
                }
            };
            ports.get(at).copied().unwrap_or_default()
        }
    }
}

fn set_sglang(command: &mut Command, port: u16, metrics: u16, policy: &str, members: &[u16]) {
    command.args(["launch", "--host", "127.0.0.1", "--port", &port.to_string(), "--policy", policy]);
    command.args(["--log-level", "error", "--prometheus-host", "127.0.0.1", "--prometheus-port", &metrics.to_string()]);
    command.arg("--worker-urls").args(members.iter().map(|port| format!("http://127.0.0.1:{port}")));
}
