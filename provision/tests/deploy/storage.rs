//! The role `storage` on disks of every kind. Each disk is that of a host of its own; all hosts are
//! this machine, and are played at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    ansible::{Played, play},
    disks::{Disk, Mounts, partitions, raid_member, run, volume_of_lvm},
    root,
};

const GB: u64 = 1_000_000_000;

/// Directories, disks and hosts of one test.
pub(crate) struct Bench {
    // In this order: what uses the disks goes before the disks, and they before their directory.
    pub(crate) mounts: Mounts,
    pub(crate) disks: Vec<Disk>,
    hosts: serde_json::Map<String, Value>,
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("fstab"), "")?;
        Ok(Self { mounts: Mounts::own()?, disks: Vec::new(), hosts: serde_json::Map::new(), dir })
    }

    fn place(&self, host: &str) -> PathBuf {
        self.dir.path().join("mnt").join(host)
    }

    pub(crate) fn fstab(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.path().join("fstab"))?)
    }

    /// Adds a host with a blank disk of 1 GB; gives the number of the disk.
    pub(crate) fn host(&mut self, name: &str) -> Result<usize> {
        let disk = Disk::blank(self.dir.path(), name, GB)?;
        let wanted = self.wanted(&disk.by_id, name);
        self.add(name, &[wanted]);
        self.disks.push(disk);
        Ok(self.disks.len() - 1)
    }

    pub(crate) fn wanted(&self, by_id: &Path, host: &str) -> Value {
        json!({ "by_id": by_id, "mount": self.place(host), "size_gb": 1 })
    }

    pub(crate) fn add(&mut self, name: &str, disks: &[Value]) {
        let host = json!({
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "data_disks": disks,
            "storage_fstab": self.dir.path().join("fstab"),
        });
        self.hosts.insert(name.to_owned(), host);
    }

    /// Plays a host no more; its disk stays.
    pub(crate) fn forget(&mut self, name: &str) {
        self.hosts.remove(name);
    }

    pub(crate) fn play(&self, more: &[&str]) -> Result<Played> {
        let inventory = self.dir.path().join("inventory.json");
        fs::write(&inventory, json!({ "all": { "hosts": self.hosts } }).to_string())?;
        let book = root().join("provision/tests/deploy/storage.yml");
        let book = book.to_string_lossy();
        let words = [&[&*book, "--skip-tags", "packages", "--forks", "12"], more].concat();
        play(&self.mounts.enter(), &inventory, &words)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for name in self.hosts.keys() {
            let place = self.place(name);
            if place.is_dir()
                && let Err(error) = run(&["chattr", "-i", &place.to_string_lossy()])
            {
                eprintln!("{error:#}");
            }
        }
    }
}

/// What is known of a mounted file system.
fn mounted(bench: &Bench, host: &str) -> Result<String> {
    let place = bench.place(host);
    let words = ["findmnt", "--noheadings", "--output", "FSTYPE,LABEL,OPTIONS", "--mountpoint"];
    bench.mounts.run(&[&words[..], &[&place.to_string_lossy()]].concat())
}

/// A blank disk becomes XFS and is mounted at every start; a second run changes nothing, a new machine
/// finds what is on it, and a larger disk gives a larger file system.
#[test]
#[ignore = "needs root, loop devices and Ansible: just stage build,deploy"]
fn a_blank_disk_is_made_ours_and_stays_ours() -> Result<()> {
    let mut bench = Bench::new()?;
    let disk = bench.host("blank")?;
    let place = bench.place("blank");

    let looked = bench.play(&["--check"])?;
    assert_eq!(looked.counts("blank").1, 0, "{looked:?}");
    assert!(run(&["wipefs", &bench.disks[disk].device])?.is_empty(), "a check changed the disk");
    let first = bench.play(&[])?;
    assert_eq!(first.counts("blank").1, 0, "{first:?}");
    let seen = mounted(&bench, "blank")?;
    assert!(seen.starts_with("xfs") && seen.contains("relay-blank"), "{seen}");
    assert!(seen.contains("noatime"), "{seen}");
    let fstab = bench.fstab()?;
    assert!(fstab.starts_with("UUID=") && fstab.contains("nofail"), "{fstab}");
    let file = place.join("kept");
    let shown = file.to_string_lossy();
    bench.mounts.run(&["sh", "-c", &format!("echo here > '{shown}'")])?;

    let second = bench.play(&[])?;
    assert_eq!((second.counts("blank"), second.changes("blank")), ((0, 0), vec![]));

    // A new machine: nothing is mounted, and no table names the disk.
    bench.mounts.run(&["umount", &place.to_string_lossy()])?;
    ensure!(fs::write(place.join("below"), "").is_err(), "the empty place takes files");
    fs::write(bench.dir.path().join("fstab"), "")?;
    let moved = bench.play(&[])?;
    assert_eq!(moved.changes("blank"), ["Mount it now and at every start"], "{moved:?}");
    assert_eq!(bench.mounts.run(&["cat", &shown])?, "here\n");
    assert_eq!(bench.fstab()?, fstab);

    bench.disks[disk].grow(2 * GB)?;
    let grown = bench.play(&[])?;
    assert_eq!(grown.changes("blank"), ["Let the file system grow with its disk"], "{grown:?}");
    let size = bench.mounts.run(&["stat", "-f", "-c", "%S %b", &place.to_string_lossy()])?;
    let (block, blocks) = size.trim().split_once(' ').context("two numbers")?;
    let bytes = block.parse::<u64>()? * blocks.parse::<u64>()?;
    assert!(bytes > GB * 19 / 10, "{bytes}");
    assert_eq!(bench.play(&[])?.counts("blank"), (0, 0));
    Ok(())
}

