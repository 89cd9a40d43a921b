//! The shape of the code, checked: subjects named, files and functions readable, each library in its place. What the
//! inner layers may know is in their manifests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

const FILE_MAX_LINES: usize = 400;
const FILE_ASK_LINES: usize = 250;
const FUNCTION_MAX_LINES: usize = 70;

/// Files that may be longer than [`FILE_MAX_LINES`], each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that may be longer than [`FUNCTION_MAX_LINES`], as file and name, each with its reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// Where each outside library may be named: it can be replaced by replacing that folder.
const HOMES: &[(&str, &[&str])] = &[
    ("bollard", &["src/adapters/docker"]),
    ("if_addrs", &["src/adapters/docker"]),
    ("jiff", &["src/adapters/docker"]),
    ("percent_encoding", &["src/adapters/docker"]),
    ("httpdate", &["src/adapters/docker", "src/adapters/http"]),
    ("reqwest", &["src/adapters/upstream"]),
    ("socket2", &["src/adapters/upstream"]),
    ("axum", &["src/adapters/http", "src/adapters/samples"]),
    ("tower_service", &["src/adapters/http"]),
    ("form_urlencoded", &["src/adapters/http"]),
    ("brotli", &["src/adapters/http"]),
    ("flate2", &["src/adapters/http"]),
    ("zstd", &["src/adapters/http"]),
    ("hyper::server", &["src/adapters/http"]),
    // The engine's socket is spoken to with hyper as well: bollard is given a connection that can be bounded.
    // So is the collector: the exporter is given a client that knows no proxy of the environment and can be bounded.
    ("hyper::client", &["src/adapters/upstream", "src/adapters/docker", "src/adapters/otel"]),
    ("rustls_native_certs", &["src/adapters/shared"]),
    ("webpki_roots", &["src/adapters/shared"]),
    ("opentelemetry", &["src/adapters/otel"]),
    ("opentelemetry_sdk", &["src/adapters/otel"]),
    ("opentelemetry_otlp", &["src/adapters/otel"]),
    ("opentelemetry_http", &["src/adapters/otel"]),
    ("clap", &["src/adapters/cli"]),
    ("tikv_jemallocator", &["src/main.rs"]),
    ("rlimit", &["src/adapters/cli"]),
    ("tracing_subscriber", &["src/adapters/cli"]),
    ("std::env", &["src/adapters/cli"]),
];

/// What an adapter may use of the application: only `http` drives it.
const FROM_THE_APP: &[(&str, &str)] = &[
    ("http", "app::"),
    ("cli", "app::settings"),
    ("cli", "app::status"),
    ("status", "app::status"),
    ("otel", "app::settings"),
];

