//! The package as Nix builds it, without Nix: nothing but the files and the flags of the package, and the
//! libraries that the lock file names, in a place without a network.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{binaries::root, evaluator::evaluate};

/// Directories that are none of the sources.
const LEFT_OUT: [&str; 2] = ["target", "node_modules"];

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            if LEFT_OUT.iter().any(|left| name == *left) {
                continue;
            }
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().context("a parent")?)?;
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A network of its own, which is none.
fn without_a_network(words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--net").args(words);
    command
}

fn words(package: &Value, name: &str) -> Vec<String> {
    let words = package[name].as_array().into_iter().flatten();
    words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// Whoever builds the package has no network in the sandbox of Nix: a file that is missing from its list,
/// or a library that is fetched by the way, fails there alone.
#[test]
#[ignore = "takes a quarter of an hour; type `just nightly`"]
fn sandbox_builds_the_packages_from_the_lock_file_alone() -> Result<()> {
    let work = tempfile::tempdir()?;
    // One after the other: what both are made of is compiled once.
    for program in ["relay", "provision"] {
        sandbox_builds(program, work.path())?;
    }
    Ok(())
}

fn sandbox_builds(program: &str, work: &Path) -> Result<()> {
    let source = work.join("source");
    let package: Value = evaluate(&format!("package.{program}"), "")?;
    let files: BTreeMap<PathBuf, bool> = serde_json::from_value(package["files"].clone())?;
    for file in files.keys() {
        copy(file, &source.join(file.strip_prefix(root())?))?;
    }
    let home = work.join("home");
    let settings = run(Command::new("cargo")
        .args(["vendor", "--locked", "--versioned-dirs", "../vendor"])
        .current_dir(&source))?;
    fs::create_dir_all(&home)?;
    fs::write(
        home.join("config.toml"),
        settings.replace("../vendor", &work.join("vendor").to_string_lossy()),
    )?;

    // Nothing answers there, not even this machine.
    let reached = without_a_network(&["ip", "route"]).output()?;
    ensure!(reached.stdout.is_empty(), "the sandbox has a network: {reached:?}");
    let mut build = without_a_network(&["cargo", "build", "--frozen", "--profile"]);
    build.arg(package["buildType"].as_str().context("buildType")?);
    build.args(words(&package, "cargoBuildFlags")).current_dir(&source);
    build.env("CARGO_HOME", &home).env("CARGO_TARGET_DIR", work.join("target"));
    run(&mut build)?;

    let made = work.join("target/dist").join(program);
    let version = run(Command::new(&made).arg("--version"))?;
    assert_eq!(version.trim(), format!("{program} {}", env!("CARGO_PKG_VERSION")));
    // Of a program with many verbs there are many pages, which go into a directory.
    let page = if program == "relay" {
        run(Command::new(&made).arg("man"))?
    } else {
        let pages = work.join("pages");
        run(Command::new(&made).arg("man").arg(&pages))?;
        fs::read_to_string(pages.join("provision.1"))?
    };
    assert!(page.contains(&format!(".TH {program} 1")), "{page}");
    Ok(())
}