/// The sentences with which disks are refused, by host.
const REFUSED: [(&str, &str); 11] = [
    ("ext4", "already holds something: ext4"),
    ("partitioned", "already holds something: dos"),
    ("raid", "already holds something: linux_raid_member"),
    ("lvm", "already holds something: LVM2_member"),
    ("bytes", "bytes at 3000000"),
    ("label", "an XFS with the label relay-other and not relay-label"),
    ("elsewhere", "is in use at"),
    ("small", "0.5 GB where 1 GB are expected"),
    ("missing", "scsi-0TEST_nowhere is not there; there are:"),
    ("file", "is no disk but"),
    ("full", "mounted there would hide. Move them away"),
];

/// One host for each of [`REFUSED`].
fn refused(bench: &mut Bench) -> Result<()> {
    let ext4 = bench.host("ext4")?;
    let device = bench.disks[ext4].device.clone();
    run(&["mkfs.ext4", "-q", &device])?;
    let place = bench.dir.path().join("somewhere");
    fs::create_dir(&place)?;
    let shown = place.to_string_lossy().into_owned();
    bench.mounts.run(&["mount", &device, &shown])?;
    bench.mounts.run(&["sh", "-c", &format!("echo mine > '{shown}/file'; umount '{shown}'")])?;
    for (name, write) in [
        ("partitioned", partitions as fn(&Disk) -> Result<()>),
        ("raid", raid_member),
        ("lvm", volume_of_lvm),
        ("bytes", |disk| disk.write(3_000_000, b"somebody's")),
        ("label", |disk| run(&["mkfs.xfs", "-q", "-L", "relay-other", &disk.device]).map(drop)),
        ("elsewhere", |disk| run(&["mkfs.xfs", "-q", &disk.device]).map(drop)),
    ] {
        let disk = bench.host(name)?;
        write(&bench.disks[disk])?;
    }
    let elsewhere = bench.disks.last().context("a disk")?.device.clone();
    bench.mounts.run(&["mount", &elsewhere, &shown])?;
    let small = Disk::blank(bench.dir.path(), "small", GB / 2)?;
    let wanted = bench.wanted(&small.by_id, "small");
    bench.add("small", &[wanted]);
    bench.disks.push(small);
    let nowhere = bench.wanted(&bench.dir.path().join("scsi-0TEST_nowhere"), "missing");
    bench.add("missing", &[nowhere]);
    let file = bench.wanted(&bench.dir.path().join("fstab"), "file");
    bench.add("file", &[file]);
    bench.host("full")?;
    fs::create_dir_all(bench.place("full"))?;
    fs::write(bench.place("full").join("file"), "")?;
    Ok(())
}

/// A disk that is not provably empty is left as it is, to the byte, and the sentence says what to do.
/// A right disk beside a wrong one is not touched either.
#[test]
#[ignore = "needs root, loop devices and Ansible: just stage build,deploy"]
fn a_disk_that_is_not_provably_empty_is_left_as_it_is() -> Result<()> {
    let mut bench = Bench::new()?;
    refused(&mut bench)?;
    let right = bench.host("pair")?;
    let pair: Vec<_> = [right, 0].map(|disk| bench.disks[disk].by_id.clone()).to_vec();
    let places = ["pair", "pair-wrong"];
    let wanted: Vec<_> =
        pair.iter().zip(places).map(|(by_id, place)| bench.wanted(by_id, place)).collect();
    bench.add("pair", &wanted);
    let before = bench.disks.iter().map(Disk::state).collect::<Result<Vec<_>>>()?;

    let played = bench.play(&[])?;

    for (host, sentence) in REFUSED {
        let (said, (_, failures)) = (played.failure(host), played.counts(host));
        assert!(failures == 1 && said.contains(sentence), "{host}: {said:?} {played:?}");
    }
    assert!(played.failure("pair").contains("ext4"), "{}", played.failure("pair"));
    let after = bench.disks.iter().map(Disk::state).collect::<Result<Vec<_>>>()?;
    for ((before, after), disk) in before.iter().zip(&after).zip(&bench.disks) {
        assert_eq!(before, after, "{} was written to", disk.by_id.display());
    }
    assert_eq!(bench.fstab()?, "");
    let shown = bench.dir.path().join("somewhere").to_string_lossy().into_owned();
    bench.mounts.run(&["umount", &shown])?;
    bench.mounts.run(&["mount", "-o", "ro", &bench.disks[0].device, &shown])?;
    assert_eq!(bench.mounts.run(&["cat", &format!("{shown}/file")])?, "mine\n");
    Ok(())
}
