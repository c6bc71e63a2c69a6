//! The dashboard in Chromium: an operator's steps, and whether everyone can use it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use provision::{cache::Cache, run};

use super::{
    Outcome, Workplace,
    stages::{cargo_test, passed},
};
use crate::{out, tools};

/// With 1, pictures are made instead.
const PICTURES: &str = "BROWSER_PICTURES";
/// Where the scripts and their lock file are.
const HERE: &str = "relay/tests/browser";
/// Marks a folder whose download came to its end.
const COMPLETE: &str = ".complete";
const NO_NPM: &str = "what drives Chromium could not be fetched from the npm registry; see that `npm ping` gets \
    an answer here, then run this again";

/// Runs the test, or makes the pictures.
pub(super) fn run(work: &Workplace) -> Result<Outcome> {
    if work.missing.contains(&tools::CHROMIUM) || !work.peers.are_complete() {
        return Ok(work.without());
    }
    let chromium = tools::found_on_path(tools::CHROMIUM_PROGRAM)
        .context("find Chromium, which was there a moment ago")?;
    let modules = match modules(work) {
        Ok(modules) => modules,
        Err(error) => {
            out::line(&format!("{error:#}"));
            return Ok(work.without());
        }
    };
    let makes_pictures = std::env::var_os(PICTURES).is_some_and(|wanted| wanted == "1");
    let what = if makes_pictures { "pictures" } else { "an_operator" };
    let mut tests = cargo_test(work);
    tests
        .args(["--test", "browser", "--", "--ignored", "--show-output", what])
        .env("BROWSER_MODULES", modules)
        .env("CHROMIUM_BINARY", chromium)
        .env("NODE_BINARY", work.peers.node_bin().join("node"));
    run::streamed(tests).map(passed)
}

/// The packages of the lock file, fetched unless they are there.
fn modules(work: &Workplace) -> Result<PathBuf> {
    let here = work.root.join(HERE);
    let files = ["package.json", "package-lock.json"];
    let lock = files.map(|name| here.join(name));
    let folder = Cache::open(&work.cache)?.folder("browser", &lock, "")?;
    let (done, modules) = (folder.join(COMPLETE), folder.join("node_modules"));
    if done.exists() {
        return Ok(modules);
    }
    for file in files {
        copied(&here.join(file), &folder.join(file))?;
    }
    let words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let mut command = run::program(&folder, &words);
    command.env("PATH", work.peers.path());
    run::quiet(command).context(NO_NPM)?;
    fs::write(&done, "").context("mark the folder as complete")?;
    Ok(modules)
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy {}", from.display())).map(drop)
}
