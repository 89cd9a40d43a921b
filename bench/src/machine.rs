//! The machine: its cores, who gets which, and how it is described beside numbers.

use std::fs;
use std::process::Command;

use crate::Failure;

/// Which core the proxies get; the bench with load and backends gets all others.
pub struct Cores {
    /// The core of the proxies.
    pub proxy: usize,
    /// How many there are.
    pub count: usize,
}

/// Keeps this process away from the core of the proxies. Called before there are threads.
///
/// # Errors
/// There is only one core, or no `taskset`.
pub fn pin() -> Result<Cores, Failure> {
    let count = std::thread::available_parallelism()?.get();
    let Some(proxy) = count.checked_sub(1).filter(|last| *last > 0) else {
        return Err("the bench needs two cores: one for the proxy, one for load and backend".into());
    };
    let own = std::process::id().to_string();
    let others = format!("0-{}", proxy - 1);
    let pinned = Command::new("taskset").args(["-pc", &others, &own]).output();
    match pinned {
        Ok(out) if out.status.success() => Ok(Cores { proxy, count }),
        _ => Err("taskset cannot pin the bench to its cores; it is in the package util-linux".into()),
    }
}

/// The processor, its cores, the memory and the kernel, in one line.
pub fn description(cores: usize) -> String {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches([':', ' ', '\t']).trim().to_owned()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory_kb: f64 =
        field("/proc/meminfo", "MemTotal").split(' ').next().and_then(|kb| kb.parse().ok()).unwrap_or(0.0);
    format!(
        "{}, {cores} cores, {:.0} GB, Linux {}",
        field("/proc/cpuinfo", "model name"),
        memory_kb / 1e6,
        kernel.trim()
    )
}

/// How many processes wait for a core now, on average over the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|one| one.parse().ok()).unwrap_or(0.0)
}
