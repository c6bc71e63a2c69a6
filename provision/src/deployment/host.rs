//! The host contract of a deployment, as its inventory has it.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Deployment;
use crate::files;

/// A disk for the relay's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDisk {
    /// Its name below `/dev/disk/by-id`.
    pub by_id: String,
    /// Where it is mounted.
    pub mount: String,
    /// Its size in GB.
    pub size_gb: u64,
}

/// What runs on a host below the relay, and with that what sets it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Debian or Ubuntu, set up by Ansible.
    #[default]
    Debian,
    /// NixOS, built on this side.
    Nixos,
}

impl System {
    /// Where the operators' program is there.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Debian => "/usr/local/bin/provision",
            Self::Nixos => "/run/current-system/sw/bin/provision",
        }
    }
}

/// What every way of getting a machine ends in, and all that comes after it needs (DESIGN 7).
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// Name of the deployment.
    pub name: String,
    /// Public name of the relay.
    pub hostname: String,
    /// Where `ssh` goes.
    pub address: String,
    /// Public IPv4 address.
    pub ipv4: Option<String>,
    /// Public IPv6 address.
    pub ipv6: Option<String>,
    /// Who logs in.
    pub ssh_user: String,
    /// Port of sshd.
    pub ssh_port: u16,
    /// Disks for the data.
    pub data_disks: Vec<DataDisk>,
    /// Where the machine is had.
    pub provider: String,
    /// What runs there.
    pub os: System,
    /// Everything that Ansible knows of it: variables of the inventory, before them those of
    /// `group_vars/relay.yml` beside it, which a person writes.
    variables: Map<String, Value>,
}

#[derive(Deserialize)]
struct Inventory {
    relay: Group,
}

#[derive(Deserialize)]
struct Group {
    hosts: Map<String, Value>,
}

#[derive(Deserialize)]
struct Known {
    relay_hostname: String,
    ansible_host: Option<String>,
    ansible_user: Option<String>,
    ansible_port: Option<u16>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    data_disks: Vec<DataDisk>,
    provider: Option<String>,
    #[serde(default)]
    os: System,
}

impl Host {
    /// Reads it.
    pub(super) fn read(deployment: &Deployment) -> Result<Self> {
        let (path, name) = (deployment.inventory(), deployment.name());
        let shown = path.display();
        let text = files::read(&path)?.with_context(|| {
            format!("{shown} is not there yet: {name} has no host; type `just deploy {name}`")
        })?;
        let inventory: Inventory = serde_saphyr::from_str(&text)
            .with_context(|| format!("{shown} is no inventory with a group `relay`"))?;
        let own =
            inventory.relay.hosts.get(name).and_then(Value::as_object).with_context(|| {
                let there: Vec<_> = inventory.relay.hosts.keys().map(String::as_str).collect();
                format!(
                    "{shown} has no host {name} in the group `relay`, but: {}",
                    there.join(", ")
                )
            })?;
        let mut variables = shared(deployment)?;
        variables.extend(own.clone());
        let known: Known =
            serde_json::from_value(Value::Object(variables.clone())).with_context(|| {
                format!("{shown}: correct what it says of the host {name}, which cannot be used")
            })?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (ipv4, ipv6) = (given(known.ipv4), given(known.ipv6));
        let address = given(known.ansible_host).or_else(|| ipv4.clone()).or_else(|| ipv6.clone());
        Ok(Self {
            name: name.to_owned(),
            hostname: known.relay_hostname,
            address: address.with_context(|| format!("{shown}: the host {name} has no address"))?,
            ipv4,
            ipv6,
            ssh_user: known.ansible_user.unwrap_or_else(|| "root".to_owned()),
            ssh_port: known.ansible_port.unwrap_or(22),
            data_disks: known.data_disks,
            provider: known.provider.unwrap_or_else(|| "existing-host".to_owned()),
            os: known.os,
            variables,
        })
    }

    /// A variable that Ansible reads too, when it is a text.
    #[must_use]
    pub fn text(&self, variable: &str) -> Option<&str> {
        self.variables.get(variable).and_then(Value::as_str)
    }

    /// A variable that Ansible reads too, when it is a list of texts.
    #[must_use]
    pub fn list(&self, variable: &str) -> Option<Vec<String>> {
        let items = self.variables.get(variable)?.as_array()?.iter();
        Some(items.filter_map(Value::as_str).map(str::to_owned).collect())
    }
}

