//! What documents say is there: invariants and their tests, verbs, paths, settings.

use std::{collections::BTreeSet, io};

use crate::{
    report, sources,
    texts::{Tests, codes, read, repo, rows, texts},
};

const INVARIANTS: usize = 8;

/// Settings whose whole effect is a check among the settings.
const CHECKED_ONLY: [&str; 1] = ["environment"];

#[test]
fn every_invariant_has_one_row_whose_tests_exist_and_speak_of_it() -> io::Result<()> {
    const PAGE: &str = "docs/invariants.md";
    let page = read(PAGE)?;
    let mut tests = Tests::default();
    let mut findings = Vec::new();
    let mut ids = Vec::new();
    for row in rows(&page).filter(|row| row.cells[0].starts_with('I')) {
        let mut say = |what: String| findings.push(format!("{PAGE}:{}: {what}", row.line));
        let [id, _rule, _why, _kept, proof, _broken] = row.cells[..] else {
            say(format!("{} cells instead of 6", row.cells.len()));
            continue;
        };
        ids.push(id.to_owned());
        let named = Tests::named(proof);
        for (path, name) in &named {
            if let Some(wrong) = tests.wrong(path, name, false) {
                say(wrong);
            }
        }
        if !named.iter().any(|(path, name)| tests.doc(path, name).contains(id)) {
            say(format!("no test that is named here has {id} in its doc"));
        }
    }
    let expected: Vec<_> = (1..=INVARIANTS).map(|number| format!("I{number}")).collect();
    if ids != expected {
        findings.push(format!("{PAGE}: {ids:?} instead of {expected:?}"));
    }
    report(&findings);
    Ok(())
}

#[test]
fn every_fault_is_told_to_everyone_and_has_a_test() -> io::Result<()> {
    const PAGE: &str = "docs/faults.md";
    let page = read(PAGE)?;
    let mut tests = Tests::default();
    let mut findings = Vec::new();
    let mut count = 0;
    for row in rows(&page).filter(|row| row.cells[0] != "fault") {
        let mut say = |what: String| findings.push(format!("{PAGE}:{}: {what}", row.line));
        let [fault, operator, consumer, proof] = row.cells[..] else {
            say(format!("{} cells instead of 4", row.cells.len()));
            continue;
        };
        count += 1;
        let named = Tests::named(proof);
        if [fault, operator, consumer].contains(&"") || named.is_empty() {
            say(format!("{fault}: a cell is empty, or no test is named"));
        }
        // The first runs by itself; longer variants may be started by hand.
        for (place, (path, name)) in named.iter().enumerate() {
            if let Some(wrong) = tests.wrong(path, name, place > 0) {
                say(wrong);
            }
        }
    }
    assert!(count > 20, "{count} faults found");
    report(&findings);
    Ok(())
}

/// I5: what can fill up is seen filling up, and against what.
#[test]
fn every_depth_has_its_limit_and_every_limit_its_depth() -> io::Result<()> {
    let catalogue = read("relay/src/telemetry/metrics.rs")?;
    let ending = |end: &str| -> BTreeSet<String> {
        let values = catalogue.split('"').filter_map(|part| part.strip_suffix(end));
        values.filter(|name| name.starts_with("relay_")).map(str::to_owned).collect()
    };
    let (depths, limits) = (ending("_depth"), ending("_limit"));
    let findings: Vec<_> = depths
        .symmetric_difference(&limits)
        .map(|name| format!("{name}: a depth without a limit, or a limit without a depth"))
        .collect();
    assert!(depths.len() > 5, "{depths:?}");
    report(&findings);
    Ok(())
}

#[test]
fn every_setting_is_read_outside_of_config() -> io::Result<()> {
    let config = read("relay/src/config.rs")?;
    let body = config.split("pub struct Config {").nth(1).unwrap_or_default();
    let body = body.split("\n}").next().unwrap_or_default();
    let fields =
        body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
    let files = sources()?;
    let mut count = 0;
    let mut findings = Vec::new();
    for field in fields {
        count += 1;
        let read = format!("config.{field}");
        let is_read = files
            .iter()
            .filter(|file| file.module() != Some("config"))
            .any(|file| file.code().any(|(_, line)| has_word(line, &read)));
        if !is_read && !CHECKED_ONLY.contains(&field) {
            findings.push(format!("config.{field}: nothing reads it, so it does nothing"));
        }
    }
    assert!(count > 20, "{count} settings found");
    report(&findings);
    Ok(())
}

#[test]
fn the_readme_and_the_justfile_name_the_same_verbs() -> io::Result<()> {
    let justfile = read("justfile")?;
    let verbs: BTreeSet<&str> = justfile
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .filter(|line| !line.contains(":="))
        .filter_map(|line| line.split([':', ' ']).next())
        .filter(|verb| *verb != "default")
        .collect();
    let readme = read("README.md")?;
    let said: BTreeSet<&str> = readme
        .split("just ")
        .skip(1)
        .zip(readme.split("just "))
        .filter(|(_, before)| before.ends_with('`') || before.ends_with('\n'))
        .filter_map(|(after, _)| {
            after.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()
        })
        .collect();
    let unknown =
        said.difference(&verbs).map(|verb| format!("README.md: there is no `just {verb}`"));
    let unsaid =
        verbs.difference(&said).map(|verb| format!("README.md: `just {verb}` is not said"));
    report(&unknown.chain(unsaid).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn paths_that_documents_name_exist() -> io::Result<()> {
    let root = repo();
    let mut findings = Vec::new();
    for page in texts(&["md"])? {
        let named = codes(&page.text)
            .filter(|code| {
                ["relay/", "provision/", "docs/", ".ci/"].iter().any(|top| code.starts_with(top))
            })
            .filter_map(|code| code.split("::").next())
            .filter(|code| !code.contains([' ', '*', '{', '<', '…']));
        let links = page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let beside = page.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        for path in named {
            if !root.join(path).exists() {
                findings.push(format!("{}: there is no {path}", page.path));
            }
        }
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap_or(link);
            if !root.join(beside).join(file).exists() {
                findings.push(format!("{}: the link to {link} leads nowhere", page.path));
            }
        }
    }
    report(&findings);
    Ok(())
}

#[test]
fn nothing_is_marked_as_still_to_be_done() -> io::Result<()> {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
    let files = texts(&["rs", "mjs", "py", "sh", "toml", "sql", "md", "yml"])?;
    let mut findings = Vec::new();
    for file in &files {
        for (index, line) in file.text.lines().enumerate() {
            if marks.iter().any(|mark| has_word(line, mark)) {
                findings.push(format!("{}:{}: do it, or open an issue", file.path, index + 1));
            }
        }
    }
    assert!(files.len() > 100, "{} files found", files.len());
    report(&findings);
    Ok(())
}

/// Whether a text holds a word that is no part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text.get(..start).and_then(|before| before.chars().next_back());
        let after = text.get(start + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}
