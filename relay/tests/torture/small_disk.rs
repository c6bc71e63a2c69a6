//! A small file system that outlives the relay: a tmpfs in a mount namespace, which a process holds.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

/// Far above the least that the log leaves free.
const MIB: u64 = 336;

/// Vanishes with its holder.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    holder: Child,
    /// Words that start a program which sees it.
    pub(crate) under: Vec<String>,
    /// Where that program finds it.
    pub(crate) dir: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `dir`; `None` where the machine does not permit it.
    pub(crate) fn mount(dir: &Path) -> Result<Option<Self>> {
        let script = format!(
            "mount -t tmpfs -o size={MIB}m tmpfs '{}' && echo mounted && exec cat",
            dir.display()
        );
        let ways: [(&[&str], &[&str]); 2] = [
            (&["--mount"], &["--mount"]),
            (&["--map-root-user", "--mount"], &["--user", "--preserve-credentials", "--mount"]),
        ];
        for (apart, into) in ways {
            // It ends with its input, so also with this process.
            let holder = Command::new("unshare")
                .args(apart)
                .args(["sh", "-c", &script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut holder) = holder else { continue };
            let mut said = String::new();
            let output = holder.stdout.take().context("its output")?;
            BufReader::new(output).read_line(&mut said)?;
            let target = holder.id().to_string();
            let under = ["nsenter", "--target", &target].into_iter().chain(into.iter().copied());
            let disk =
                Self { under: under.map(str::to_owned).collect(), dir: dir.to_path_buf(), holder };
            if said.trim() == "mounted" && disk.is_seen() {
                return Ok(Some(disk));
            }
        }
        Ok(None)
    }

    fn is_seen(&self) -> bool {
        let Some((program, rest)) = self.under.split_first() else { return false };
        let tried = Command::new(program).args(rest).arg("true").output();
        tried.is_ok_and(|tried| tried.status.success())
    }

    /// Its directory as this process finds it.
    pub(crate) fn seen_here(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.dir.display()))
    }

    /// Fills it to the last byte; gives how many there were.
    pub(crate) fn fill(&self) -> Result<u64> {
        let mut file = File::create(self.filler())?;
        let (block, mut written) = (vec![0xA5; 1 << 20], 0);
        loop {
            match file.write(&block) {
                Ok(bytes) => written += bytes as u64,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(written),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes room again.
    pub(crate) fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.seen_here().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended; in a panic there is nothing better to do than go on.
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
