//! Hosts that run NixOS: what Ansible is for the others.
//!
//! In `deployments/NAME/nixos` stand a flake and a configuration, which are a person's once they are
//! there, and `host.json`, which is made anew each time: the host contract, the settings of `env`, the keys
//! that may log in. Nix builds the system on this side. A host with another system gets it by
//! nixos-anywhere, which erases its disks and is typed for; one that runs NixOS already gets it copied and
//! switches to it.

mod facts;
mod files;

pub use self::files::flake_text;

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use self::facts::Facts;
use super::{
    DataDisk, Deployment, Host,
    order::{Order, START_MAX},
    stop::Stop,
};
use crate::told::{Tell, Told, harmless};

/// Words that Nix needs for flakes, whatever its settings are.
const FLAKES: [&str; 2] = ["--extra-experimental-features", "nix-command flakes"];
const NO_NIX: &str = "Nix is not installed on this side; get it from https://nixos.org/download";
/// What installs NixOS over ssh.
const INSTALLER: &str = "github:nix-community/nixos-anywhere";
/// Where a system says which one it is.
const PROFILE: &str = "/nix/var/nix/profiles/system";

/// Sees that Nix is there.
pub(super) async fn programs() -> Result<String> {
    let mut nix = Command::new("nix");
    let output = nix.arg("--version").stdin(Stdio::null()).output().await.context(NO_NIX)?;
    ensure!(output.status.success(), "`nix --version` failed: {}", text(&output.stderr));
    Ok(format!("{} builds relay and system", text(&output.stdout)))
}

/// What a person types on NixOS where others have a playbook of Ansible.
pub(super) fn instead_of(book: &str, name: &str) -> String {
    let how = match book {
        "upgrade.yml" => {
            format!("get the version that you want with git, and type `just deploy {name}`")
        }
        "rollback.yml" => format!("type `just ssh {name} sudo nixos-rebuild switch --rollback`"),
        "restore.yml" => "docs/nix.md says how a backup is restored there".to_owned(),
        "destroy.yml" => {
            format!(
                "type `just ssh {name} sudo systemctl disable --now relay caddy`, and remove deployments/{name}"
            )
        }
        _ => format!("type `just deploy {name}`"),
    };
    format!("{name} runs NixOS, which Ansible does not set up: {how}")
}

/// Looks at the host; nothing is touched. A system that is to be erased has to be typed for.
pub(super) async fn disks(deployment: &Deployment, order: &Order) -> Result<String> {
    let host = deployment.host()?;
    let facts = Facts::of(deployment, &host).await?;
    if facts.is_nixos() {
        return Ok(format!("NixOS is there; {} stay as they are", shown(&host.data_disks)));
    }
    may_erase(deployment.name(), order.erase.as_deref(), &facts, &host)?;
    let system = facts.system_disk(&host, files::known(deployment)?.as_ref())?;
    Ok(format!("{} and {} will be erased", system, shown(&host.data_disks)))
}

/// Nobody loses a disk without having typed the name of the deployment, or one that holds something.
fn may_erase(name: &str, typed: Option<&str>, facts: &Facts, host: &Host) -> Result<()> {
    ensure!(
        typed == Some(name),
        "the host runs {}, and NixOS erases its disk and {}: type `just deploy {name} --erase {name}` when that is \
         meant",
        harmless(&facts.system, 80),
        shown(&host.data_disks)
    );
    for disk in &host.data_disks {
        let found = facts.find(&disk.by_id).with_context(|| {
            format!("the host has no disk {}. There are:\n{}", disk.by_id, facts.disks.list())
        })?;
        ensure!(
            found.is_blank,
            "the data disk {} is in use or not empty, and NixOS would erase it; empty it with `wipefs --all` when nobody \
             needs what is there",
            disk.by_id
        );
    }
    Ok(())
}

