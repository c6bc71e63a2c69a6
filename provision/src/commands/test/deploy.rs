//! Ansible: its own rules of style, then disks of every kind and a blank host.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use provision::{cache::Cache, run};

use super::{
    Outcome, Workplace,
    containers::{engine, with_places},
    stages::{builds_into_cache, passed},
};
use crate::out;

const REQUIREMENTS: &str = "ansible/requirements.txt";
/// Marks an environment that was made to its end.
const COMPLETE: &str = ".complete";
const NO_PYPI: &str = "Ansible could not be fetched from PyPI; see that `pip download ansible` works here \
    (proxy? `pip config list`?), then run this again";

/// Runs everything of it.
pub(super) fn run(work: &Workplace) -> Result<Outcome> {
    let missing = ["mmdebstrap", "tools of XFS"].iter().any(|tool| work.missing.contains(tool));
    if missing || !work.peers.are_complete() {
        return Ok(work.without());
    }
    let id = run::quiet(run::program(&work.root, &["id", "-u"]))?;
    if id.trim() != "0" {
        out::line("disks are made of files by root alone; type `sudo just stage build,deploy`");
        return Ok(work.without());
    }
    let _engine = match engine(work) {
        Ok(engine) => engine,
        Err(error) => {
            out::line(&format!("{error:#}"));
            return Ok(work.without());
        }
    };
    let bin = ansible(work)?.join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([bin.clone()].into_iter().chain(std::env::split_paths(&path)))
        .context("add Ansible to the PATH")?;
    let mut lint = run::program(&work.root.join("ansible"), &["ansible-lint", "-q"]);
    lint.env("PATH", &path);
    let good = run::streamed(lint)?;
    let mut tests = run::program(
        &work.root,
        &["cargo", "test", "--quiet", "--release", "--locked", "-p", "provision"],
    );
    tests
        .args(["--test", "deploy", "--", "--ignored", "--show-output", "--test-threads=2"])
        .env("PATH", &path)
        .env("CADDY_BINARY", work.peers.python.join("bin/caddy"));
    Ok(passed(run::streamed(with_places(work, builds_into_cache(work, tests)))? && good))
}

/// The environment with Ansible, made once for what is required.
fn ansible(work: &Workplace) -> Result<PathBuf> {
    let required = work.root.join(REQUIREMENTS);
    let folder =
        Cache::open(&work.cache)?.folder("ansible", &[required], std::env::consts::ARCH)?;
    let done = folder.join(COMPLETE);
    if !done.exists() {
        make(&work.root, &folder).context(NO_PYPI)?;
        fs::write(&done, "").context("mark the environment as complete")?;
    }
    Ok(folder)
}

fn make(root: &Path, folder: &Path) -> Result<()> {
    let venv = folder.to_string_lossy();
    run::quiet(run::program(root, &["python3", "-m", "venv", &venv]))?;
    let pip = folder.join("bin/pip").to_string_lossy().into_owned();
    let words = ["install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS];
    run::quiet(run::program(root, &[&[&*pip], &words[..]].concat())).map(drop)
}
