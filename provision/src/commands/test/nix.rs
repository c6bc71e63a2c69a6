//! Nix: its files are formatted, nothing in them is dead, and the modules become what they say in the real
//! programs.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use provision::{cache::Cache, run};

use super::{
    Outcome, Workplace,
    stages::{cargo_test, passed},
};
use crate::out;

/// Formatter and linter, which no package of Debian has.
const CRATES: [&str; 2] = ["nixfmt_rs@0.5.3", "deadnix@1.3.1"];
/// Marks a folder with both.
const COMPLETE: &str = ".complete";
const NO_CRATES: &str = "the formatter and the linter of Nix could not be built; see that `cargo install \
    nixfmt_rs` works here, then run this again";

/// Runs everything of it.
pub(super) fn run(work: &Workplace) -> Result<Outcome> {
    if ["Nix", "systemd-analyze"].iter().any(|tool| work.missing.contains(tool)) {
        return Ok(work.without());
    }
    let good = match tools(work) {
        Ok(bin) => style(work, &bin)?,
        Err(error) => {
            out::line(&format!("{error:#}"));
            return Ok(work.without());
        }
    };
    let mut tests = cargo_test(work);
    // What takes a quarter of an hour is for `just nightly`.
    tests.args(["--test", "nix", "--", "--ignored", "--skip=sandbox"]);
    if work.peers.are_complete() {
        tests.env("CADDY_BINARY", work.peers.python.join("bin/caddy"));
    }
    Ok(passed(run::streamed(tests)? && good))
}

/// Formatter and linter over every file.
fn style(work: &Workplace, bin: &std::path::Path) -> Result<bool> {
    let nixfmt = bin.join("nixfmt").to_string_lossy().into_owned();
    let listed = run::quiet(run::program(&work.root, &["find", "nix", "-name", "*.nix"]))?;
    let mut words = vec![&*nixfmt, "--check", "flake.nix"];
    words.extend(listed.lines());
    let formatted = run::streamed(run::program(&work.root, &words))?;
    if !formatted {
        out::line(&format!("type `{nixfmt} flake.nix $(find nix -name '*.nix')`"));
    }
    let deadnix = bin.join("deadnix").to_string_lossy().into_owned();
    let words = [&*deadnix, "--fail", "flake.nix", "nix"];
    Ok(run::streamed(run::program(&work.root, &words))? && formatted)
}

/// Where both programs are; built once for their versions.
fn tools(work: &Workplace) -> Result<PathBuf> {
    let folder = Cache::open(&work.cache)?.folder("nix", &[], &CRATES.join(" "))?;
    let done = folder.join(COMPLETE);
    if !done.exists() {
        let place = folder.to_string_lossy();
        let words = ["cargo", "install", "--quiet", "--debug", "--locked", "--root", &place];
        run::quiet(run::program(&work.root, &[&words[..], &CRATES[..]].concat()))
            .context(NO_CRATES)?;
        fs::write(&done, "").context("mark the folder as complete")?;
    }
    Ok(folder.join("bin"))
}
