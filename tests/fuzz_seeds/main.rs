//! Replays the seeds of the fuzzers, and a fixed number of mutants of them, so that what the fuzzers check is checked
//! without one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../fuzz/src/checks/mod.rs"]
mod checks;
mod mutants;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use mutants::Mutants;

/// More files than this are not seeds but somebody's corpus.
const MAX_SEEDS: usize = 100;
/// No more than this of all of them together, in bytes.
const MAX_SEED_BYTES: usize = 200 * 1024;
/// So many mutants of the seeds are tried of each target.
const MUTANTS: usize = 2_000;

/// The check on every seed of a target, and then on mutants of them, which are the same in every run.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-seeds").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty() && files.len() <= MAX_SEEDS, "{} seeds", files.len());
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(seeds.iter().map(Vec::len).sum::<usize>() <= MAX_SEED_BYTES);
    for (file, seed) in files.iter().zip(&seeds) {
        run(check, seed, &file.display().to_string());
    }
    for (number, mutant) in Mutants::of(&seeds).take(MUTANTS).enumerate() {
        run(check, &mutant, &format!("mutant {number}"));
    }
}

/// Names the input that a check fails on.
fn run(check: fn(&[u8]), input: &[u8], name: &str) {
    if catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
        panic!("{name}: b\"{}\"", input.escape_ascii());
    }
}

#[test]
fn model_finder_json() {
    replay("model_finder_json", checks::model_finder_json);
}

#[test]
fn model_finder_multipart() {
    replay("model_finder_multipart", checks::model_finder_multipart);
}

#[test]
fn model_name() {
    replay("model_name", checks::model_name);
}

#[test]
fn labels() {
    replay("labels", checks::labels);
}

#[test]
fn engine_event() {
    replay("engine_event", checks::engine_event);
}

#[test]
fn request_target() {
    replay("request_target", checks::request_target);
}

#[test]
fn compressed_body() {
    replay("compressed_body", checks::compressed_body);
}

#[test]
fn every_target_has_a_program_and_seeds_and_is_replayed() {
    let names = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let programs = names("fuzz_targets");
    assert_eq!(names("corpus-seeds"), programs);
    for program in programs {
        assert!(include_str!("main.rs").contains(&format!("replay(\"{program}\"")), "{program} is not replayed");
    }
}
