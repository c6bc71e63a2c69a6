//! What a host says of itself before NixOS is brought to it.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::deployment::{
    Deployment, Host,
    begin::disks::{self, Disk, Found},
};

/// Its system, and who may log in. The disks are asked for by the script that `init` has.
const SCRIPT: &str = r#"set -u
. /etc/os-release
echo "system $ID $PRETTY_NAME"
echo "current $(readlink -f /run/current-system 2>/dev/null)"
for file in /root/.ssh/authorized_keys "$(getent passwd "$1" | cut -d: -f6)/.ssh/authorized_keys" \
  /etc/ssh/authorized_keys.d/root "/etc/ssh/authorized_keys.d/$1"; do
  [ ! -r "$file" ] || sed 's/^/key /' "$file"
done
"#;

/// How lines with keys begin that let people in without conditions.
const KEY_KINDS: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];

/// What it said.
#[derive(Debug)]
pub(super) struct Facts {
    /// Name of the system in `os-release`.
    id: String,
    /// The same for people.
    pub(super) system: String,
    /// The system of NixOS that runs, by its path in the store; empty elsewhere.
    pub(super) current: String,
    /// Keys that may log in now.
    keys: Vec<String>,
    pub(super) disks: Found,
}

impl Facts {
    /// Asks it.
    pub(super) async fn of(deployment: &Deployment, host: &Host) -> Result<Self> {
        let script = format!("{SCRIPT}\n{}", disks::SCRIPT);
        let remote = deployment.remote()?;
        let said = remote.done("look at the host", &script, &[&host.ssh_user]).await?;
        Self::read(&said)
    }

    /// Reads what the script says.
    pub(super) fn read(said: &str) -> Result<Self> {
        let begins = |word: &'static str| {
            said.lines().filter_map(move |line| line.strip_prefix(word)).map(str::trim)
        };
        let system = begins("system ").next().context("the host does not say what it runs")?;
        let (id, system) = system.split_once(' ').unwrap_or((system, system));
        let mut keys: Vec<String> = Vec::new();
        for key in begins("key ").filter(|key| KEY_KINDS.iter().any(|kind| key.starts_with(kind))) {
            if !keys.iter().any(|known| known == key) {
                keys.push(key.to_owned());
            }
        }
        let is_disk = |line: &&str| line.starts_with("disk ") || line.starts_with("address ");
        let disks: Vec<&str> = said.lines().filter(is_disk).collect();
        Ok(Self {
            id: id.to_owned(),
            system: system.to_owned(),
            current: begins("current").next().unwrap_or_default().to_owned(),
            keys,
            disks: disks::read(&disks.join("\n"))?,
        })
    }

    /// Whether NixOS is there already.
    pub(super) fn is_nixos(&self) -> bool {
        self.id == "nixos"
    }

    /// A disk by any of its names.
    pub(super) fn find(&self, by_id: &str) -> Option<&Disk> {
        let disks = self.disks.disks.iter();
        disks
            .into_iter()
            .find(|disk| disk.by_id == by_id || disk.names.iter().any(|name| name == by_id))
    }

    /// The disk of the system: the one that a person named, that is known from before, or the only one
    /// that is not for data.
    ///
    /// * `known` – what `host.json` said last
    pub(super) fn system_disk(&self, host: &Host, known: Option<&Value>) -> Result<String> {
        if let Some(named) = host.text("nixos_system_disk") {
            return Ok(named.to_owned());
        }
        if let Some(before) = known.and_then(|known| known["system_disk"].as_str()) {
            return Ok(before.to_owned());
        }
        let is_data = |disk: &&Disk| {
            host.data_disks
                .iter()
                .any(|data| data.by_id == disk.by_id || disk.names.contains(&data.by_id))
        };
        let others: Vec<&Disk> = self.disks.disks.iter().filter(|disk| !is_data(disk)).collect();
        match &*others {
            [only] => Ok(only.by_id.clone()),
            _ => bail!(
                "it is not clear which disk is for the system; write `nixos_system_disk: /dev/disk/by-id/…` into \
                 group_vars/relay.yml of the deployment. There are:\n{}",
                self.disks.list()
            ),
        }
    }

    /// Keys that may log in: those that may now, and those from before.
    pub(super) fn keys(&self, known: Option<&Value>) -> Vec<String> {
        let before = known.and_then(|known| known["ssh_keys"].as_array()).into_iter().flatten();
        let mut keys: Vec<String> = before.filter_map(Value::as_str).map(str::to_owned).collect();
        for key in &self.keys {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SAID: &str = "system nixos NixOS 26.05 (Xantusia)
current /nix/store/abc-nixos-system-ash
key ssh-ed25519 AAAA you@example.com
key # a comment
key command=\"echo no\" ssh-ed25519 BBBB
key ssh-ed25519 AAAA you@example.com
disk /dev/vda 40000000000 used virtio-SYSTEM
address 192.0.2.7 inet
";

    /// Whoever came in with a key comes in again; keys with conditions are not handed on without them.
    #[test]
    fn a_host_is_read() -> Result<()> {
        let facts = Facts::read(SAID)?;
        assert!(facts.is_nixos());
        assert_eq!(facts.current, "/nix/store/abc-nixos-system-ash");
        assert_eq!(facts.keys(None), ["ssh-ed25519 AAAA you@example.com"]);
        let before = json!({ "ssh_keys": ["ssh-ed25519 CCCC other"] });
        assert_eq!(facts.keys(Some(&before)).len(), 2);
        assert!(Facts::read("").is_err());
        Ok(())
    }
}
