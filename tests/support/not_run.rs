//! What this machine lacks, said in plain words.

/// Says that the current test was not run; with `CI=true` that is a failure. Runners hide what a passing test says, so
/// the line is also added to the file that `LW_NOT_RUN` names.
#[allow(clippy::disallowed_methods, reason = "these say how the tests are run, and are no settings of the proxy")]
pub fn not_run(why: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "not run: {why}; with CI=true that is a failure");
    let thread = std::thread::current();
    let line = format!("{}: not run: {why}", thread.name().unwrap_or("a test"));
    eprintln!("{line}");
    if let Ok(list) = std::env::var("LW_NOT_RUN") {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(list);
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
}
