//! The stages of `provision test`, in order.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use provision::run;

use super::{Outcome, Workplace, browser, containers, deploy, nix, readme};
use crate::{commands::fuzz, out, tools};

/// What CI can spare for all targets of `fuzz` together.
const FUZZ_TIME: Duration = Duration::from_mins(1);

/// What Ansible reads besides its own directory.
const CALLBACK: &str = "provision/tests/deploy/callback";

/// Where scripts in JavaScript lie.
const SCRIPTS: [&str; 3] =
    ["relay/tests/real_peers", "relay/tests/browser", "relay/src/api/dash/assets"];

/// What a shell reads.
const SHELL: &[&str] = &[
    "provision/run",
    "provision/test",
    ".ci/run",
    "ansible/roles/firewall/files/take-back",
    "provision/tests/deploy/host/guest",
    "provision/tests/deploy/host/machine",
    "provision/tests/deploy/host/system",
];

/// One stage.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether the downloads must be there.
    pub(crate) needs_peers: bool,
    pub(crate) run: fn(&Workplace) -> Result<Outcome>,
}

/// All stages.
pub(crate) const STAGES: &[Stage] = &[
    Stage { name: "format", about: "rustfmt", needs_peers: false, run: format },
    Stage {
        name: "build",
        about: "compile everything once, optimised",
        needs_peers: false,
        run: build,
    },
    Stage {
        name: "tests",
        about: "unit, property, store, crash and end-to-end tests, Caddy before the relay",
        needs_peers: true,
        run: tests,
    },
    Stage {
        name: "terraform",
        about: "the modules that make a host: formatted, valid, planned, applied, changed, destroyed",
        needs_peers: false,
        run: terraform,
    },
    Stage {
        name: "clippy",
        about: "clippy and rustdoc without a warning",
        needs_peers: false,
        run: clippy,
    },
    Stage {
        name: "readme",
        about: "the commands that the README begins with, word by word",
        needs_peers: false,
        run: readme::run,
    },
    Stage {
        name: "fuzz",
        about: "a minute of searching for bytes that break a decoder",
        needs_peers: false,
        run: fuzz,
    },
    Stage {
        name: "bench",
        about: "what an event costs; only a lost event fails",
        needs_peers: false,
        run: bench,
    },
    Stage {
        name: "lint",
        about: "shell, JavaScript and Python files",
        needs_peers: true,
        run: lint,
    },
    Stage {
        name: "real-peers",
        about: "reference PDSes, PLC directory and foreign consumers",
        needs_peers: true,
        run: real_peers,
    },
    Stage {
        name: "browser",
        about: "the dashboard in Chromium: an operator's steps, and whether everyone can use it",
        needs_peers: true,
        run: browser::run,
    },
    Stage {
        name: "nix",
        about: "the NixOS modules evaluated, and what they write in the real programs",
        needs_peers: true,
        run: nix::run,
    },
    Stage {
        name: "stack",
        about: "the whole stack in containers, and what breaks in it",
        needs_peers: true,
        run: containers::run,
    },
    Stage {
        name: "deploy",
        about: "Ansible: its rules of style, disks of every kind, a blank host",
        needs_peers: true,
        run: deploy::run,
    },
];

/// Whether a stage was asked for.
pub(crate) fn wanted(stage: &Stage, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|name| name == stage.name)
}

/// Refuses a stage that does not exist.
pub(crate) fn check_names(only: &[String]) -> Result<()> {
    let known: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
    match only.iter().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => bail!("there is no stage `{unknown}`; stages: {}", known.join(", ")),
        None => Ok(()),
    }
}

fn cargo(work: &Workplace, words: &[&str]) -> Command {
    let mut command = run::program(&work.root, &["cargo"]);
    command.args(words);
    builds_into_cache(work, command)
}

/// `cargo test` of the whole workspace, to which a target is added. Packages that are named alone get their
/// libraries with other features, so that a hundred of them would be compiled again.
pub(super) fn cargo_test(work: &Workplace) -> Command {
    cargo(work, &["test", "--quiet", "--release", "--locked", "--workspace"])
}

/// Whatever the command builds is found by the other stages, and by later runs.
pub(super) fn builds_into_cache(work: &Workplace, mut command: Command) -> Command {
    command.env("CARGO_TARGET_DIR", &work.target).env("CARGO_INCREMENTAL", "0");
    command
}

pub(super) fn passed(success: bool) -> Outcome {
    if success { Outcome::Passed } else { Outcome::Failed }
}

fn format(work: &Workplace) -> Result<Outcome> {
    run::streamed(cargo(work, &["fmt", "--all", "--check"])).map(passed)
}

fn build(work: &Workplace) -> Result<Outcome> {
    run::streamed(cargo(
        work,
        &["build", "--quiet", "--release", "--locked", "--workspace", "--all-targets"],
    ))
    .map(passed)
}

