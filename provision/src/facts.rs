//! What is known of a machine: measured here, or read from a file that was written on another one.

mod cgroup;
mod disk;
mod machine;
mod probe;

use serde::{Deserialize, Serialize};

pub use self::machine::{Place, measure};

/// A machine that is to carry a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Processors.
    pub cores: Cores,
    /// Memory.
    pub memory: Memory,
    /// The disk of the data path.
    pub disk: Disk,
    /// Limits of open files.
    pub open_files: OpenFiles,
    /// The link to the internet.
    pub network: Network,
}

/// Processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cores {
    /// Hardware threads on which this process may run.
    pub threads: u64,
    /// Cores behind these threads, where the machine tells.
    pub physical: Option<u64>,
    /// Processor time that the control group allows, in hundredths of a core.
    pub quota_percent: Option<u64>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the file of facts says the unit of each number")]
pub struct Memory {
    /// Of the machine.
    pub total_bytes: u64,
    /// What the control group allows.
    pub limit_bytes: Option<u64>,
    /// Swap.
    pub swap_bytes: u64,
}

/// How a disk is attached, as far as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    /// Flash on the machine's own PCI bus.
    Nvme,
    /// Flash behind SATA or SAS.
    Ssd,
    /// A spinning disk.
    Rotational,
    /// A volume on other machines: block storage of a cloud, iSCSI, Ceph.
    NetworkBlock,
    /// A file system on other machines, such as NFS.
    NetworkFile,
    /// A disk of a virtual machine; what lies behind it is the host's secret.
    Virtual,
    /// Memory, which a restart empties.
    Memory,
    /// A layer of a container, which goes with it.
    Layer,
    /// None of these.
    Unknown,
}

/// The disk of the data path; sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The data path that was asked for.
    pub path: String,
    /// The part of it that exists, where everything was measured.
    pub measured_at: String,
    /// Where its file system is mounted.
    pub mount: String,
    /// The type of the file system.
    pub filesystem: String,
    /// Options of the mount.
    pub options: String,
    /// The block device, without `/dev/`; empty when there is none.
    pub device: String,
    /// How it is attached.
    pub kind: DiskKind,
    /// Whether the system's own files lie on the same disk.
    pub holds_system: bool,
    /// Size of the file system.
    pub size_bytes: u64,
    /// What the relay may still fill.
    pub free_bytes: u64,
    /// What an event log in this place takes already.
    pub log_bytes: u64,
    /// Files that can still be made; `None` where the file system makes them as needed.
    pub free_inodes: Option<u64>,
    /// Synced appends of 5 kB per second; `None` when not measured.
    pub syncs_per_s: Option<u64>,
    /// Bytes per second written in a row and synced; `None` when not measured.
    pub write_bytes_per_s: Option<u64>,
}

/// Limits of open files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenFiles {
    /// What this process may raise its own limit to.
    pub hard_limit: u64,
    /// What any process may be given (`fs.nr_open`).
    pub system_limit: u64,
}

/// The link to the internet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The interface of the default route.
    pub interface: Option<String>,
    /// Its speed in Mbit/s; virtual machines often do not tell.
    pub link_mbit: Option<u64>,
    /// Traffic that is paid for each month, in bytes; `None` for no limit, or not told.
    pub monthly_bytes: Option<u64>,
}

impl Facts {
    /// Whole cores that the relay can count on: cores, not threads, within the control group's
    /// quota, one at least.
    pub fn usable_cores(&self) -> u64 {
        let cores = self.cores.physical.unwrap_or(self.cores.threads).min(self.cores.threads);
        let quota = self.cores.quota_percent.map_or(u64::MAX, |percent| percent / 100);
        cores.min(quota).max(1)
    }

    /// Memory that can be used, in bytes.
    pub fn usable_memory(&self) -> u64 {
        self.memory.limit_bytes.unwrap_or(u64::MAX).min(self.memory.total_bytes)
    }
}
