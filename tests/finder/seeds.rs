//! Replays the seeds of the fuzzers, so that they are checked without one.

use std::path::Path;

use crate::checks;

/// More files than this are not seeds but somebody's corpus.
const MAX_SEEDS: usize = 500;

fn replay(target: &str, check: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-seeds").join(target);
    let mut files: Vec<_> = std::fs::read_dir(seeds).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty() && files.len() <= MAX_SEEDS, "{} seeds", files.len());
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn seeds_of_the_json_fuzzer() {
    replay("model_finder_json", checks::model_finder_json);
}

#[test]
fn seeds_of_the_multipart_fuzzer() {
    replay("model_finder_multipart", checks::model_finder_multipart);
}

#[test]
fn seeds_of_the_name_fuzzer() {
    replay("model_name", checks::model_name);
}
