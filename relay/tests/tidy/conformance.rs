//! `docs/conformance.md` is complete and true: every requirement once, every test there.

use std::{collections::BTreeMap, io};

use crate::{
    report,
    texts::{Row, Tests, codes, read, rows},
};

const PAGE: &str = "docs/conformance.md";

/// Families of requirements and the highest number of each.
const FAMILIES: [(&str, usize); 25] = [
    ("ROLE-", 8),
    ("ENC-", 17),
    ("SYN-", 10),
    ("WS-", 11),
    ("CUR-", 11),
    ("UP-", 12),
    ("MSG-", 4),
    ("COM-", 5),
    ("KEY-", 5),
    ("DOC-", 7),
    ("RES-", 7),
    ("MST-", 9),
    ("INV-", 10),
    ("VAL-", 21),
    ("LEG-", 4),
    ("SYNC-", 9),
    ("IDE-", 7),
    ("ACC-", 13),
    ("HOST-", 13),
    ("OUT-", 8),
    ("API-", 7),
    ("SEC-", 10),
    ("PLC-", 5),
    ("A", 20),
    ("T", 28),
];

/// Work to come that may own what is not there yet.
pub(crate) const OWNERS: [&str; 5] =
    ["operations", "scale and faults", "containers", "collections", "growth"];

/// Public sources; each row names at least one by its first word.
const SOURCES: [&str; 8] =
    ["spec", "lexicon", "proposal", "IETF", "did-plc", "observed", "thread", "ours"];

#[test]
fn every_requirement_has_one_row_and_no_other_has_one() -> io::Result<()> {
    let page = read(PAGE)?;
    let mut seen = BTreeMap::new();
    let mut findings = Vec::new();
    for row in requirements(&page) {
        if let Some(before) = seen.insert(row.cells[0].to_owned(), row.line) {
            findings.push(format!("{PAGE}:{}: also in line {before}", row.line));
        }
    }
    for (family, last) in FAMILIES {
        for number in 1..=last {
            let id = format!("{family}{number}");
            if seen.remove(&id).is_none() {
                findings.push(format!("{PAGE}: {id} has no row"));
            }
        }
    }
    findings.extend(seen.iter().map(|(id, line)| format!("{PAGE}:{line}: what is {id}?")));
    report(&findings);
    Ok(())
}

#[test]
fn every_requirement_has_a_source_and_a_test_or_an_owner() -> io::Result<()> {
    let page = read(PAGE)?;
    let mut tests = Tests::default();
    let mut findings = Vec::new();
    for row in requirements(&page) {
        let mut say = |what: String| findings.push(format!("{PAGE}:{}: {what}", row.line));
        let [id, asks, third, last] = row.cells[..] else {
            say(format!("{} cells instead of 4", row.cells.len()));
            continue;
        };
        let is_scenario = is_scenario(id);
        let proof = if is_scenario { third } else { last };
        let (named, owners) = (Tests::named(proof), owners(proof));
        if asks.is_empty() || (named.is_empty() && owners.is_empty()) {
            say(format!("{id} says nothing, or has neither test nor owner"));
        }
        for owner in owners.iter().filter(|owner| !OWNERS.contains(owner)) {
            say(format!("`{owner}` is not known as work to come"));
        }
        let by_hand = proof.contains("`just ");
        for (path, name) in &named {
            if let Some(wrong) = tests.wrong(path, name, by_hand) {
                say(wrong);
            }
        }
        if is_scenario {
            findings.extend(wrong_mutations(&row, !named.is_empty())?);
        } else if !third
            .split("; ")
            .all(|source| SOURCES.iter().any(|known| source.starts_with(known)))
        {
            say(format!("{id}: a source begins with one of {SOURCES:?}"));
        }
    }
    report(&findings);
    Ok(())
}

fn requirements(page: &str) -> impl Iterator<Item = Row<'_>> {
    rows(page).filter(|row| {
        let id = row.cells.first().copied().unwrap_or_default();
        id.ends_with(|last: char| last.is_ascii_digit()) && id.starts_with(char::is_uppercase)
    })
}

fn is_scenario(id: &str) -> bool {
    id.strip_prefix('T').is_some_and(|number| number.parse::<usize>().is_ok())
}

/// The work to come that a cell names.
pub(crate) fn owners(cell: &str) -> Vec<&str> {
    cell.split("later: ")
        .skip(1)
        .filter_map(|rest| rest.split([';', '(', '<']).next())
        .map(str::trim)
        .collect()
}

/// A wrong version is a file, a part of it that is there once, and what would stand in its place.
fn wrong_mutations(row: &Row<'_>, is_needed: bool) -> io::Result<Vec<String>> {
    let codes: Vec<&str> = codes(row.cells[3]).collect();
    let mut findings = Vec::new();
    if codes.is_empty() && is_needed || !codes.len().is_multiple_of(3) {
        findings.push("a wrong version is `file`: `part` becomes `other`".to_owned());
    }
    for mutation in codes.chunks_exact(3) {
        let times = read(mutation[0])?.matches(mutation[1]).count();
        if times != 1 || mutation[1] == mutation[2] {
            findings.push(format!("`{}` stands {times} times in {}", mutation[1], mutation[0]));
        }
    }
    Ok(findings.into_iter().map(|what| format!("{PAGE}:{}: {what}", row.line)).collect())
}
