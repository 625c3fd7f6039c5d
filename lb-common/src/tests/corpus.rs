//! What the fuzzer once tried, and what it found: runs again without a fuzzer.

use std::path::Path;

use super::fuzz;

/// Runs every file of a target's corpus; the context of a failure is the file's name.
fn run(target: &str, body: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| body(&bytes));
        assert!(outcome.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "no corpus in {}", directory.display());
}

#[test]
fn the_corpus_of_parse_holds() {
    run("parse", fuzz::parse);
}

#[test]
fn the_corpus_of_direct_holds() {
    run("direct", fuzz::direct);
}
