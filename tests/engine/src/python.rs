//! Runs the pytest files of `tests/clients` against a proxy.

use crate::engine::not_run;
use crate::tools::{repository, venv_python};
use std::time::Duration;
use tokio::process::Command;

/// Longest time for all tests of one run.
const PYTEST: Duration = Duration::from_secs(300);

/// Runs these files with these variables; panics with pytest's output when a test fails. Without `.venv` a line says
/// that they were not run.
pub async fn pytest(files: &[&str], env: &[(&str, &str)]) {
    let Some(python) = venv_python() else {
        return not_run("the Python clients are not installed: run `make venv`");
    };
    let mut command = Command::new(python);
    command
        .args(["-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider"])
        .args(files)
        .current_dir(repository().join("tests/clients"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(env.iter().copied())
        .kill_on_drop(true);
    let done = tokio::time::timeout(PYTEST, command.output()).await;
    let done =
        done.unwrap_or_else(|_| panic!("pytest {files:?} took more than {PYTEST:?}")).expect("Python can be started");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "pytest {files:?}:\n{said}\n{}", String::from_utf8_lossy(&done.stderr));
    println!("{said}");
}
