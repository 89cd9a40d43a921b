//! Counts the system calls of a proxy with strace.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;

/// What stands before the proxy's own command line.
pub fn wrap(command: &mut Command, out: &Path) {
    command.args(["-f", "-c", "-o"]).arg(out);
}

/// How often each call was made, from the table that strace wrote at its end.
///
/// # Errors
/// There is no table.
pub fn calls(out: &Path) -> Result<BTreeMap<String, f64>, Failure> {
    let text = fs::read_to_string(out).map_err(|error| format!("strace wrote no {}: {error}", out.display()))?;
    let calls: BTreeMap<String, f64> = text.lines().filter_map(row).collect();
    match calls.is_empty() {
        true => Err("strace wrote no table".into()),
        false => Ok(calls),
    }
}

/// `% time, seconds, usecs/call, calls, [errors,] name`.
fn row(line: &str) -> Option<(String, f64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let name = fields.last().filter(|name| **name != "total" && **name != "syscall")?;
    let share: Option<f64> = fields.first()?.parse().ok();
    share?;
    Some(((*name).to_owned(), fields.get(3)?.parse().ok()?))
}

/// The calls that send bytes.
pub const WRITES: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];
