//! Every reason to drop an event has a test and a row in the document, and the document has no other.

use std::{fs, io, path::Path};

use relay::domain::DropReason;

use super::{report, root};

#[test]
fn every_drop_reason_is_explained_in_its_own_words() -> io::Result<()> {
    let name = "docs/drop-reasons.md";
    let text = fs::read_to_string(root().join("..").join(name))?;
    let rows: Vec<(&str, &str)> = text.lines().filter_map(row).collect();
    let mut findings = Vec::new();
    for reason in DropReason::ALL {
        let found: Vec<_> = rows.iter().filter(|(label, _)| *label == reason.label()).collect();
        match found.as_slice() {
            [(_, words)] if *words == reason.words() => {}
            [_] => findings.push(format!("{name}: `{}` has other words", reason.label())),
            found => {
                findings.push(format!("{name}: `{}` has {} rows", reason.label(), found.len()));
            }
        }
    }
    for (label, _) in &rows {
        if !DropReason::ALL.iter().any(|reason| reason.label() == *label) {
            findings.push(format!("{name}: there is no reason `{label}`"));
        }
    }
    report(&findings);
    Ok(())
}

#[test]
fn every_drop_reason_occurs_in_a_test() -> io::Result<()> {
    let mut texts = Vec::new();
    collect(&root().join("src"), false, &mut texts)?;
    collect(&root().join("tests"), true, &mut texts)?;
    let untested = |reason: &&DropReason| {
        let names = [format!("DropReason::{reason:?}"), format!("\"{}\"", reason.label())];
        !texts.iter().any(|text| names.iter().any(|name| holds_word(text, name)))
    };
    let findings: Vec<_> = DropReason::ALL
        .iter()
        .filter(untested)
        .map(|reason| format!("DropReason::{reason:?}: no test names it"))
        .collect();
    report(&findings);
    Ok(())
}

/// Label and sentence of a row of the table.
fn row(line: &str) -> Option<(&str, &str)> {
    let (label, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
    let (words, _) = rest.split_once(" | ")?;
    Some((label, words))
}

/// Whether the text holds these words and no longer one, such as `BadCommit` for `BadCommitOrder`.
fn holds_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, found)| {
        let next = text.as_bytes().get(at + found.len());
        !next.is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_')
    })
}

/// The texts of tests below a directory of which all, or only those in `tests`, are tests.
fn collect(dir: &Path, all: bool, texts: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_test = all || path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() {
            // This page of rules names no reason, and must not count as a test of one.
            if !path.ends_with("tidy") {
                collect(&path, is_test, texts)?;
            }
        } else if is_test && path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
