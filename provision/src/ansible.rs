//! Ansible: the one of the `PATH`, or an environment of our own with the versions that the project names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{cache::Cache, run};

/// What the environment holds.
const REQUIREMENTS: &str = "ansible/requirements.txt";
/// Marks an environment that was made to its end.
const COMPLETE: &str = ".complete";
const NO_PYPI: &str = "Ansible could not be fetched from PyPI; see that `python3 -m venv` works here (package \
    python3-venv) and `pip download ansible` (proxy? `pip config list`?), then run this again";

/// The directory of the programs of an environment with Ansible, which is made once for what the
/// checkout requires.
///
/// # Errors
/// When it cannot be fetched.
pub fn environment(checkout: &Path, cache: &Path) -> Result<PathBuf> {
    let required = checkout.join(REQUIREMENTS);
    let folder = Cache::open(cache)?.folder("ansible", &[required], std::env::consts::ARCH)?;
    let done = folder.join(COMPLETE);
    if !done.exists() {
        make(checkout, &folder).context(NO_PYPI)?;
        fs::write(&done, "").context("mark the environment as complete")?;
    }
    Ok(folder.join("bin"))
}

fn make(checkout: &Path, folder: &Path) -> Result<()> {
    let venv = folder.to_string_lossy();
    run::quiet(run::program(checkout, &["python3", "-m", "venv", &venv]))?;
    let pip = folder.join("bin/pip").to_string_lossy().into_owned();
    let words = ["install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS];
    run::quiet(run::program(checkout, &[&[&*pip], &words[..]].concat())).map(drop)
}