fn tests(work: &Workplace) -> Result<Outcome> {
    let mut command = cargo_test(work);
    // Its tests need Terraform, and have a stage of their own.
    command.args(["--no-fail-fast", "--exclude", "provision-stub"]);
    if work.peers.are_complete() {
        command.env("CADDY_BINARY", work.peers.python.join("bin/caddy"));
    }
    run::streamed(command).map(passed)
}

fn terraform(work: &Workplace) -> Result<Outcome> {
    if !tools::on_path("terraform") {
        out::line(
            "Terraform is not installed; get 1.11 or newer from \
             https://developer.hashicorp.com/terraform/install, then run this again",
        );
        return Ok(work.without());
    }
    let mut good = true;
    // The second: what the stand-ins for providers are made of, of the libraries only theirs.
    for what in [&["--test", "terraform"][..], &["--lib", "--", "terraform::rules::"]] {
        let mut tests = cargo_test(work);
        tests.args(what);
        good &= run::streamed(tests)?;
    }
    Ok(passed(good))
}

/// In the profile of the build, so that no build script, and with it no C library, runs twice.
fn clippy(work: &Workplace) -> Result<Outcome> {
    let lints = ["clippy", "--quiet", "--release", "--locked", "--workspace", "--all-targets"];
    let mut strict = cargo(work, &lints);
    strict.args(["--", "-D", "warnings"]);
    let good = run::streamed(strict)?;
    let mut docs =
        cargo(work, &["doc", "--quiet", "--release", "--locked", "--workspace", "--no-deps"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    Ok(passed(run::streamed(docs)? && good))
}

fn fuzz(work: &Workplace) -> Result<Outcome> {
    fuzz::stage(&work.root, &work.target, FUZZ_TIME).map(passed)
}

fn bench(work: &Workplace) -> Result<Outcome> {
    let smoke = ["--bench", "pipeline", "--", "--smoke"];
    let words = [&["bench", "--quiet", "--locked", "--workspace"], &smoke[..]].concat();
    run::streamed(cargo(work, &words)).map(passed)
}

fn lint(work: &Workplace) -> Result<Outcome> {
    let mut good = true;
    if !work.missing.contains(&"shellcheck") {
        good &= run::streamed(run::program(&work.root, &[&["shellcheck"], SHELL].concat()))?;
    }
    if let Some(outcome) = without_peers(work) {
        return Ok(if good { outcome } else { Outcome::Failed });
    }
    good &= scripts(work)?;
    let ruff = work.peers.python.join("bin/ruff");
    let ruff = ruff.to_string_lossy();
    good &= run::streamed(run::program(
        &work.root,
        &[
            &ruff,
            "check",
            "--quiet",
            "--no-cache",
            "relay/tests/real_peers",
            "ansible",
            "provision/assets",
            CALLBACK,
        ],
    ))?;
    good &= run::streamed(run::program(
        &work.root,
        &[
            &ruff,
            "format",
            "--check",
            "--quiet",
            "--no-cache",
            "relay/tests/real_peers",
            "ansible",
            "provision/assets",
            CALLBACK,
        ],
    ))?;
    Ok(passed(good))
}

/// Whether Node can read every script.
fn scripts(work: &Workplace) -> Result<bool> {
    let node = work.peers.node_bin().join("node");
    let mut good = true;
    for folder in SCRIPTS {
        let entries = fs::read_dir(work.root.join(folder)).context("list the scripts")?;
        for entry in entries {
            let path = entry.context("list the scripts")?.path();
            if path.extension().is_some_and(|extension| extension == "mjs" || extension == "js") {
                let shown = (node.to_string_lossy(), path.to_string_lossy());
                good &= run::streamed(run::program(&work.root, &[&shown.0, "--check", &shown.1]))?;
            }
        }
    }
    Ok(good)
}

fn real_peers(work: &Workplace) -> Result<Outcome> {
    if let Some(outcome) = without_peers(work) {
        return Ok(outcome);
    }
    let node = work.peers.node_bin().join("node");
    let mut command =
        run::program(&work.root, &[&node.to_string_lossy(), "relay/tests/real_peers/run.mjs"]);
    command
        .env("PATH", work.peers.path())
        .env("REAL_PEERS_MODULES", work.peers.npm.join("node_modules"))
        .env("REAL_PEERS_PYTHON", work.peers.python.join("bin/python"))
        .env("RELAY_BINARY", work.target.join("release/relay"));
    run::streamed(command).map(passed)
}

/// How a stage ends that needs the downloads when they are not there.
fn without_peers(work: &Workplace) -> Option<Outcome> {
    if work.peers.are_complete() {
        return None;
    }
    out::line("the reference peers are not there; see what is said of the downloads above");
    Some(work.without())
}
