//! Disks made of files, and what a disk can hold, written byte by byte where a program would need a
//! driver of the kernel.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result};
use provision::run;

const SECTOR: usize = 512;

/// Runs a program of the system, and gives what it printed.
pub(crate) fn run(words: &[&str]) -> Result<String> {
    run::quiet(run::program(Path::new("/"), words))
}

/// A disk: a file behind a loop device, with a name of the kind that stays.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) by_id: PathBuf,
    pub(crate) device: String,
    image: PathBuf,
}

impl Disk {
    /// A blank one of so many bytes, all of them holes.
    pub(crate) fn blank(dir: &Path, name: &str, bytes: u64) -> Result<Self> {
        let image = dir.join(format!("{name}.img"));
        File::create(&image)?.set_len(bytes)?;
        let device = run(&["losetup", "--find", "--show", &image.to_string_lossy()])
            .context("make a loop device; this needs root and the kernel's module `loop`")?;
        let (device, by_id) = (device.trim().to_owned(), dir.join(format!("scsi-0TEST_{name}")));
        let disk = Self { by_id, device, image };
        symlink(&disk.device, &disk.by_id)?;
        Ok(disk)
    }

    /// Writes bytes somewhere.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) -> Result<()> {
        let file = OpenOptions::new().write(true).open(&self.device)?;
        file.write_all_at(bytes, u64::try_from(at)?)?;
        Ok(file.sync_all()?)
    }

    /// Makes it larger while it is in use.
    pub(crate) fn grow(&self, bytes: u64) -> Result<()> {
        OpenOptions::new().write(true).open(&self.image)?.set_len(bytes)?;
        run(&["losetup", "--set-capacity", &self.device]).map(drop)
    }

    /// Changes with every byte that is written to the disk.
    pub(crate) fn state(&self) -> Result<(i64, i64, u64)> {
        run(&["sync", &self.device])?;
        let file = self.image.metadata()?;
        Ok((file.mtime(), file.mtime_nsec(), file.blocks()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = run(&["losetup", "--detach", &self.device]) {
            eprintln!("{error:#}");
        }
    }
}

/// A table of partitions with one in it.
pub(crate) fn partitions(disk: &Disk) -> Result<()> {
    let mut sector = vec![0; SECTOR];
    sector[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 2, 0, 0, 8, 0, 0, 0, 0x40, 0, 0]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.write(0, &sector)
}

/// The head of a member of a software RAID, version 1.2.
///
/// * `array` – the number of the RAID
/// * `name` – what it is called
pub(crate) fn member_of(disk: &Disk, array: &[u8; 16], name: &str) -> Result<()> {
    let mut head = vec![0; 256];
    head[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    head[4..8].copy_from_slice(&1_u32.to_le_bytes());
    head[16..32].copy_from_slice(array);
    head[32..32 + name.len()].copy_from_slice(name.as_bytes());
    head[144..152].copy_from_slice(&8_u64.to_le_bytes());
    disk.write(4096, &head)
}

/// The same of somebody's RAID.
pub(crate) fn raid_member(disk: &Disk) -> Result<()> {
    member_of(disk, b"0123456789abcdef", "")
}

/// The label of a physical volume of LVM, in the second sector.
pub(crate) fn volume_of_lvm(disk: &Disk) -> Result<()> {
    let mut sector = vec![0; SECTOR];
    sector[..8].copy_from_slice(b"LABELONE");
    sector[8..16].copy_from_slice(&1_u64.to_le_bytes());
    sector[20..24].copy_from_slice(&32_u32.to_le_bytes());
    sector[24..32].copy_from_slice(b"LVM2 001");
    sector[32..64].copy_from_slice(b"0123456789abcdef0123456789abcdef");
    let sum = sector[20..].iter().fold(0xf597_a6cf_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1))
        })
    });
    sector[16..20].copy_from_slice(&sum.to_le_bytes());
    disk.write(SECTOR, &sector)
}

/// A place where mounts are nobody else's, and gone with this value.
#[derive(Debug)]
pub(crate) struct Mounts(Child);

impl Mounts {
    pub(crate) fn own() -> Result<Self> {
        let mut command = run::program(
            Path::new("/"),
            &["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec cat"],
        );
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = [0; 1];
        let out = child.stdout.as_mut().context("its output")?;
        std::io::Read::read_exact(out, &mut line).context("make a namespace; this needs root")?;
        Ok(Self(child))
    }

    /// Words that start a program there.
    pub(crate) fn enter(&self) -> Vec<String> {
        let target = format!("--target={}", self.0.id());
        let directory = format!("--wdns={}", crate::root().join("ansible").display());
        ["nsenter", &target, "--mount", &directory].map(str::to_owned).to_vec()
    }

    /// Runs a program of the system there, and gives what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let enter = self.enter();
        let all: Vec<_> = enter.iter().map(String::as_str).chain(words.iter().copied()).collect();
        run(&all)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // At the end of its input it ends by itself.
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("the namespace did not end: {error}");
        }
    }
}
