//! Tests that this machine lacks something for.

use std::io::Write;

/// Says that a test was not run, and what it needs; with `CI=true` that is a failure.
#[allow(clippy::disallowed_methods, reason = "these say how the tests are run, and are no settings of the proxy")]
pub fn not_run(said: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{said}");
    eprintln!("not run: {said}");
    if let Ok(list) = std::env::var("LW_NOT_RUN") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(list);
        let _ = file.and_then(|mut file| writeln!(file, "{said}"));
    }
}
