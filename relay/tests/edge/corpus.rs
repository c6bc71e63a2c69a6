//! The inputs that fuzzing began with and found, run once more through every target (I6, T28).
//!
//! A search that reaches new code leaves its inputs in `relay/fuzz/corpus`; here they hold what they
//! reached without the search. `UPDATE=1` writes the inputs that a search begins with.

mod seeds;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use relay_fuzz::Target;

use crate::fuzz_daemon;

/// Bytes of all inputs together, so that they do not weigh on every checkout.
const CORPUS_BYTES_MAX: u64 = 300_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn targets() -> impl Iterator<Item = &'static Target> {
    relay_fuzz::TARGETS.iter().chain(&fuzz_daemon::TARGETS)
}

/// The inputs of a target, in the order of their names.
fn inputs(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus().join(target)).unwrap();
    let mut inputs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    inputs
}

/// I6, T28.
#[test]
fn every_input_that_fuzzing_left_passes_its_target() {
    for target in targets() {
        let inputs = inputs(target.name);
        assert!(inputs.len() >= 5, "{} has {} inputs", target.name, inputs.len());
        for input in inputs {
            // A failure says in its message which input it was.
            eprintln!("{}: {}", target.name, input.display());
            (target.run)(&fs::read(&input).unwrap());
        }
    }
}

/// Every input belongs to a target, and all of them stay small.
#[test]
fn the_corpus_holds_inputs_of_targets_only_and_stays_small() {
    let known: BTreeSet<_> = targets().map(|target| target.name.to_owned()).collect();
    let entries = fs::read_dir(corpus()).unwrap();
    let found: BTreeSet<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, known);

    let sizes = known.iter().flat_map(|target| inputs(target));
    let bytes: u64 = sizes.map(|input| fs::metadata(input).unwrap().len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes");
}

/// The seeds are what the simulator makes today; a target that cannot take one of them is wrong.
#[tokio::test]
async fn what_a_search_begins_with_passes_its_target() {
    let seeds = seeds::all().await;
    let named: BTreeSet<_> = seeds.iter().map(|seed| seed.target).collect();
    assert_eq!(named, targets().map(|target| target.name).collect());
    let is_to_be_written = std::env::var_os("UPDATE").is_some_and(|update| update == "1");
    for (number, seed) in seeds.iter().enumerate() {
        let target = targets().find(|target| target.name == seed.target).unwrap();
        let (run, bytes) = (target.run, seed.bytes.clone());
        // On a thread of its own, because some targets wait for a runtime of theirs.
        tokio::task::spawn_blocking(move || run(&bytes)).await.unwrap();
        if is_to_be_written {
            let dir = corpus().join(seed.target);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("seed-{number:03}")), &seed.bytes).unwrap();
        }
    }
}
