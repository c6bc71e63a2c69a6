//! What Nix reads: the directory `nixos` of a deployment, and the secrets beside it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::{
    deployment::{Deployment, Host, Remote},
    env_file::EnvFile,
    files,
};

/// Names in `env` that are the module's own matter, or this program's.
const OF_THE_MODULE: [&str; 7] = [
    "ENVIRONMENT",
    "DATABASE_URL",
    "RELAY_DATA_DIR",
    "RELAY_TRUSTED_PROXIES",
    "PROVISION_HOST",
    "PROVISION_PROVIDER",
    "PROVISION_DATABASE",
];
/// Where the configuration finds the admin password on the host.
const PASSWORD: &str = "/etc/relay-secrets/admin-password";

/// `host.json` as it was written last; `None` before.
pub(super) fn known(deployment: &Deployment) -> Result<Option<Value>> {
    let path = deployment.file("nixos/host.json");
    let Some(text) = files::read(&path)? else { return Ok(None) };
    let shown = path.display();
    let value: Value = serde_json::from_str(&text)
        .with_context(|| format!("{shown} is no JSON; remove it, and it is made anew"))?;
    ensure!(value.is_object(), "{shown} holds no host; remove it, and it is made anew");
    Ok(Some(value))
}

/// Writes `host.json`, and what is missing beside it; gives the directory.
pub(super) fn write(
    deployment: &Deployment,
    host: &Host,
    system_disk: &str,
    keys: &[String],
) -> Result<PathBuf> {
    let place = deployment.file("nixos");
    let settings = settings(deployment)?;
    let contract = json!({
        "name": host.name,
        "hostname": host.hostname,
        "ipv4": host.ipv4,
        "ipv6": host.ipv6,
        "ssh_user": host.ssh_user,
        "ssh_port": host.ssh_port,
        "provider": host.provider,
        "data_disks": host.data_disks,
        "system_disk": system_disk,
        "ssh_keys": keys,
        "settings": settings,
        "admin_password_file": PASSWORD,
    });
    let text = serde_json::to_string_pretty(&contract).context("write host.json")? + "\n";
    files::write(&place.join("host.json"), &text, 0o644)?;
    let configuration = place.join("configuration.nix");
    if !configuration.exists() {
        let example = deployment.checkout().join("nix/examples/deployed/configuration.nix");
        let text = std::fs::read_to_string(&example)
            .with_context(|| format!("read {}", example.display()))?;
        files::write(&configuration, &text, 0o644)?;
    }
    let flake = place.join("flake.nix");
    if !flake.exists() {
        let modules = deployment.checkout().join("nix/modules");
        files::write(&flake, &flake_text(&host.name, &modules.display().to_string()), 0o644)?;
    }
    Ok(place)
}

/// The settings that a person wrote; secrets have a file of their own.
fn settings(deployment: &Deployment) -> Result<Map<String, Value>> {
    let path = deployment.file("env");
    let env = EnvFile::new(files::read(&path)?.unwrap_or_default());
    let own = env.by_hand().into_iter();
    let kept = own.filter(|entry| !OF_THE_MODULE.contains(&entry.name.as_str()));
    Ok(kept.map(|entry| (entry.name, Value::String(entry.value))).collect())
}

/// A flake with nixpkgs and disko, whose lock file stays beside it. It is a person's to change.
///
/// * `modules` – the checkout's `nix/modules`
#[must_use]
pub fn flake_text(name: &str, modules: &str) -> String {
    let modules = Value::from(modules);
    format!(
        r#"# The system of this relay. It is yours: `just deploy` makes it once and keeps it. `nix flake update` here
# brings a newer NixOS.
{{
  inputs = {{
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    disko = {{
      url = "github:nix-community/disko";
      inputs.nixpkgs.follows = "nixpkgs";
    }};
  }};

  outputs =
    {{ nixpkgs, disko, ... }}:
    {{
      nixosConfigurations.{name} = nixpkgs.lib.nixosSystem {{
        modules = [
          disko.nixosModules.disko
          (import (/. + {modules})).stack
          ./configuration.nix
          {{ nixpkgs.hostPlatform = nixpkgs.lib.mkDefault "{}"; }}
        ];
      }};
    }};
}}
"#,
        format_args!("{}-linux", std::env::consts::ARCH)
    )
}

/// The secrets as they lie on the host, in a directory that is gone with the value.
pub(super) fn secrets(deployment: &Deployment) -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir().context("make a directory for the secrets")?;
    let path = dir.path().join(PASSWORD.trim_start_matches('/'));
    files::write(&path, &password(deployment)?, 0o600)?;
    Ok(dir)
}

