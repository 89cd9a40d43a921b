//! The documents tell the truth: the settings are those of the program, and what they name and link to is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use app::settings::SETTINGS;

const README: &str = include_str!("../README.md");
const TROUBLESHOOTING: &str = include_str!("../docs/troubleshooting.md");

/// Where the states of a container get their words.
const STATUS: [&str; 4] = [
    include_str!("../src/app/status.rs"),
    include_str!("../src/app/status/ends.rs"),
    include_str!("../src/app/status/leaving.rs"),
    include_str!("../src/app/status/uninspected.rs"),
];

/// The cells of each row under this heading's first table, without backticks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section = README.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no ## {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    rows.skip(2).map(cells).collect()
}

#[test]
fn the_table_of_settings_is_the_one_of_help() {
    let told = table("Settings");
    let in_full = |row: &Vec<String>| !row[0].starts_with("OTEL_") || told.contains(row);
    let known = SETTINGS.iter().map(|s| vec![s.variable.to_owned(), s.default.to_owned(), s.meaning.to_owned()]);
    // The README names some of those for telemetry, and no other than there are; the rest has a page of its own.
    let expected: Vec<_> = known.filter(in_full).collect();
    let rows = |table: &[Vec<String>]| table.iter().map(|row| row.join(" | ")).collect::<Vec<_>>().join("\n");
    assert_eq!(
        rows(&told),
        rows(&expected),
        "take the rows of the README from src/app/settings/documented.rs, in its order"
    );
}

/// The documents whose words about places are checked.
const DOCUMENTS: [(&str, &str); 10] = [
    ("README.md", README),
    ("ARCHITECTURE.md", include_str!("../ARCHITECTURE.md")),
    ("CONTRIBUTING.md", include_str!("../CONTRIBUTING.md")),
    ("SECURITY.md", include_str!("../SECURITY.md")),
    ("CHANGELOG.md", include_str!("../CHANGELOG.md")),
    ("BENCHMARKS.md", include_str!("../BENCHMARKS.md")),
    ("docs/robustness.md", include_str!("../docs/robustness.md")),
    ("docs/telemetry.md", include_str!("../docs/telemetry.md")),
    ("docs/troubleshooting.md", TROUBLESHOOTING),
    ("tests/README.md", include_str!("README.md")),
];

fn is_there(document: &str, path: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join(document).parent().unwrap().to_owned();
    root.join(path).exists() || folder.join(path).exists()
}

#[test]
fn what_they_link_to_is_there() {
    for (document, text) in DOCUMENTS {
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            assert!(link.starts_with("http") || is_there(document, link), "{document} links to {link}");
        }
    }
}

#[test]
fn the_places_that_they_name_are_there() {
    for (document, text) in DOCUMENTS {
        let quoted = text.split('`').skip(1).step_by(2);
        let places =
            quoted.filter(|word| ["src/", "tests/", "examples/", "deploy/"].iter().any(|at| word.starts_with(at)));
        for place in places.filter(|place| !place.contains(['<', '*', ' '])) {
            assert!(is_there(document, place), "{document} names {place}");
        }
    }
}

#[test]
fn the_states_that_troubleshooting_explains_are_those_of_status() {
    let (_, section) = TROUBLESHOOTING.split_once("\n## States of a container\n").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let states = rows.skip(2).flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    for state in states {
        assert!(STATUS.iter().any(|text| text.contains(&format!("\"{state}\""))), "status knows no state `{state}`");
    }
}
