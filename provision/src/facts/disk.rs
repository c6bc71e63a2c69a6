//! The disk below a path: its mount, its device, and how that is attached. Reads `proc` and `sys`
//! below a given root, so that a test can lay out any machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::DiskKind;

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// `MAJOR:MINOR`.
    pub(super) number: String,
    pub(super) point: PathBuf,
    pub(super) filesystem: String,
    pub(super) source: String,
    /// Options of the mount and of the file system.
    pub(super) options: String,
}

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// Name of what the file system lies on, `md0` or `nvme1n1p1`.
    pub(super) name: String,
    /// Names of the disks below it.
    pub(super) disks: Vec<String>,
    pub(super) kind: DiskKind,
}

/// File systems that lie on other machines.
const NETWORK_FILES: [&str; 8] =
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "fuse.sshfs", "fuse.glusterfs"];

/// Makers and models of volumes that providers attach over their network.
const VOLUMES: [(&str, &str); 5] = [
    ("HC", "Volume"),                   // Hetzner Cloud
    ("DO", "Volume"),                   // DigitalOcean
    ("", "Amazon Elastic Block Store"), // EBS, shown as NVMe
    ("Google", "PersistentDisk"),       // Google Cloud
    ("Linode", "Volume"),               // Akamai
];

/// The mount that holds an absolute path.
pub(super) fn mount_of(root: &Path, path: &Path) -> Option<Mount> {
    let text = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mounts = text.lines().filter_map(mount).filter(|mount| path.starts_with(&mount.point));
    // Of two mounts on one point the later one is seen.
    mounts.max_by_key(|mount| mount.point.components().count())
}

fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let options = [left.get(5)?, *right.get(2).unwrap_or(&"")];
    Some(Mount {
        number: (*left.get(2)?).to_owned(),
        // Spaces in names are written as \040.
        point: PathBuf::from(left.get(4)?.replace("\\040", " ")),
        filesystem: (*right.first()?).to_owned(),
        source: (*right.get(1)?).to_owned(),
        options: options.join(","),
    })
}

/// The device of a mount, and how it is attached.
pub(super) fn device_of(root: &Path, mount: &Mount) -> Device {
    let none = |kind| Device { name: String::new(), disks: Vec::new(), kind };
    match mount.filesystem.as_str() {
        "tmpfs" | "ramfs" => return none(DiskKind::Memory),
        "overlay" | "aufs" => return none(DiskKind::Layer),
        name if NETWORK_FILES.contains(&name) => return none(DiskKind::NetworkFile),
        _ => {}
    }
    // btrfs and ZFS have numbers of their own; btrfs names its device.
    let by_number = root.join("sys/dev/block").join(&mount.number);
    let by_name =
        mount.source.strip_prefix("/dev/").map(|name| root.join("sys/class/block").join(name));
    let found =
        [Some(by_number), by_name].into_iter().flatten().find_map(|dir| dir.canonicalize().ok());
    let Some(dir) = found else { return none(DiskKind::Unknown) };
    let mut disks = Vec::new();
    whole_disks(&dir, 0, &mut disks);
    let kinds: Vec<DiskKind> = disks.iter().map(|dir| kind(dir)).collect();
    // A mirror is as slow as its slowest half.
    let worst = [
        DiskKind::Rotational,
        DiskKind::NetworkBlock,
        DiskKind::Virtual,
        DiskKind::Ssd,
        DiskKind::Nvme,
    ];
    let kind = worst.into_iter().find(|kind| kinds.contains(kind)).unwrap_or(DiskKind::Unknown);
    Device { name: name(&dir), disks: disks.iter().map(|dir| name(dir)).collect(), kind }
}