/// Places them on a host that runs; gives whether something changed.
pub(super) async fn place_secrets(deployment: &Deployment, remote: &Remote) -> Result<bool> {
    // The password comes in the script, which is read from stdin: no list of processes shows it.
    let script = format!(
        "set -eu\npassword={}\nfile={PASSWORD}\n\
         if [ -f \"$file\" ] && [ \"$(cat \"$file\")\" = \"$password\" ]; then echo same; exit; fi\n\
         umask 077; mkdir -p \"${{file%/*}}\"; printf '%s\\n' \"$password\" >\"$file.new\"\n\
         mv \"$file.new\" \"$file\"; echo changed\n",
        quoted(password(deployment)?.trim())
    );
    let said = remote.done("place the secrets on the host", &script, &[]).await?;
    Ok(said.trim() == "changed")
}

fn password(deployment: &Deployment) -> Result<String> {
    let path = deployment.file("secrets/admin-password");
    files::read(&path)?
        .with_context(|| format!("{} is missing; `just init` makes it", path.display()))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HOST: &str = "relay: { hosts: { ash: { ansible_host: 192.0.2.7, relay_hostname: relay.example.com, \
        data_disks: [{ by_id: /dev/disk/by-id/nvme-DATA, mount: /data/relay, size_gb: 900 }] } } }\n";

    fn deployment() -> Result<(tempfile::TempDir, Deployment)> {
        let dir = tempfile::tempdir()?;
        let home = dir.path().join("deployments/ash");
        fs::create_dir_all(home.join("secrets"))?;
        fs::create_dir_all(dir.path().join("nix/examples/deployed"))?;
        fs::write(dir.path().join("nix/examples/deployed/configuration.nix"), "{ }\n")?;
        fs::create_dir(dir.path().join("ansible"))?;
        fs::write(dir.path().join("ansible/site.yml"), "")?;
        fs::write(home.join("inventory.yml"), HOST)?;
        fs::write(home.join("env"), "RELAY_DATA_DIR=/data/relay\nRELAY_REPLAY_WINDOW=48h\n")?;
        fs::write(home.join("secrets/admin-password"), "not in the store\n")?;
        let found = Deployment::open(dir.path(), Some("ash"))?;
        Ok((dir, found))
    }

    /// The contract and the settings are written anew; what a person changed beside them stays, and no
    /// secret is among what Nix copies into its store.
    #[test]
    fn what_nix_reads_is_made_and_what_is_a_persons_is_kept() -> Result<()> {
        let (_dir, deployment) = deployment()?;
        let host = deployment.host()?;
        let keys = ["ssh-ed25519 AAAA you".to_owned()];
        let place = write(&deployment, &host, "/dev/disk/by-id/nvme-SYSTEM", &keys)?;
        let written = known(&deployment)?.context("host.json")?;
        assert_eq!(written["settings"], json!({ "RELAY_REPLAY_WINDOW": "48h" }));
        assert_eq!(written["system_disk"], "/dev/disk/by-id/nvme-SYSTEM");
        fs::write(place.join("configuration.nix"), "{ mine = true; }\n")?;
        fs::write(place.join("flake.nix"), "{ }\n")?;
        write(&deployment, &host, "/dev/disk/by-id/nvme-SYSTEM", &keys)?;
        assert_eq!(fs::read_to_string(place.join("flake.nix"))?, "{ }\n");
        for entry in fs::read_dir(&place)? {
            let text = fs::read_to_string(entry?.path())?;
            assert!(!text.contains("not in the store"), "{text}");
        }
        let secrets = secrets(&deployment)?;
        let kept = secrets.path().join("etc/relay-secrets/admin-password");
        assert_eq!(fs::read_to_string(kept)?, "not in the store\n");
        Ok(())
    }

    /// A file that somebody spoilt is named, with what makes it anew; nothing of it is guessed.
    #[test]
    fn a_host_file_that_is_broken_is_named_and_not_used() -> Result<()> {
        let (_dir, deployment) = deployment()?;
        let path = deployment.file("nixos/host.json");
        assert!(known(&deployment)?.is_none(), "before the first run");
        for broken in ["", "{", "not JSON", r#"{"name": "ash""#, "[]", "7", "null", "\u{0}"] {
            files::write(&path, broken, 0o644)?;
            let refused = format!("{:#}", known(&deployment).expect_err(broken));
            assert!(refused.contains("nixos/host.json"), "{broken:?}: {refused}");
            assert!(refused.contains("remove it"), "{broken:?}: {refused}");
        }
        files::write(&path, r#"{"system_disk": "/dev/disk/by-id/nvme-SYSTEM"}"#, 0o644)?;
        let read = known(&deployment)?.context("host.json")?;
        assert_eq!(read["system_disk"], "/dev/disk/by-id/nvme-SYSTEM");
        Ok(())
    }

    #[test]
    fn a_password_is_one_word_of_the_shell() {
        assert_eq!(quoted("a'b $c"), r"'a'\''b $c'");
    }
}
