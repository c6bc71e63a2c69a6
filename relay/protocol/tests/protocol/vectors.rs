//! Finds the official interop vectors (CC0), which are not copied into this project.
//!
//! `ATPROTO_INTEROP_DIR` names their directory; without it they are looked for beside the checkout.
//! Where they are missing a test says so and passes, but under `CI=true` it fails.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Beside the checkout, seen from this crate.
const BESIDE_THE_CHECKOUT: &str = "../../../shared/data/interop";

/// Reads one file of the official vectors, such as `syntax/tid_syntax_valid.txt`.
pub(crate) fn interop(file: &str) -> Option<String> {
    let directory = env::var_os("ATPROTO_INTEROP_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(BESIDE_THE_CHECKOUT),
        PathBuf::from,
    );
    let path = directory.join(file);
    match fs::read_to_string(&path) {
        Ok(text) => Some(text),
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
