//! The parsers of Python and Node as oracles: for what they accept, the finder returns their model, or an error.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use body_model::ModelFinder;

use crate::bodies::{Seeded, body, spoil};
use crate::find::in_chunks;

/// The number of bodies, and their seed.
const BODIES: usize = 8_000;
const SEED: u64 = 20_260_422;

#[test]
fn python_finds_the_same_model() {
    compare("python3", "oracle.py");
}

#[test]
fn node_finds_the_same_model() {
    compare("node", "oracle.js");
}

/// Returns the bodies, half of them spoiled.
fn bodies() -> Vec<Vec<u8>> {
    let mut draw = Seeded(SEED);
    (0..BODIES)
        .map(|i| {
            let good = body(&mut draw, i % 4 != 0);
            match i % 2 {
                0 => good.into_bytes(),
                _ => spoil(&mut draw, &good),
            }
        })
        .collect()
}

fn compare(program: &str, script: &str) {
    if Command::new(program).arg("--version").output().is_err() {
        #[allow(clippy::disallowed_methods, reason = "what CI lacks is a failure, elsewhere it is left out")]
        let in_ci = std::env::var_os("CI").is_some();
        assert!(!in_ci, "{program} is missing: the finder was not compared with it");
        println!("NOT RUN: {program} is not installed, the finder was not compared with its JSON parser");
        return;
    }
    let bodies = bodies();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/finder").join(script);
    let verdicts = run_oracle(program, &script, &bodies);
    let verdicts: Vec<&str> = verdicts.lines().collect();
    assert_eq!(verdicts.len(), bodies.len(), "one verdict for each body");

    let mut agreed = 0;
    for (body, verdict) in bodies.iter().zip(verdicts) {
        let found = in_chunks(ModelFinder::json(), [&body[..]]);
        let ours = found.as_deref().map(|name| format!("model {}", hex(name.as_bytes())));
        match ours {
            Ok(ours) if verdict != "refused" => {
                assert_eq!(ours, verdict, "{program}: {}", body.escape_ascii());
                agreed += 1;
            }
            _ => {}
        }
    }
    // Else the bodies have become so odd that the test shows nothing.
    assert!(agreed > BODIES / 3, "only {agreed} bodies gave a model");
    println!("{program} and the finder agree on {agreed} of {BODIES} bodies; the others are refused by one of them");
}

/// Runs the script once over all bodies.
fn run_oracle(program: &str, script: &Path, bodies: &[Vec<u8>]) -> String {
    let file = Scratch::new(program);
    let lines: String = bodies.iter().map(|body| base64(body) + "\n").collect();
    std::fs::write(&file.0, lines).unwrap();
    let output = Command::new(program).arg(script).arg(&file.0).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A file that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("finder-{name}-{}.txt", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - three.len()));
        for place in 0..4 {
            match place <= three.len() {
                true => out.push(DIGITS[(bits >> (18 - 6 * place) & 63) as usize].into()),
                false => out.push('='),
            }
        }
    }
    out
}
