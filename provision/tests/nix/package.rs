//! The package, the image, the flake, and the tests for machines: what is seen of them without nixpkgs.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{binaries::root, evaluator::evaluate};

/// A container that Nix made has the ports, the volume and the environment of the one that `provision
/// image` made: who changes from the one to the other loses nothing.
#[test]
fn the_image_of_nix_is_told_what_every_image_is_told() -> Result<()> {
    let expected = format!("{:#}\n", provision::image::relay_container());
    let path = root().join("nix/image.json");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected)?;
    }
    assert!(
        fs::read_to_string(&path)? == expected,
        "nix/image.json is out of date; type `UPDATE=1 cargo test --release -p provision --test nix`"
    );
    Ok(())
}

/// The same description, seen through `nix/container.nix`.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn the_image_has_the_entry_point_and_a_user_of_its_own() -> Result<()> {
    let image: Value = evaluate("package.container", "")?;
    assert_eq!(image["config"], provision::image::relay_container());
    assert_eq!(image["created"], "1970-01-01T00:00:00Z");
    let commands = image["fakeRootCommands"].as_str().context("commands")?;
    assert!(commands.contains("chown 10001:10001 data\n"), "{commands}");
    let files = image["contents"][0].as_str().context("files")?;
    assert!(files.contains("ln -s /relay/bin/relay $out/usr/local/bin/relay"), "{files}");
    Ok(())
}

/// A package that names a file or a program that is gone fails on the machine of whoever installs it.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn the_package_is_made_of_what_is_there() -> Result<()> {
    for program in ["relay", "provision"] {
        let package: Value = evaluate(&format!("package.{program}"), "")?;
        let files: BTreeMap<String, bool> = serde_json::from_value(package["files"].clone())?;
        assert!(files.len() > 4 && files.values().all(|is_there| *is_there), "{files:?}");
        assert_eq!(package["lock"], true);
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(package["meta"]["mainProgram"], program);
        assert_eq!(package["cargoBuildFlags"], json!(["--package", program, "--bin", program]));
    }
    Ok(())
}

/// What the packages install besides the program is what the program says of itself.
#[test]
fn the_program_tells_its_completions_and_pages() -> Result<()> {
    let provision = env!("CARGO_BIN_EXE_provision");
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(provision).args(["completions", shell]).output()?;
        let text = String::from_utf8(output.stdout)?;
        assert!(output.status.success(), "{shell}");
        for word in ["tune", "backup", "prune", "monthly-traffic"] {
            assert!(text.contains(word), "{shell} does not complete {word}");
        }
    }
    let dir = tempfile::tempdir()?;
    let pages = dir.path().join("man");
    assert!(Command::new(provision).arg("man").arg(&pages).status()?.success());
    let names: Vec<String> = fs::read_dir(&pages)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    for name in ["provision.1", "provision-tune.1", "provision-backup-verify.1"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
    let file = dir.path().join("file");
    fs::write(&file, "")?;
    let refused = Command::new(provision).arg("man").arg(file.join("man")).output()?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("make "));
    Ok(())
}

/// A shell that reads completions with a mistake says so at every start.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn shells_read_the_completions_of_both_programs() -> Result<()> {
    let relay = crate::binaries::relay()?;
    for program in [relay.as_path(), Path::new(env!("CARGO_BIN_EXE_provision"))] {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("completions");
        fs::write(&file, Command::new(program).args(["completions", "bash"]).output()?.stdout)?;
        let output = Command::new("bash").arg("-n").arg(&file).output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let name = program.file_name().context("a name")?.to_string_lossy().into_owned();
        let last = fs::read_to_string(&file)?;
        assert!(last.trim_end().lines().any(|line| line.ends_with(&format!("default {name}"))));
    }
    let page = Command::new(&relay).arg("man").output()?;
    assert!(String::from_utf8(page.stdout)?.contains(".TH relay 1"));
    Ok(())
}

/// Whoever adds the flake finds what its page promises; and it stays short enough to be read.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn the_flake_has_what_it_promises() -> Result<()> {
    assert!(fs::read_to_string(root().join("flake.nix"))?.lines().count() < 100);
    let flake: Value = evaluate("flake", "")?;
    assert_eq!(flake["packages"], json!(["container", "default", "provision", "relay"]));
    assert_eq!(flake["modules"], json!(["default", "relay", "stack"]));
    assert_eq!(flake["example"], "AT Protocol relay relay.example.com");
    let names = [
        "apps",
        "checks",
        "devShells",
        "formatter",
        "nixosConfigurations",
        "nixosModules",
        "overlays",
        "packages",
    ];
    assert_eq!(flake["names"], json!(names));
    let checks = flake["checks"].as_object().context("checks")?;
    for name in ["relay", "container", "machine-relay", "machine-minimal", "disks", "example-full"]
    {
        assert!(checks.contains_key(name), "{checks:?}");
    }
    Ok(())
}

/// A test for machines whose script is no Python fails after minutes of building, on somebody's machine.
#[test]
#[ignore = "needs Nix and Python; type `just stage build,nix`"]
fn the_scripts_of_the_tests_for_machines_are_python() -> Result<()> {
    let tests: BTreeMap<String, Value> = evaluate("scripts", "")?;
    assert!(tests.len() >= 2, "{:?}", tests.keys());
    for (name, test) in tests {
        let machines = test["machines"].as_object().context("machines")?;
        assert!(machines.values().all(|machine| machine["wrong"] == json!([])), "{machines:?}");
        let serves = |machine: &Value| machine["units"].to_string().contains("\"relay\"");
        assert!(machines.values().any(serves), "{name}: {machines:?}");
        let script = test["script"].as_str().context("a script")?;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("script.py");
        fs::write(&file, script)?;
        let output = Command::new("python3").args(["-m", "py_compile"]).arg(&file).output()?;
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
