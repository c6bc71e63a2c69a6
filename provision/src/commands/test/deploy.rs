//! Ansible: its own rules of style, then disks of every kind and a blank host.

use std::fs;

use anyhow::{Context as _, Result};
use provision::{ansible, cache::Cache, run};

use super::{
    Outcome, Workplace,
    containers::{engine, with_places},
    stages::{cargo_test, passed},
};
use crate::out;

/// With 1, what takes longer than CI has runs too.
const NIGHTLY: &str = "DEPLOY_NIGHTLY";

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
    // What an earlier run executed says nothing of the tasks as they are now.
    let notes = work.target.join("executed-tasks");
    if notes.exists() {
        fs::remove_dir_all(&notes).with_context(|| format!("remove {}", notes.display()))?;
    }
    fs::create_dir_all(&notes).with_context(|| format!("make {}", notes.display()))?;
    let mut good = good;
    let mut all = vec!["--show-output", "--test-threads=2", "--skip=what_the_list_says"];
    let mut runs = Vec::new();
    if std::env::var_os(NIGHTLY).is_some_and(|nightly| nightly == "1") {
        // The list of tasks is looked at when all have run.
        runs.push(vec!["what_the_list_says"]);
    } else {
        all.push("--skip=nightly");
    }
    runs.insert(0, all);
    for what in runs {
        let mut tests = cargo_test(work);
        tests
            .args(["--test", "deploy", "--", "--ignored"])
            .args(what)
            .env("PATH", &path)
            .env("EXECUTED_TASKS_DIR", &notes)
            // Also where a program under test starts Ansible; tests that start it say who they are.
            .env("EXECUTED_TASKS", notes.join("blank_host.jsonl"))
            .env("ANSIBLE_CALLBACK_PLUGINS", work.root.join("provision/tests/deploy/callback"))
            .env("ANSIBLE_CALLBACKS_ENABLED", "executed")
            .env("CADDY_BINARY", work.peers.python.join("bin/caddy"));
        good &= run::streamed(with_places(work, tests))?;
    }
    Ok(passed(good))
}

/// Makes what takes its time and needs nothing that is built: Ansible, and the system of a blank host.
pub(super) fn prepare(work: &Workplace) -> Result<()> {
    ansible::environment(&work.root, &work.cache)?;
    let (folder, words) = Cache::open(&work.cache)?.blank_host(&work.root, "bookworm", &[])?;
    if folder.join("host.tar").exists() {
        return Ok(());
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    run::quiet(run::program(&work.root, &words)).map(drop)
}
