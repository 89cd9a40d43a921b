//! A Docker engine of a test's own, to be stopped and killed at will: own socket, own data, own bridge.

use engine_tests::{Engine, not_run, wait_for};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for an engine to start: one that was killed first stops what it finds running.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Longest wait for an engine to end: it stops its containers, each within ten seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// How much of the engine's log a failure shows.
const LAST_LINES: usize = 12;

/// An engine that was started. Dropping it ends it, its containers and its bridge.
pub struct SecondEngine {
    folder: PathBuf,
    bridge: String,
    live_restore: bool,
    daemon: Option<Child>,
}

impl SecondEngine {
    /// Starts one; `None`: it cannot be started here, and a line has said so.
    pub async fn start(live_restore: bool) -> Option<(Self, Engine)> {
        let number = std::process::id() % 10_000;
        let folder = std::env::temp_dir().join(format!("lw-engine-{number}"));
        let mut second = Self { folder, bridge: format!("lwt-{number}"), live_restore, daemon: None };
        if let Err(why) = second.prepare(number) {
            not_run(&format!("no second Docker engine can be started here ({why}); it takes root and `ip`"));
            return None;
        }
        match second.launch().await {
            Some(engine) => Some((second, engine)),
            None => {
                not_run(&format!("the second Docker engine did not start; its last words: {}", second.last_words()));
                None
            }
        }
    }

    /// For `DOCKER_HOST`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket())
    }

    fn socket(&self) -> String {
        self.folder.join("engine.sock").display().to_string()
    }

    fn prepare(&self, number: u32) -> Result<(), String> {
        std::fs::create_dir_all(&self.folder).map_err(|why| why.to_string())?;
        let third = u8::try_from(number % 250).unwrap_or(0);
        let address = format!("{}/24", Ipv4Addr::new(10, 213, third, 1));
        for words in [
            &["link", "add", self.bridge.as_str(), "type", "bridge"][..],
            &["addr", "add", &address, "dev", &self.bridge],
            &["link", "set", &self.bridge, "up"],
        ] {
            let done = Command::new("ip").args(words).output().map_err(|why| format!("ip: {why}"))?;
            if !done.status.success() {
                return Err(format!("ip {words:?}: {}", String::from_utf8_lossy(&done.stderr)));
            }
        }
        Ok(())
    }

    /// Starts the daemon again, after its end.
    pub async fn again(&mut self) -> Engine {
        let engine = self.launch().await;
        engine.unwrap_or_else(|| panic!("the second engine did not start again: {}", self.last_words()))
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.lines().skip(log.lines().count().saturating_sub(LAST_LINES)).collect::<Vec<_>>().join("\n")
    }

    /// Starts the daemon and waits until it answers.
    async fn launch(&mut self) -> Option<Engine> {
        let file = |name: &str| self.folder.join(name);
        let _ = std::fs::remove_file(file("pid"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(file("log")).ok()?;
        let mut daemon = Command::new("dockerd");
        // A file of its own: what the machine's says of its engine would contradict this.
        std::fs::write(file("daemon.json"), "{}").ok()?;
        daemon
            .arg("--config-file")
            .arg(file("daemon.json"))
            .args(["-H", &self.url(), "--bridge", &self.bridge, "--iptables=false", "--ip-masq=false"])
            .arg("--data-root")
            .arg(file("data"))
            .arg("--exec-root")
            .arg(file("exec"))
            .arg("--pidfile")
            .arg(file("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if self.live_restore {
            daemon.arg("--live-restore");
        }
        self.daemon = Some(daemon.spawn().ok()?);
        let socket = self.socket();
        let daemon = self.daemon.as_mut()?;
        let started = wait_for(STARTS_WITHIN, async || match Engine::at(&socket).await {
            Some(engine) => Some(Some(engine)),
            None => daemon.try_wait().is_ok_and(|status| status.is_some()).then_some(None),
        });
        started.await.flatten()
    }

    /// SIGTERM, as a service manager restarts it; returns when it has ended.
    pub async fn ends(&mut self) {
        self.signal("TERM");
        self.reap().await;
    }

    /// SIGKILL.
    pub async fn is_killed(&mut self) {
        self.signal("KILL");
        self.reap().await;
    }

    fn signal(&self, signal: &str) {
        if let Some(daemon) = &self.daemon {
            let _ = Command::new("kill").args(["-s", signal, &daemon.id().to_string()]).status();
        }
    }

    async fn reap(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let ended = wait_for(ENDS_WITHIN, async || daemon.try_wait().ok().flatten()).await;
        assert!(ended.is_some(), "the second engine has not ended");
        self.end_containerd();
    }
}

impl SecondEngine {
    /// After a test that failed with live restore: shims name this engine's folder, and containers are their children.
    fn end_what_outlived_it(&self) {
        let folder = self.folder.display().to_string();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let path = process.path();
            let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let pid = process.file_name().to_string_lossy().into_owned();
            if command.starts_with(b"/usr/bin/containerd-shim") && String::from_utf8_lossy(&command).contains(&folder) {
                let children = std::fs::read_to_string(path.join("task").join(&pid).join("children"));
                let children = children.unwrap_or_default();
                let pids = children.split_ascii_whitespace().chain([pid.as_str()]);
                let _ = Command::new("kill").args(["-s", "KILL"]).args(pids).output();
            }
        }
    }

    /// A daemon leaves mounts behind, so that its folder cannot be removed.
    fn unmount(&self) {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours =
            |line: &&str| line.split(' ').nth(1).is_some_and(|path| path.starts_with(&*self.folder.to_string_lossy()));
        for line in mounts.lines().rev().filter(ours) {
            let _ = Command::new("umount").arg("-l").args(line.split(' ').nth(1)).output();
        }
    }

    /// A killed engine's containerd dies with it, but where nobody reaps it a new engine takes it for alive.
    fn end_containerd(&self) {
        let file = self.folder.join("exec/containerd/containerd.pid");
        if let Ok(pid) = std::fs::read_to_string(&file) {
            let _ = Command::new("kill").args(["-s", "KILL", pid.trim()]).output();
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Drop for SecondEngine {
    fn drop(&mut self) {
        // Without its containers first: with live restore they would outlive it.
        let docker = |words: &[&str]| {
            let said = Command::new("docker").args(["-H", &self.url()]).args(words).output();
            said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default()
        };
        if self.daemon.is_some() {
            for id in docker(&["ps", "-aq"]).lines() {
                docker(&["rm", "-f", id]);
            }
        }
        self.signal("TERM");
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
        self.end_what_outlived_it();
        self.unmount();
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
