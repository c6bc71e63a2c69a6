//! `relay/mutants`: every patch still applies, and the test that must catch it exists.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    report,
    texts::{Tests, codes, read, repo, rows},
};

const DIRECTORY: &str = "relay/mutants";
const PAGE: &str = "relay/mutants/README.md";
/// Fewer would say that some were removed because they were in the way.
const MUTANTS_MIN: usize = 20;
/// What may become of a mutant; a survivor says why in its first column.
const OUTCOME: &str = "caught";

#[test]
fn every_mutant_has_a_patch_a_test_and_a_row() -> io::Result<()> {
    let page = read(PAGE)?;
    let mut tests = Tests::default();
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for row in rows(&page).filter(|row| row.cells[0].starts_with('`')) {
        let mut say = |what: String| findings.push(format!("{PAGE}:{}: {what}", row.line));
        let [name, wrong, test, outcome] = row.cells[..] else {
            say(format!("{} cells instead of 4", row.cells.len()));
            continue;
        };
        named.extend(codes(name).map(|name| format!("{name}.patch")));
        if wrong.is_empty() || outcome != OUTCOME {
            say(format!("says nothing, or is not `{OUTCOME}`"));
        }
        match Tests::named(test)[..] {
            [(path, name)] => tests.wrong(path, name, false).into_iter().for_each(say),
            _ => say("names not exactly one test".to_owned()),
        }
    }
    let patches = fs::read_dir(repo().join(DIRECTORY))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.as_ref().is_ok_and(|name| is_patch(name)))
        .collect::<io::Result<BTreeSet<_>>>()?;
    for name in named.symmetric_difference(&patches) {
        findings.push(format!("{DIRECTORY}/{name}: only the file or only the row is there"));
    }
    assert!(patches.len() >= MUTANTS_MIN, "{} patches found", patches.len());
    report(&findings);
    Ok(())
}

/// Git applies a patch to any directory; that of the checkout need not be its own.
#[test]
fn every_mutant_still_applies() -> io::Result<()> {
    let root = repo();
    let mut findings = Vec::new();
    for entry in fs::read_dir(root.join(DIRECTORY))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_patch(&name) {
            continue;
        }
        let output = Command::new("git")
            .args(["apply", "--check"])
            .arg(&path)
            .current_dir(&root)
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).replace('\n', "; ");
            findings.push(format!("{DIRECTORY}/{name}: make the mistake anew: {why}"));
        }
    }
    report(&findings);
    Ok(())
}

fn is_patch(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "patch")
}