/// Builds the system and brings it to the host; gives what changed.
pub(super) async fn machine(
    deployment: &Deployment,
    order: &Order,
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<String> {
    let host = deployment.host()?;
    let facts = Facts::of(deployment, &host).await?;
    let known = files::known(deployment)?;
    let system_disk = facts.system_disk(&host, known.as_ref())?;
    let keys = facts.keys(known.as_ref());
    ensure!(
        !keys.is_empty(),
        "nobody could log in to the new system: the host has no authorized_keys for {} that can be read",
        host.ssh_user
    );
    let place = files::write(deployment, &host, &system_disk, &keys)?;
    tell(Told::Doing("nixos: build the system".to_owned()));
    let system = built(&place, deployment.name(), "toplevel", stop).await?;
    if facts.is_nixos() {
        return switch(deployment, &host, &facts, &system, (stop, tell)).await;
    }
    may_erase(deployment.name(), order.erase.as_deref(), &facts, &host)?;
    let script = built(&place, deployment.name(), "diskoScript", stop).await?;
    install(deployment, &host, (&script, &system), (stop, tell)).await
}

/// A part of the system of a deployment, by its path in the store.
async fn built(place: &Path, name: &str, part: &str, stop: &Stop) -> Result<String> {
    let what =
        format!("path:{}#nixosConfigurations.{name}.config.system.build.{part}", place.display());
    let mut nix = Command::new("nix");
    // The modules are those of this checkout, which is outside of the flake.
    nix.args(FLAKES).args(["build", "--impure", "--no-link", "--json", &what]);
    nix.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let output = tokio::select! {
        output = nix.output() => output.context(NO_NIX)?,
        () = stop.wait() => bail!("it was interrupted"),
    };
    ensure!(
        output.status.success(),
        "Nix did not build {part} of {}: {}",
        place.display(),
        last_words(&output.stderr)
    );
    made(&output.stdout).with_context(|| format!("build {part} of {}", place.display()))
}

/// The path in the answer of `nix build --json`.
fn made(answer: &[u8]) -> Result<String> {
    let not_understood = || {
        format!(
            "`nix build --json` answered what is not understood: `{}`; see `nix --version`, which has to be 2.4 or \
             newer, and whether a `nix` of your own comes first in PATH",
            harmless(&text(answer), 200)
        )
    };
    let made: Value = serde_json::from_slice(answer).with_context(not_understood)?;
    let path = made[0]["outputs"]["out"].as_str().with_context(not_understood)?;
    ensure!(path.starts_with("/nix/store/"), "{}", not_understood());
    Ok(path.to_owned())
}

/// Erases, and installs.
async fn install(
    deployment: &Deployment,
    host: &Host,
    (script, system): (&str, &str),
    (stop, tell): (&Stop, &mut Tell<'_>),
) -> Result<String> {
    let secrets = files::secrets(deployment)?;
    tell(Told::Doing(format!("nixos: install it on {}", host.address)));
    let mut nix = Command::new("nix");
    nix.args(FLAKES).args(["run", INSTALLER, "--", "--store-paths", script, system]);
    nix.arg("--extra-files").arg(secrets.path());
    nix.args(["--ssh-port", &host.ssh_port.to_string()]);
    if let Some(key) = host.text("ansible_ssh_private_key_file") {
        nix.args(["-i", key]);
    }
    nix.args(["--target-host", &format!("{}@{}", host.ssh_user, host.address)]);
    let status = tokio::select! {
        status = nix.stdin(Stdio::null()).kill_on_drop(true).status() => status.context(NO_NIX)?,
        () = stop.wait() => bail!("it was interrupted"),
    };
    ensure!(status.success(), "nixos-anywhere did not install it: see what it says above");
    // The new system shows other keys.
    let known = deployment.file("known_hosts");
    if known.exists() {
        std::fs::remove_file(&known).with_context(|| format!("remove {}", known.display()))?;
    }
    let remote = deployment.remote()?;
    tokio::select! {
        reached = remote.wait(START_MAX, tell) => reached?,
        () = stop.wait() => bail!("it was interrupted"),
    }
    Ok(format!("installed {system}"))
}

/// What the host does: the profile first, so that a start of the machine finds the new system too. A
/// system that does not start its services well is said to, and stays for a person to look at.
const SWITCH: &str = r#"set -eu
nix-env --profile "$2" --set "$1"
exec "$1/bin/switch-to-configuration" switch
"#;

/// Copies it, and switches to it.
async fn switch(
    deployment: &Deployment,
    host: &Host,
    facts: &Facts,
    system: &str,
    (stop, tell): (&Stop, &mut Tell<'_>),
) -> Result<String> {
    let remote = deployment.remote()?;
    let has_secrets = files::place_secrets(deployment, &remote).await?;
    if facts.current == system && !has_secrets {
        return Ok("0 changed (the system is the same)".to_owned());
    }
    tell(Told::Doing(format!("nixos: copy the system to {}", host.address)));
    let words = remote.ssh(false);
    let mut nix = Command::new("nix");
    nix.args(FLAKES).args(["copy", "--substitute-on-destination", "--to"]);
    nix.arg(format!("ssh://{}", remote.destination())).arg(system);
    nix.env("NIX_SSHOPTS", words.get(1..).unwrap_or_default().join(" "));
    nix.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::select! {
        output = nix.output() => output.context(NO_NIX)?,
        () = stop.wait() => bail!("it was interrupted"),
    };
    ensure!(output.status.success(), "the host does not take it: {}", last_words(&output.stderr));
    tell(Told::Doing("nixos: switch to the new system".to_owned()));
    let said = remote.run(SWITCH, &[system, PROFILE]).await?;
    ensure!(
        said.code == 0,
        "the host did not switch to {system} ({}); the one before is back with \
         `just ssh {} sudo nixos-rebuild switch --rollback`",
        harmless(said.last_line(), 300),
        deployment.name()
    );
    Ok(format!("switched to {system}"))
}

fn shown(disks: &[DataDisk]) -> String {
    let shown = disks.iter().map(|disk| format!("{} at {}", disk.by_id, disk.mount));
    shown.collect::<Vec<_>>().join(", ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// What a program said last, for a sentence.
fn last_words(bytes: &[u8]) -> String {
    let said = text(bytes);
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(8)..).unwrap_or(&lines).join(" ");
    harmless(&last, 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "relay:
  hosts:
    ash:
      ansible_host: 192.0.2.7
      relay_hostname: relay.example.com
      os: nixos
      data_disks:
        - { by_id: /dev/disk/by-id/nvme-DATA, mount: /data/relay, size_gb: 1900 }
";

    fn host() -> Result<(tempfile::TempDir, Host)> {
        let dir = tempfile::tempdir()?;
        let home = dir.path().join("deployments/ash");
        std::fs::create_dir_all(&home)?;
        std::fs::create_dir(dir.path().join("ansible"))?;
        std::fs::write(dir.path().join("ansible/site.yml"), "")?;
        std::fs::write(home.join("inventory.yml"), HOST)?;
        let host = Deployment::open(dir.path(), Some("ash"))?.host()?;
        Ok((dir, host))
    }

    fn facts(state: &str) -> Result<Facts> {
        Facts::read(&format!(
            "system debian Debian GNU/Linux 12\ncurrent \ndisk /dev/sda 40000000000 used ata-SYSTEM\n\
             disk /dev/sdb 800000000000 {state} nvme-DATA\n"
        ))
    }

    /// Verbs that are Ansible's elsewhere say what to type instead; none is left without an answer.
    #[test]
    fn verbs_of_ansible_say_what_to_type_on_nixos() {
        for (book, says) in [
            ("upgrade.yml", "just deploy ash"),
            ("rollback.yml", "--rollback"),
            ("restore.yml", "docs/nix.md"),
            ("destroy.yml", "deployments/ash"),
            ("site.yml", "just deploy ash"),
        ] {
            let said = instead_of(book, "ash");
            assert!(said.contains("NixOS") && said.contains(says), "{said}");
        }
    }

    /// An answer of Nix that is no JSON, or JSON of something else, is shown with what to look at; nothing
    /// of it is taken for a path.
    #[test]
    fn an_answer_of_nix_that_is_not_understood_is_shown() -> Result<()> {
        let right =
            br#"[{"drvPath": "/nix/store/a.drv", "outputs": {"out": "/nix/store/a-system"}}]"#;
        assert_eq!(made(right)?, "/nix/store/a-system");
        for wrong in [
            "",
            "error: no such flag",
            "{",
            "[]",
            "null",
            r#"{"outputs": {"out": "/nix/store/a"}}"#,
            r#"[{"outputs": {}}]"#,
            r#"[{"outputs": {"out": 7}}]"#,
            r#"[{"outputs": {"out": "/etc/passwd"}}]"#,
            r#"[{"outputs": {"out": "--flag"}}]"#,
        ] {
            let refused = format!("{:#}", made(wrong.as_bytes()).expect_err(wrong));
            assert!(refused.contains("`nix build --json`"), "{wrong}: {refused}");
            assert!(refused.contains("nix --version"), "{wrong}: {refused}");
        }
        let terminal = format!("{:#}", made(b"\x1b[2Jgone").expect_err("a terminal's word"));
        assert!(!terminal.contains('\x1b'), "{terminal}");
        Ok(())
    }

    /// A host with another system is erased only when its deployment's name was typed, and only while
    /// nothing is on the disks for the data; the refusal says what to type, and what would be lost.
    #[test]
    fn a_disk_is_erased_only_when_it_was_typed_and_is_blank() -> Result<()> {
        let (_dir, host) = host()?;
        for typed in [None, Some("hil"), Some("")] {
            let refused = may_erase("ash", typed, &facts("blank")?, &host).expect_err("not typed");
            let said = refused.to_string();
            assert!(said.contains("--erase ash") && said.contains("Debian GNU/Linux 12"), "{said}");
            assert!(said.contains("nvme-DATA"), "{said}");
        }
        may_erase("ash", Some("ash"), &facts("blank")?, &host)?;
        let used = may_erase("ash", Some("ash"), &facts("used")?, &host).expect_err("used");
        assert!(used.to_string().contains("wipefs"), "{used}");
        let other = Facts::read("system debian Debian\ncurrent \ndisk /dev/sda 4 used ata-S\n")?;
        let missing = may_erase("ash", Some("ash"), &other, &host).expect_err("missing");
        assert!(missing.to_string().contains("has no disk"), "{missing}");
        Ok(())
    }
}
