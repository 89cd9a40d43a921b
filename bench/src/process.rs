//! A process under measurement: started on one core, read from `/proc`, ended with the bench.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// How long a process may take to end after it was asked to.
const END_MAX: Duration = Duration::from_secs(20);

/// A running process with its children.
pub struct Process {
    child: Child,
    /// The one that is measured: the child, or what it started.
    measured: u32,
}

impl Process {
    /// Starts it, on this core if one is named; what it prints goes to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Path, core: Option<usize>, log: &Path, set: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let mut command = match core {
            None => Command::new(program),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
        };
        set(&mut command);
        let log = fs::File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let measured = child.id();
        Ok(Self { child, measured })
    }

    /// Measures the first child of what was started: strace runs what it looks at as its child.
    ///
    /// # Errors
    /// It has none.
    pub fn measure_child(&mut self) -> Result<(), Failure> {
        self.measured = *children(self.child.id()).first().ok_or("it has not started anything")?;
        Ok(())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The processor time that it and its children have used, in microseconds. The kernel counts in ticks.
    pub fn cpu_micros(&self) -> f64 {
        tree(self.measured).into_iter().map(ticks).sum::<u64>() as f64 * 1e6 / ticks_per_second()
    }

    /// What it and its children hold in memory, in kB.
    pub fn resident_kb(&self) -> u64 {
        tree(self.measured).into_iter().map(|pid| status_kb(pid, "VmRSS:")).sum()
    }

    /// The most that it and its children have held since [`Process::forget_peak`], in kB.
    pub fn peak_kb(&self) -> u64 {
        tree(self.measured).into_iter().map(|pid| status_kb(pid, "VmHWM:")).sum()
    }

    /// The peak begins anew.
    pub fn forget_peak(&self) {
        for pid in tree(self.measured) {
            // Not allowed to everybody; then the peak is that of the whole life, which is said to be more than it is.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// It does not end; then it was killed.
    pub fn end(&mut self) -> Result<(), Failure> {
        let _ = Command::new("kill").args(["-TERM", &self.measured.to_string()]).status();
        let begun = Instant::now();
        while begun.elapsed() < END_MAX {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        Err(format!("process {} did not end within {} s of SIGTERM", self.measured, END_MAX.as_secs()).into())
    }

    fn kill(&mut self) {
        for pid in tree(self.child.id()).into_iter().skip(1) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            self.kill();
        }
    }
}

/// A process and everything below it.
fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(pid) = found.get(at).copied() {
        found.extend(children(pid));
        at += 1;
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.filter_map(Result::ok).filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// User and system time of all threads, those that have ended included.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    behind_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn ticks_per_second() -> f64 {
    let said = Command::new("getconf").arg("CLK_TCK").output().ok();
    said.and_then(|said| String::from_utf8_lossy(&said.stdout).trim().parse().ok()).unwrap_or(100.0)
}

fn status_kb(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