/// Follows partitions to their disk, and RAID and LVM to what they are made of.
fn whole_disks(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    // No stack of devices is deeper; a loop of links must end.
    if depth > 8 {
        return;
    }
    if dir.join("partition").exists() {
        if let Some(disk) = dir.parent() {
            whole_disks(disk, depth + 1, found);
        }
        return;
    }
    let slaves: Vec<PathBuf> = fs::read_dir(dir.join("slaves"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.path().canonicalize().ok())
        .collect();
    if slaves.is_empty() {
        found.push(dir.to_path_buf());
    }
    for slave in slaves {
        whole_disks(&slave, depth + 1, found);
    }
    found.sort();
    found.dedup();
}

fn kind(disk: &Path) -> DiskKind {
    let read =
        |file: &str| fs::read_to_string(disk.join(file)).unwrap_or_default().trim().to_owned();
    let (vendor, model) = (read("device/vendor"), read("device/model"));
    let name = name(disk);
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let volume = VOLUMES.iter().any(|(maker, product)| {
        model.starts_with(product) && (maker.is_empty() || vendor == *maker)
    });
    // iSCSI disks hang below a session; NVMe over a network has another transport than PCIe.
    let session =
        disk.components().any(|part| part.as_os_str().to_string_lossy().starts_with("session"));
    let transport = read("device/transport");
    if volume || session || is(&["rbd", "nbd", "drbd"]) {
        DiskKind::NetworkBlock
    } else if is(&["nvme"]) {
        if matches!(transport.as_str(), "tcp" | "rdma" | "fc") {
            DiskKind::NetworkBlock
        } else {
            DiskKind::Nvme
        }
    } else if is(&["vd", "xvd"]) || model.starts_with("QEMU") || model.starts_with("Virtual") {
        // They call themselves rotational whatever they are.
        DiskKind::Virtual
    } else {
        match read("queue/rotational").as_str() {
            // What lies below a file or in memory is another question.
            _ if is(&["loop", "zram", "ram"]) => DiskKind::Unknown,
            "1" => DiskKind::Rotational,
            "0" => DiskKind::Ssd,
            _ => DiskKind::Unknown,
        }
    }
}

fn name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(mounts: &[&str]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            machine.write("proc/self/mountinfo", &mounts.join("\n"));
            machine
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A device directory with these files, known under a number.
        fn device(&self, dir: &str, number: &str, files: &[(&str, &str)]) {
            fs::create_dir_all(self.0.path().join("sys").join(dir)).unwrap();
            for (file, text) in files {
                self.write(&format!("sys/{dir}/{file}"), text);
            }
            let numbers = self.0.path().join("sys/dev/block");
            fs::create_dir_all(&numbers).unwrap();
            symlink(self.0.path().join("sys").join(dir), numbers.join(number)).unwrap();
        }

        fn found(&self, path: &str) -> Device {
            let mount = mount_of(self.0.path(), Path::new(path)).unwrap();
            device_of(self.0.path(), &mount)
        }
    }

    const ROOT: &str = "26 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw";

    /// The data directory lies on the longest mount point above it, and options of both kinds show.
    #[test]
    fn the_nearest_mount_above_a_path_is_its_mount() {
        let machine = Machine::new(&[
            ROOT,
            "40 26 259:2 / /data rw,noatime shared:2 - xfs /dev/nvme1n1p1 rw,attr2,logbufs=8",
            "41 26 259:9 / /data-other rw - ext4 /dev/nvme9n1 rw",
            "42 26 0:44 / /with\\040space rw - tmpfs none rw",
        ]);
        let mount = |path: &str| mount_of(machine.0.path(), Path::new(path)).unwrap();
        assert_eq!(mount("/data/relay/persist").filesystem, "xfs");
        assert_eq!(mount("/data/relay").options, "rw,noatime,rw,attr2,logbufs=8");
        assert_eq!(mount("/datax").filesystem, "ext4");
        assert_eq!(mount("/with space/x").filesystem, "tmpfs");
        assert_eq!(machine.found("/with space/x").kind, DiskKind::Memory);
    }

    /// Two mirrored flash disks are flash; with one spinning half the whole is as slow as that.
    #[test]
    fn a_mirror_is_what_its_slowest_disk_is() {
        for (second, expected) in [("0", DiskKind::Nvme), ("1", DiskKind::Rotational)] {
            let machine = Machine::new(&["26 1 9:0 / / rw - xfs /dev/md0 rw"]);
            machine.device("devices/virtual/block/md0", "9:0", &[("size", "1")]);
            let nvme = "devices/pci/nvme/nvme0/nvme0n1";
            machine.device(
                nvme,
                "259:0",
                &[("queue/rotational", "0"), ("nvme0n1p2/partition", "2")],
            );
            let other = if second == "0" {
                "devices/pci/nvme/nvme1/nvme1n1"
            } else {
                "devices/pci/ata1/sdb"
            };
            machine.device(other, "259:1", &[("queue/rotational", second)]);
            let slaves = machine.0.path().join("sys/devices/virtual/block/md0/slaves");
            fs::create_dir_all(&slaves).unwrap();
            symlink(
                machine.0.path().join("sys").join(nvme).join("nvme0n1p2"),
                slaves.join("nvme0n1p2"),
            )
            .unwrap();
            symlink(machine.0.path().join("sys").join(other), slaves.join("b")).unwrap();
            let found = machine.found("/data");
            assert_eq!((found.name.as_str(), found.kind, found.disks.len()), ("md0", expected, 2));
        }
    }

    /// A volume of a cloud calls itself a disk; the person is told that it is none.
    #[test]
    fn volumes_of_a_network_are_told_from_disks() {
        for (dir, files, expected) in [
            (
                "devices/pci/virtio/host2/target/sdb",
                &[
                    ("device/vendor", "HC      \n"),
                    ("device/model", "Volume          \n"),
                    ("queue/rotational", "1"),
                ][..],
                DiskKind::NetworkBlock,
            ),
            (
                "devices/pci/nvme/nvme2/nvme2n1",
                &[("device/model", "Amazon Elastic Block Store"), ("queue/rotational", "0")],
                DiskKind::NetworkBlock,
            ),
            (
                "devices/pci/nvme/nvme2/nvme2n1",
                &[("device/transport", "tcp\n")],
                DiskKind::NetworkBlock,
            ),
            (
                "devices/platform/host3/session1/target/sdc",
                &[("queue/rotational", "0")],
                DiskKind::NetworkBlock,
            ),
            ("devices/rbd/0/rbd0", &[], DiskKind::NetworkBlock),
            ("devices/pci/virtio3/vda", &[("queue/rotational", "1")], DiskKind::Virtual),
            (
                "devices/pci/host1/sda",
                &[("device/model", "QEMU HARDDISK"), ("queue/rotational", "1")],
                DiskKind::Virtual,
            ),
            (
                "devices/pci/ata1/sda",
                &[("device/model", "ST4000"), ("queue/rotational", "1")],
                DiskKind::Rotational,
            ),
            ("devices/pci/ata1/sda", &[("queue/rotational", "0")], DiskKind::Ssd),
        ] {
            let machine = Machine::new(&["26 1 8:16 / /data rw - xfs /dev/x rw"]);
            machine.device(dir, "8:16", files);
            assert_eq!(machine.found("/data/relay").kind, expected, "{dir} {files:?}");
        }
        let machine = Machine::new(&[
            "26 1 0:50 / /data rw - nfs4 host:/x rw",
            "2 1 0:4 / /c rw - overlay overlay rw",
        ]);
        assert_eq!(machine.found("/data").kind, DiskKind::NetworkFile);
        assert_eq!(machine.found("/c").kind, DiskKind::Layer);
    }
}
