//! Finds the official interop vectors (CC0), which are not copied into this project.
//!
//! `ATPROTO_INTEROP_DIR` names their directory; without it they are looked for beside the checkout.
//! Where they are missing a test says so and passes, but under `CI=true` it fails.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use crate::{encoding, proofs, signatures, syntax, tree};

/// Beside the checkout, seen from this crate.
const BESIDE_THE_CHECKOUT: &str = "../../../shared/data/interop";

/// The files that concern a relay, each with the test that reads it.
const READ: [(&str, fn()); 23] = [
    (
        "crypto/signature-fixtures.json",
        signatures::published_signatures_get_their_published_verdicts,
    ),
    (
        "crypto/w3c_didkey_K256.json",
        signatures::published_private_keys_have_their_published_public_keys,
    ),
    (
        "crypto/w3c_didkey_P256.json",
        signatures::published_private_keys_have_their_published_public_keys,
    ),
    ("data-model/data-model-fixtures.json", encoding::official_data_model_fixtures_are_canonical),
    ("firehose/commit-proof-fixtures.json", proofs::published_proofs_undo_to_their_published_roots),
    ("mst/common_prefix.json", tree::prefixes_are_the_published_ones),
    ("mst/example_keys.txt", tree::layers_of_keys_are_the_published_ones),
    ("mst/key_heights.json", tree::layers_of_keys_are_the_published_ones),
    ("syntax/cid_syntax_invalid.txt", encoding::official_cids_of_other_kinds_are_refused),
    ("syntax/cid_syntax_valid.txt", encoding::official_cids_of_other_kinds_are_refused),
    ("syntax/datetime_parse_invalid.txt", syntax::datetimes),
    ("syntax/datetime_syntax_invalid.txt", syntax::datetimes),
    ("syntax/datetime_syntax_valid.txt", syntax::datetimes),
    ("syntax/did_syntax_invalid.txt", syntax::dids),
    ("syntax/did_syntax_valid.txt", syntax::dids),
    ("syntax/handle_syntax_invalid.txt", syntax::handles),
    ("syntax/handle_syntax_valid.txt", syntax::handles),
    ("syntax/nsid_syntax_invalid.txt", syntax::nsids),
    ("syntax/nsid_syntax_valid.txt", syntax::nsids),
    ("syntax/recordkey_syntax_invalid.txt", syntax::record_keys),
    ("syntax/recordkey_syntax_valid.txt", syntax::record_keys),
    ("syntax/tid_syntax_invalid.txt", syntax::tids),
    ("syntax/tid_syntax_valid.txt", syntax::tids),
];
/// Beginnings of the files that concern others: identifiers that no event carries outside of
/// records, and the JSON form of records, which a relay never reads.
const NOT_OURS: [&str; 9] = [
    "LICENSE",
    "README",
    "data-model/data-model-",
    "lexicon/",
    "mst/gen_keys",
    "syntax/atidentifier_",
    "syntax/aturi_",
    "syntax/language_",
    "syntax/uri_",
];

thread_local! {
    /// Files that this thread has read.
    static SEEN: RefCell<BTreeSet<String>> = RefCell::default();
}

fn directory() -> PathBuf {
    env::var_os("ATPROTO_INTEROP_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(BESIDE_THE_CHECKOUT),
        PathBuf::from,
    )
}

/// Reads one file of the official vectors, such as `syntax/tid_syntax_valid.txt`.
pub(crate) fn interop(file: &str) -> Option<String> {
    let path = directory().join(file);
    match fs::read_to_string(&path) {
        Ok(text) => {
            assert!(!text.is_empty(), "{file} is empty");
            SEEN.with_borrow_mut(|seen| seen.insert(file.to_owned()));
            Some(text)
        }
        Err(error) => {
            let sentence = format!(
                "{} cannot be read ({error}): clone https://github.com/bluesky-social/\
                 atproto-interop-tests and name it in ATPROTO_INTEROP_DIR.",
                path.display()
            );
            let in_ci = env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!in_ci, "{sentence}");
            eprintln!("skipped: {sentence}");
            None
        }
    }
}

/// Reads one JSON file of the official vectors.
pub(crate) fn interop_json(file: &str) -> Option<serde_json::Value> {
    let text = interop(file)?;
    match serde_json::from_str(&text) {
        Ok(value) => Some(value),
        Err(error) => panic!("{file} is not JSON: {error}"),
    }
}

/// Reads a list of the official vectors: one case per line, blanks at both ends significant, lines
/// that start with `#` and empty lines are not cases.
pub(crate) fn interop_lines(file: &str) -> Vec<String> {
    interop(file)
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Reads one JSON file of the official vectors that is a list of cases; empty where it is missing.
pub(crate) fn interop_cases(file: &str) -> Vec<serde_json::Value> {
    match interop_json(file) {
        None => Vec::new(),
        Some(serde_json::Value::Array(cases)) => cases,
        Some(_) => panic!("{file} is not a list"),
    }
}

/// Every file below a directory, named from there.
fn files(directory: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), &format!("{name}/"), found);
        } else {
            found.push(name);
        }
    }
}

/// T1: no official file is left out without a word. Those that concern a relay are really read by
/// their tests, which run here once more.
#[test]
fn every_official_file_is_read_or_none_of_ours() {
    for (file, test) in READ {
        SEEN.with_borrow_mut(BTreeSet::clear);
        test();
        let seen = SEEN.with_borrow(|seen| seen.contains(file));
        assert_eq!(seen, directory().join(file).exists(), "{file}");
    }
    if interop("mst/key_heights.json").is_none() {
        return;
    }
    let mut found = Vec::new();
    files(&directory(), "", &mut found);
    assert!(found.len() >= READ.len());
    for file in found.iter().filter(|file| !file.starts_with('.')) {
        let is_read = READ.iter().any(|(read, _)| read == file);
        let is_of_others = NOT_OURS.iter().any(|start| file.starts_with(start));
        assert!(is_read || is_of_others, "{file} is a new file of the official vectors");
    }
}
