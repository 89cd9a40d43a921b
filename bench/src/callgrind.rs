//! Counts the instructions of a proxy with valgrind's callgrind.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;

/// What stands before the proxy's own command line.
pub fn wrap(command: &mut Command, out: &Path) {
    command.args(["--tool=callgrind", "--fair-sched=yes", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
}

/// All instructions that a run took, from what it wrote at its end.
///
/// # Errors
/// It wrote nothing that can be read.
pub fn instructions(out: &Path) -> Result<f64, Failure> {
    let text = fs::read_to_string(out).map_err(|error| format!("callgrind wrote no {}: {error}", out.display()))?;
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?)
}
