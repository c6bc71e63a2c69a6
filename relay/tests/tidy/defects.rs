//! `docs/reference-defects.md`: each defect of the reference relay has a row, and each row a test that
//! exists, or a part of the work to come.

use std::io;

use crate::{
    conformance::{OWNERS, owners},
    report,
    texts::{Tests, read, rows},
};

const PAGE: &str = "docs/reference-defects.md";

/// Their numbers; the list that they come from has no 10.
const NUMBERS: [usize; 21] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22];

#[test]
fn every_defect_of_the_reference_relay_has_a_test_that_exists_or_an_owner() -> io::Result<()> {
    let page = read(PAGE)?;
    let mut tests = Tests::default();
    let mut findings = Vec::new();
    let mut numbers = Vec::new();
    for row in rows(&page).filter(|row| row.cells[0] != "#") {
        let mut say = |what: String| findings.push(format!("{PAGE}:{}: {what}", row.line));
        let [number, there, here, proof] = row.cells[..] else {
            say(format!("{} cells instead of 4", row.cells.len()));
            continue;
        };
        numbers.extend(number.parse::<usize>().ok());
        let (named, owners) = (Tests::named(proof), owners(proof));
        if there.is_empty() || here.is_empty() || (named.is_empty() && owners.is_empty()) {
            say(format!("{number} says nothing, or has neither test nor owner"));
        }
        for owner in owners.iter().filter(|owner| !OWNERS.contains(owner)) {
            say(format!("`{owner}` is not known as work to come"));
        }
        for (path, name) in &named {
            if let Some(wrong) = tests.wrong(path, name, false) {
                say(wrong);
            }
        }
    }
    if numbers != NUMBERS {
        findings.push(format!("{PAGE}: {numbers:?} instead of {NUMBERS:?}"));
    }
    report(&findings);
    Ok(())
}
