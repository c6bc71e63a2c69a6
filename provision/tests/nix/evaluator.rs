//! Nix, as it evaluates what lies below `nix/tests/eval`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;

use crate::binaries::root;

/// The module systems to evaluate with: the stand-in, and that of nixpkgs where one is named.
pub(crate) fn libraries() -> Vec<String> {
    let named = std::env::var_os("NIXPKGS_LIB").filter(|path| !path.is_empty());
    if named.is_none() {
        println!("only with the stand-in: NIXPKGS_LIB names no `lib` of nixpkgs");
    }
    let named = named.map(|path| path.to_string_lossy().into_owned());
    [String::new()].into_iter().chain(named).collect()
}

/// `nix-instantiate`, which needs no store of its own for looking.
pub(crate) fn nix() -> Command {
    let mut command = Command::new("nix-instantiate");
    command.current_dir(root()).env("NIX_REMOTE", "dummy://");
    command
}

/// What a run of Nix said.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Evaluates an attribute of the suite, whatever comes of it.
pub(crate) fn attempt(attribute: &str, library: &str) -> Result<Output> {
    let words = ["--eval", "--strict", "--json", "nix/tests/eval", "-A", attribute];
    let mut command = nix();
    command.args(words).args(["--argstr", "nixpkgsLib", library]);
    command.output().context("start nix-instantiate; it is in the package nix-bin")
}

/// Evaluates an attribute of the suite.
pub(crate) fn evaluate<T: DeserializeOwned>(attribute: &str, library: &str) -> Result<T> {
    let output = attempt(attribute, library)?;
    ensure!(output.status.success(), "{attribute}: {}", said(&output));
    serde_json::from_slice(&output.stdout).with_context(|| format!("read {attribute}"))
}

/// The same with the files that a configuration writes, which lie below `store` then.
pub(crate) fn realise<T: DeserializeOwned>(attribute: &str, store: &Path) -> Result<T> {
    realise_with(attribute, store, &[])
}

/// The same of a configuration that is given as a text.
pub(crate) fn realise_text<T: DeserializeOwned>(
    attribute: &str,
    text: &str,
    store: &Path,
) -> Result<T> {
    let file = store.join("configuration.nix");
    std::fs::write(&file, text)?;
    realise_with(attribute, store, &["--argstr", "user", &file.to_string_lossy()])
}

fn realise_with<T: DeserializeOwned>(attribute: &str, store: &Path, more: &[&str]) -> Result<T> {
    let words = ["--eval", "--strict", "--json", "--read-write-mode", "nix/tests/eval"];
    let mut command = nix();
    command.args(words).args(["--arg", "realise", "true", "-A", attribute]).args(more);
    command.env_remove("NIX_REMOTE");
    for (name, below) in
        [("NIX_STORE_DIR", "store"), ("NIX_STATE_DIR", "state"), ("NIX_LOG_DIR", "log")]
    {
        command.env(name, store.join(below));
    }
    let output = command.output().context("start nix-instantiate")?;
    ensure!(output.status.success(), "{attribute}: {}", said(&output));
    serde_json::from_slice(&output.stdout).with_context(|| format!("read {attribute}"))
}

/// Every file of Nix in the project.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let mut left = vec![root().join("nix")];
    let mut found = vec![root().join("flake.nix")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "nix") {
            found.push(path);
        }
    }
    Ok(found)
}