/// Where a test may sleep, each with its reason.
const SLEEPERS: &[(&str, &str)] = &[
    ("tests/mock/", "a server that is slow on purpose"),
    ("tests/engine/src/wait.rs", "the one poll of outside processes"),
    ("tests/support/fake_engine/answers.rs", "an engine that is slow on purpose"),
    ("tests/docker_source/main.rs", "one poll, with a bound"),
    ("tests/engine/tests/behaviour/pause.rs", "a paused container has to stay paused for a while"),
    ("tests/engine/tests/behaviour/scene.rs", "a gentle, steady stream of requests"),
    ("tests/engine/tests/rolling.rs", "a gentle, steady stream of requests"),
    ("tests/engine/tests/behaviour/sight.rs", "a relay that cuts connections every second"),
    ("tests/process/restarts.rs", "a gentle, steady stream of requests"),
    ("tests/support/scripted.rs", "servers that work slowly and close late"),
    ("tests/soak/", "steady traffic, at a pace of its own"),
    ("tests/http/replica_faults.rs", "servers that work slowly"),
    ("tests/storm/", "peers that talk slowly, are silent for long, and close late"),
    ("tests/scale/health.rs", "asks all the while, with a pause between two questions"),
    ("tests/contract_upstream_wire/connections.rs", "how long a connection was idle is its subject"),
    ("tests/contract_upstream_wire/keeping.rs", "how long a connection was idle is its subject"),
    ("tests/contract_upstream_wire/flowing.rs", "looks, with a bound, whether an upload stands still"),
    ("tests/contract_upstream_wire/framing.rs", "gives stray bytes time to come first; it holds in either order"),
    ("tests/use_cases/stage.rs", "its clock is paused, so time passes at once"),
    ("tests/tidy.rs", "names what it looks for"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file by its path from the root, with its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Its lines with their numbers, without comments that fill a line.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every text file of these folders (or files), except what builds leave behind.
fn files(starts: &[&str]) -> Vec<Source> {
    const LEFT_OUT: [&str; 7] = ["target", ".git", "bin", ".venv", ".cache", "__pycache__", "node_modules"];
    let mut waiting: Vec<PathBuf> =
        starts.iter().map(|start| root().join(start)).filter(|path| path.exists()).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if LEFT_OUT.contains(&name) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            found.push(Source { path, text });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn rust(starts: &[&str]) -> Vec<Source> {
    let found: Vec<_> = files(starts).into_iter().filter(|file| file.path.ends_with(".rs")).collect();
    assert!(!found.is_empty(), "nothing to look at under {starts:?}");
    found
}

fn all_rust() -> Vec<Source> {
    rust(&["src", "crates", "tests", "benches", "examples", "fuzz"])
}

/// Whether a line names a library or path: `name` as a whole word (or path) and then `::`, `;`, `,` or the end.
fn names(line: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        let starts = before.is_none_or(|c| !word(c) && c != '"' && c != ':');
        starts && (after.starts_with("::") || line.trim_start().starts_with("use ") && !after.starts_with(word))
    })
}

fn report(what: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{what}:\n  {}\n", offences.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_about() {
    let silent: Vec<_> = all_rust().into_iter().filter(|f| !f.text.starts_with("//!")).map(|f| f.path).collect();
    report("these files do not begin with a `//!` line that says their one subject", &silent);
}

#[test]
fn files_stay_readable() {
    let mut offences = Vec::new();
    for file in all_rust() {
        let lines = file.text.lines().count();
        let excepted = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if lines > FILE_MAX_LINES && !excepted {
            offences.push(format!("{}: {lines} lines", file.path));
        } else if lines > FILE_ASK_LINES {
            println!("ask yourself whether this is one subject: {}: {lines} lines", file.path);
        }
    }
    report("split these files, or except them in tests/tidy.rs with a reason", &offences);
}

#[test]
fn every_exception_is_still_needed() {
    let all = all_rust();
    let lines = |path: &str| all.iter().find(|f| f.path == path).map_or(0, |f| f.text.lines().count());
    let spare = LONG_FILES.iter().filter(|(path, _)| lines(path) <= FILE_MAX_LINES);
    report("take these out of the exceptions", &spare.map(|(path, _)| (*path).to_owned()).collect::<Vec<_>>());
}

#[test]
fn functions_fit_on_a_screen() {
    let mut offences = Vec::new();
    for file in all_rust() {
        for (name, at, length) in functions(&file.text) {
            let excepted = LONG_FUNCTIONS.iter().any(|(path, function, _)| (*path, *function) == (&file.path, name));
            if length > FUNCTION_MAX_LINES && !excepted {
                offences.push(format!("{}:{at}: fn {name} has {length} lines", file.path));
            }
        }
    }
    report("split these functions", &offences);
}

/// The functions of a formatted file: name, line, length. One ends where a brace closes at its own indentation.
fn functions(text: &str) -> Vec<(&str, usize, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let Some(place) = code.find("fn ").filter(|place| code[..*place].split(' ').all(is_qualifier)) else {
            continue;
        };
        let name = code[place + 3..].split(['(', '<']).next().unwrap_or_default();
        let closes = |line: &&str| {
            line.strip_prefix(indent).is_some_and(|rest| rest == "}" || rest.starts_with(')') && rest.ends_with(';'))
        };
        if code.ends_with('}') || code.ends_with(';') {
            continue;
        }
        let length = lines[at..].iter().position(closes).unwrap_or(0) + 1;
        found.push((name, at + 1, length));
    }
    found
}

fn is_qualifier(word: &str) -> bool {
    word.is_empty() || word.starts_with("pub") || ["async", "const", "unsafe", "extern", "in"].contains(&word)
}