/// What a person says beside the inventory, which Terraform writes anew.
fn shared(deployment: &Deployment) -> Result<Map<String, Value>> {
    let path = deployment.file("group_vars/relay.yml");
    if !path.exists() {
        return Ok(Map::new());
    }
    let shown = path.display();
    let text = fs::read_to_string(&path).with_context(|| format!("read {shown}"))?;
    let found: Option<Map<String, Value>> =
        serde_saphyr::from_str(&text).with_context(|| format!("{shown} holds no variables"))?;
    Ok(found.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(inventory: &str) -> Result<(tempfile::TempDir, Deployment)> {
        let dir = tempfile::tempdir()?;
        let home = dir.path().join("deployments/ash");
        fs::create_dir_all(home.join("group_vars"))?;
        fs::create_dir(dir.path().join("ansible"))?;
        fs::write(dir.path().join("ansible/site.yml"), "")?;
        fs::write(home.join("inventory.yml"), inventory)?;
        let found = Deployment::open(dir.path(), Some("ash"))?;
        Ok((dir, found))
    }

    const INVENTORY: &str = "relay:
  hosts:
    ash:
      ansible_host: 192.0.2.7
      ansible_user: admin
      relay_hostname: relay.example.com
      ipv4: 192.0.2.7
      ipv6: null
      data_disks:
        - { by_id: /dev/disk/by-id/nvme-X, mount: /data/relay, size_gb: 1900 }
";

    /// What Terraform or a person wrote is read as Ansible reads it, with what is said beside it.
    #[test]
    fn the_contract_is_read_from_the_inventory() -> Result<()> {
        let (_dir, found) = deployment(INVENTORY)?;
        fs::write(found.file("group_vars/relay.yml"), "hosts_from: [bsky.network]\n")?;
        let host = found.host()?;
        assert_eq!((&*host.address, &*host.ssh_user, host.ssh_port), ("192.0.2.7", "admin", 22));
        assert_eq!((host.ipv4.as_deref(), host.ipv6.as_deref()), (Some("192.0.2.7"), None));
        assert_eq!(host.data_disks[0].mount, "/data/relay");
        assert_eq!(host.list("hosts_from"), Some(vec!["bsky.network".to_owned()]));
        Ok(())
    }

    /// A word for the system that nobody knows is refused with those that are known; the known ones are
    /// read, and without one it is Debian.
    #[test]
    fn a_system_that_is_not_known_is_refused_with_those_that_are() -> Result<()> {
        let with = |os: &str| INVENTORY.replace("      ipv6: null\n", &format!("      os: {os}\n"));
        for os in ["windows", "NixOS", "debian12", "\"\"", "7", "[nixos]"] {
            let (_dir, found) = deployment(&with(os))?;
            let refused = format!("{:#}", found.host().expect_err(os));
            assert!(refused.contains("inventory.yml"), "{os}: {refused}");
            assert!(refused.contains("correct what it says of the host ash"), "{os}: {refused}");
        }
        let (_dir, found) = deployment(&with("windows"))?;
        let refused = format!("{:#}", found.host().expect_err("windows"));
        assert!(refused.contains("`debian` or `nixos`"), "{refused}");
        for (text, os) in [
            (with("nixos"), System::Nixos),
            (with("debian"), System::Debian),
            (INVENTORY.to_owned(), System::Debian),
        ] {
            assert_eq!(deployment(&text)?.1.host()?.os, os, "{text}");
        }
        Ok(())
    }

    /// An inventory that says too little names what is missing, and one that is none is not read.
    #[test]
    fn an_inventory_that_lacks_something_says_what() -> Result<()> {
        for (text, says) in [
            (INVENTORY.replace("relay_hostname", "hostname"), "relay_hostname"),
            (INVENTORY.replace("ash:", "hil:"), "no host ash in the group `relay`, but: hil"),
            (INVENTORY.replace("192.0.2.7", "null"), "has no address"),
            ("relay: 7".to_owned(), "is no inventory"),
        ] {
            let (_dir, found) = deployment(&text)?;
            let refused = format!("{:#}", found.host().expect_err(says));
            assert!(refused.contains(says), "{says}: {refused}");
        }
        let (_dir, found) = deployment("")?;
        fs::remove_file(found.inventory())?;
        let refused = format!("{:#}", found.host().expect_err("none"));
        assert!(refused.contains("just deploy ash"), "{refused}");
        Ok(())
    }
}
