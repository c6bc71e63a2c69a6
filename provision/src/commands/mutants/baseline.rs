//! The table of `relay/mutants/README.md`.

use anyhow::{Context, Result, ensure};

/// A wrong version, and the test that must see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mutant {
    /// Of the patch, without its extension.
    pub(super) name: String,
    /// Where the test is.
    pub(super) target: Target,
    /// Name of the test, unique in its target.
    pub(super) test: String,
    /// `caught`, or what else is known of it.
    pub(super) expected: String,
}

/// What cargo builds for a test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) package: String,
    pub(super) flags: Vec<String>,
}

impl Target {
    /// The target of a file of tests: the library's own, or one binary per directory of `tests`.
    fn of(path: &str) -> Option<Self> {
        let (package, rest) = match path.strip_prefix("relay/protocol/") {
            Some(rest) => ("relay-protocol", rest),
            None => ("relay", path.strip_prefix("relay/")?),
        };
        let flags = if rest.starts_with("src/") {
            vec!["--lib".to_owned()]
        } else {
            let name = rest.strip_prefix("tests/")?.split('/').next()?;
            vec!["--test".to_owned(), name.trim_end_matches(".rs").to_owned()]
        };
        Some(Self { package: package.to_owned(), flags })
    }
}

/// Reads the rows that begin with a name in backticks.
pub(super) fn read(page: &str) -> Result<Vec<Mutant>> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mutants = rows.map(row).collect::<Result<Vec<_>>>()?;
    ensure!(!mutants.is_empty(), "the table has no rows");
    Ok(mutants)
}

fn row(line: &str) -> Result<Mutant> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, _wrong, test, expected] = cells[..] else {
        anyhow::bail!("a row has {} cells instead of 4: {line}", cells.len());
    };
    let (path, test) = test
        .trim_matches('`')
        .split_once("::")
        .with_context(|| format!("a test is path::name, not {test}"))?;
    let target = Target::of(path).with_context(|| format!("no target has the file {path}"))?;
    Ok(Mutant {
        name: name.trim_matches('`').to_owned(),
        target,
        test: test.to_owned(),
        expected: expected.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_which_binary_has_its_test() -> Result<()> {
        let page = "# Title\n| mutant | what |\n|---|---|\n\
            | `one` | is wrong | `relay/src/a/tests/b.rs::sees_it` | caught |\n\
            | `two` | is wrong | `relay/tests/e2e/c.rs::sees_it_too` | survived |\n\
            | `three` | is wrong | `relay/protocol/tests/protocol/d.rs::and_this` | caught |\n";
        let mutants = read(page)?;
        let targets: Vec<_> = mutants
            .iter()
            .map(|mutant| format!("{} {}", mutant.target.package, mutant.target.flags.join(" ")))
            .collect();
        assert_eq!(targets, ["relay --lib", "relay --test e2e", "relay-protocol --test protocol"]);
        let said: Vec<_> = mutants.iter().map(|m| (&*m.name, &*m.test, &*m.expected)).collect();
        assert_eq!(
            said,
            [
                ("one", "sees_it", "caught"),
                ("two", "sees_it_too", "survived"),
                ("three", "and_this", "caught")
            ]
        );
        Ok(())
    }

    #[test]
    fn a_table_that_cannot_be_read_is_an_error() {
        for wrong in ["", "| `one` | cells |", "| `a` | b | `provision/src/c.rs::d` | caught |"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
