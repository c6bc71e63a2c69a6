//! The commands that the README begins with are run as they stand there.

use std::fs;

use anyhow::{Context, Result, ensure};
use provision::run;

use super::{
    Outcome, Workplace,
    stages::{builds_into_cache, passed},
};
use crate::out;

/// The README's second command, which is this program.
const ALL_TESTS: &str = "provision/test";

/// Runs the first command. The second one is what runs this stage, so of it only the name is checked,
/// and that CI runs nothing else.
pub(super) fn run(work: &Workplace) -> Result<Outcome> {
    let readme = fs::read_to_string(work.root.join("README.md")).context("read README.md")?;
    let commands = commands(&readme);
    ensure!(
        commands.get(1).map(String::as_str) == Some(ALL_TESTS),
        "README.md: the second command must be `{ALL_TESTS}`, found {commands:?}"
    );
    let ci = fs::read_to_string(work.root.join(".ci/run")).context("read .ci/run")?;
    ensure!(
        ci.lines().last() == Some(&format!("exec {ALL_TESTS}")),
        ".ci/run: must end with `exec {ALL_TESTS}`"
    );
    let first = commands.first().context("README.md: there is no command")?;
    out::line(&format!("$ {first}"));
    let shell = run::program(&work.root, &["sh", "-c", first]);
    run::streamed(builds_into_cache(work, shell)).map(passed)
}

/// The lines of the `sh` blocks of a Markdown text, in order.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside && !command.is_empty() => found.push(command.to_owned()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other blocks and the text between are not commands.
    #[test]
    fn only_shell_blocks_hold_commands() {
        let text = "a\n```sh\none --two\n```\n```text\nno\n```\n```sh\n\nthree\nfour\n```\n";
        assert_eq!(commands(text), ["one --two", "three", "four"]);
    }
}
