//! Disks and addresses of a host, as a script there finds them.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};

use crate::{deployment::DataDisk, told::harmless};

const BY_ID: &str = "/dev/disk/by-id/";

/// Says each whole disk with its names, and whether nothing at all is known to be on it; and the
/// addresses under which others find the host. Only a proposal comes of it: Ansible proves that a disk is
/// empty before it touches it.
pub(in crate::deployment) const SCRIPT: &str = r#"set -u
PATH=$PATH:/usr/sbin:/sbin
for device in $(for link in /dev/disk/by-id/*; do [ -e "$link" ] && readlink -f "$link"; done | sort -u); do
  type=$(lsblk --noheadings --nodeps --output TYPE "$device" 2>/dev/null) || continue
  case $type in disk | loop) ;; *) continue ;; esac
  size=$(blockdev --getsize64 "$device" 2>/dev/null) || continue
  state=blank
  [ -z "$(wipefs --no-act --noheadings "$device" 2>/dev/null)" ] || state=used
  [ "$(lsblk --noheadings --output NAME "$device" | wc -l)" = 1 ] || state=used
  ! grep -q "^$device " /proc/mounts || state=used
  names=
  for link in /dev/disk/by-id/*; do
    [ "$(readlink -f "$link")" != "$device" ] || names="$names ${link##*/}"
  done
  echo "disk $device $size $state$names"
done
ip -oneline address show scope global | while read -r _ _ family address rest; do
  case "$rest $address" in *temporary* | *deprecated* | *' fd'* | *' fc'*) continue ;; esac
  echo "address ${address%/*} $family"
done
"#;

/// A disk of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its best name.
    pub by_id: String,
    /// All its names below `/dev/disk/by-id`.
    pub names: Vec<String>,
    /// What it is called until the next start.
    pub device: String,
    /// Its size.
    pub bytes: u64,
    /// Whether nothing is known to be on it.
    pub is_blank: bool,
}

impl Disk {
    /// It as a part of the host contract.
    #[must_use]
    pub fn at(&self, mount: &str) -> DataDisk {
        let (by_id, mount) = (self.by_id.clone(), mount.to_owned());
        DataDisk { by_id, mount, size_gb: self.gigabytes() }
    }

    fn gigabytes(&self) -> u64 {
        self.bytes / 1_000_000_000
    }
}

/// What a host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its disks.
    pub disks: Vec<Disk>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Found {
    /// The disks, one a line.
    #[must_use]
    pub fn list(&self) -> String {
        let lines = self.disks.iter().map(|disk| {
            let state = if disk.is_blank { "blank" } else { "in use, or not empty" };
            format!("  {}  {} GB, {}, {state}", disk.by_id, disk.gigabytes(), disk.device)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Reads what the script said.
///
/// # Errors
/// When it is something else.
pub fn read(said: &str) -> Result<Found> {
    let mut found = Found::default();
    for line in said.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match &*words {
            ["disk", device, bytes, state, names @ ..] if !names.is_empty() => {
                let names: Vec<_> = names.iter().map(|name| format!("{BY_ID}{name}")).collect();
                let by_id = names.iter().min_by_key(|name| rank(name)).context("a name")?.clone();
                found.disks.push(Disk {
                    by_id,
                    device: (*device).to_owned(),
                    bytes: bytes.parse().with_context(|| format!("the size of {device}"))?,
                    is_blank: *state == "blank",
                    names,
                });
            }
            ["address", address, ..] => {
                found.addresses.push(address.parse().context("an address of the host")?);
            }
            _ => bail!("the host said something strange of its disks: {}", harmless(line, 200)),
        }
    }
    Ok(found)
}

/// Names that say what a disk is come before numbers that only a machine reads.
fn rank(name: &str) -> (u8, usize) {
    let bare = name.trim_start_matches(BY_ID);
    let number = bare.starts_with("wwn-") || bare.starts_with("nvme-eui.");
    (u8::from(number), bare.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a host says becomes disks with their best names, and its addresses; anything else is refused.
    #[test]
    fn disks_and_addresses_are_read() -> Result<()> {
        let found = read(
            "disk /dev/nvme0n1 1920383410176 blank nvme-SAMSUNG_X_S1 nvme-SAMSUNG_X_S1_1 nvme-eui.36\n\
             disk /dev/sda 480103981056 used wwn-0x5 ata-INTEL_Y\n\
             address 192.0.2.7 inet\naddress 2001:db8::7 inet6\n",
        )?;
        assert_eq!(found.disks[0].by_id, "/dev/disk/by-id/nvme-SAMSUNG_X_S1");
        assert_eq!(found.disks[0].at("/data/relay").size_gb, 1920);
        assert_eq!(found.disks[1].by_id, "/dev/disk/by-id/ata-INTEL_Y");
        assert_eq!(found.addresses.len(), 2);
        assert!(found.list().contains("ata-INTEL_Y  480 GB, /dev/sda, in use"), "{}", found.list());
        for wrong in ["disk /dev/sda", "disk /dev/sda many blank x", "address here inet", "hello"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        Ok(())
    }
}
