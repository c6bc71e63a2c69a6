//! Ansible: its own rules of style, then disks of every kind and a blank host.

use anyhow::{Context as _, Result};
use provision::{ansible, run};

use super::{
    Outcome, Workplace,
    containers::{engine, with_places},
    stages::{builds_into_cache, passed},
};
use crate::out;

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
    let bin = ansible::environment(&work.root, &work.cache)?;
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
