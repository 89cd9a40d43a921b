//! Where things are: the repository, built programs, the Python environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The Python of `.venv`, if `make venv` has made it.
pub fn venv_python() -> Option<PathBuf> {
    Some(repository().join(".venv/bin/python")).filter(|python| python.exists())
}

/// The proxy: `LW_PROXY_BIN` if set, else built now (which takes no time when nothing changed).
pub fn proxy_binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| match std::env::var_os("LW_PROXY_BIN") {
            Some(path) => repository().join(path),
            None => cargo_build(&["--package", "lw-inference-proxy", "--bin", "lw-inference-proxy"], "")
                .join("debug/lw-inference-proxy"),
        })
        .clone()
}

/// The mock, static, for an image `FROM scratch`.
pub fn static_mock() -> PathBuf {
    let target = host_target();
    let arguments = ["--package", "mock-inference", "--release", "--target", &target];
    cargo_build(&arguments, "-Ctarget-feature=+crt-static").join(target.as_str()).join("release/mock-inference")
}

/// Runs `cargo build` and returns the target folder.
fn cargo_build(arguments: &[&str], rustflags: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), |folder| repository().join(folder));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").args(arguments).arg("--target-dir").arg(&target);
    plain(&mut cargo);
    if !rustflags.is_empty() {
        cargo.env("RUSTFLAGS", rustflags);
    }
    let done = cargo.output().expect("cargo can be started");
    assert!(done.status.success(), "cargo build {arguments:?} failed:\n{}", String::from_utf8_lossy(&done.stderr));
    target
}

/// Runs a script of the repository to its end.
pub fn script(path: &str, arguments: &[&str], env: &[(&str, &str)]) {
    let mut script = Command::new(repository().join(path));
    plain(&mut script);
    let done = script.args(arguments).envs(env.iter().copied()).output().expect("the script can be started");
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{path} {arguments:?} failed:\n{}", String::from_utf8_lossy(&said));
}

/// In the repository, without the test runner's own settings, which would make cargo build everything anew.
fn plain(command: &mut Command) {
    command.current_dir(repository());
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_") && !["CARGO_HOME", "CARGO_BUILD_JOBS"].contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
}

/// The target triple of this machine's compiler.
fn host_target() -> String {
    let said = Command::new("rustc").arg("-vV").output().expect("rustc can be started");
    String::from_utf8_lossy(&said.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc -vV names the host")
        .to_owned()
}