#[test]
fn each_library_is_named_in_one_place() {
    let mut offences = Vec::new();
    for file in rust(&["src"]).into_iter().filter(|file| !file.is_test()) {
        for (library, homes) in HOMES {
            if homes.iter().any(|home| file.path.starts_with(home)) {
                continue;
            }
            let lines = file.code().filter(|(_, line)| names(line, library));
            offences.extend(lines.map(|(at, _)| format!("{}:{at}: {library}; it belongs to {homes:?}", file.path)));
        }
    }
    report("these libraries are named outside their folder", &offences);
}

/// Folders of `src/adapters` that are no adapter: several use them.
const SHARED_BY_ADAPTERS: [&str; 2] = ["shared::", "status::"];

#[test]
fn adapters_do_not_know_each_other_and_only_http_drives_the_app() {
    let mut offences = Vec::new();
    for file in rust(&["src/adapters"]) {
        let Some((own, _)) = file.path.trim_start_matches("src/adapters/").split_once('/') else { continue };
        let own = own.to_owned();
        for (at, line) in file.code() {
            let other = line.split("adapters::").nth(1).filter(|rest| !rest.starts_with(&own));
            let other = other.filter(|rest| !SHARED_BY_ADAPTERS.iter().any(|shared| rest.starts_with(shared)));
            let allowed = FROM_THE_APP.iter().any(|(adapter, path)| *adapter == own && line.contains(path));
            if other.is_some() || (names(line, "app") && !allowed) {
                offences.push(format!("{}:{at}: {}", file.path, line.trim()));
            }
        }
    }
    report("an adapter knows the domain and the ports; main composes the rest", &offences);
}

#[test]
fn nothing_is_left_undone_and_no_word_of_the_workshop_is_left_behind() {
    let undone = [concat!("to", "do!("), concat!("unimplemen", "ted!("), concat!("FIX", "ME"), concat!("XX", "X:")];
    let workshop = [
        concat!("/wo", "rk/"),
        concat!("/wo", "rk`"),
        concat!(" sha", "red/"),
        concat!("`sha", "red/"),
        concat!("issue", " #"),
    ];
    let mut offences = Vec::new();
    for file in files(&["."]).into_iter().filter(|file| !file.path.ends_with(".lock")) {
        for (at, line) in file.text.lines().enumerate() {
            if undone.iter().chain(&workshop).any(|word| line.contains(word)) {
                offences.push(format!("{}:{}: {}", file.path, at + 1, line.trim()));
            }
        }
    }
    report("finish or reword these lines", &offences);
}

#[test]
fn tests_wait_for_conditions_and_not_for_time() {
    let mut offences = Vec::new();
    for file in rust(&["src", "crates", "tests"]).into_iter().filter(Source::is_test) {
        if SLEEPERS.iter().any(|(path, _)| file.path.starts_with(path)) {
            continue;
        }
        let lines = file.code().filter(|(_, line)| line.contains(concat!("sle", "ep(")));
        offences.extend(lines.map(|(at, line)| format!("{}:{at}: {}", file.path, line.trim())));
    }
    report("wait for a condition, with a bound, or under paused time", &offences);
}

#[test]
fn what_the_readme_of_the_tests_names_is_there() {
    let readme = fs::read_to_string(root().join("tests/README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with("What no test saw")).unwrap();
    let everything: String = all_rust().into_iter().map(|file| file.text).collect();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let names: Vec<_> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let missing = names.iter().filter(|name| match name.ends_with(".rs") {
        true => !root().join("tests").join(name).exists(),
        false => !everything.contains(**name),
    });
    report("tests/README.md names what is not there", &missing.map(|name| (*name).to_owned()).collect::<Vec<_>>());
}

#[test]
fn the_scanner_sees_what_it_should() {
    let text = "impl X {\n    pub(super) async fn long(\n        a: u8,\n    ) {\n        a();\n    }\n    fn short() {}\n}\nfn g() {\n}\n";
    assert_eq!(functions(text), [("long", 2, 5), ("g", 9, 2)]);
    assert!(names("use hyper::server::conn;", "hyper::server") && names("let x = axum::serve(y);", "axum"));
    assert!(names("use bollard;", "bollard") && !names("use my_bollard::x;", "bollard") && !names("// x", "axum"));
    assert!(!names("\"axum::x\"", "axum") && !names("crate::adapters::clap::x", "clap"));
}
