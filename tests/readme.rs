//! The README says what the program says of itself: the same settings, with the same defaults and meanings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lw_inference_proxy::app::settings::SETTINGS;

const README: &str = include_str!("../README.md");

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
    let told = table("Settings of the proxy");
    let in_full = |row: &Vec<String>| !row[0].starts_with("OTEL_") || told.contains(row);
    let known = SETTINGS.iter().map(|s| vec![s.variable.to_owned(), s.default.to_owned(), s.meaning.to_owned()]);
    // The README names some of those for telemetry, and no other than there are; the rest has a page of its own.
    let expected: Vec<_> = known.filter(in_full).collect();
    let rows = |table: &[Vec<String>]| table.iter().map(|row| row.join(" | ")).collect::<Vec<_>>().join("\n");
    assert_eq!(rows(&told), rows(&expected), "take the rows of the README from src/app/settings.rs, in its order");
}

#[test]
fn what_it_links_to_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for link in README.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
        let outside = link.starts_with("http") || link.is_empty();
        assert!(outside || root.join(link).exists(), "README.md links to {link}, which is not there");
    }
}
