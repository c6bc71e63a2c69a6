//! What the figures were measured on.

use std::{fs, path::Path, process::Command};

use anyhow::Result;
use serde_json::{Value, json};

/// Facts of the machine and of the program.
#[derive(Debug)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    megahertz: String,
    memory_gb: u64,
    kernel: String,
    filesystem: String,
    rustc: String,
    /// The profile that the relay was built with, from the name of its directory.
    pub(crate) profile: String,
}

impl Machine {
    /// Looks around; what cannot be found out is called unknown.
    pub(crate) fn look(data: &Path, relay: &Path) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(unknown, |(_, value)| value.trim().to_owned())
        };
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let kib = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        let profile = relay.parent().and_then(Path::file_name);
        Ok(Self {
            cpu: field("model name"),
            cores: std::thread::available_parallelism()?.get(),
            megahertz: field("cpu MHz"),
            memory_gb: kib.unwrap_or(0) * 1024 / 1_000_000_000,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            filesystem: filesystem(data)?,
            rustc: rustc(),
            profile: profile.map_or_else(unknown, |name| name.to_string_lossy().into_owned()),
        })
    }

    /// Prints them.
    pub(crate) fn show(&self) {
        println!(
            "{}, {} cores at {} MHz, {} GB; Linux {}, data on {}; relay of profile `{}`, {}",
            self.cpu,
            self.cores,
            self.megahertz,
            self.memory_gb,
            self.kernel,
            self.filesystem,
            self.profile,
            self.rustc
        );
    }

    /// The same for a program.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "cpu": self.cpu, "cores": self.cores, "megahertz": self.megahertz,
            "memory_gb": self.memory_gb, "kernel": self.kernel, "filesystem": self.filesystem,
            "rustc": self.rustc, "profile": self.profile,
        })
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Type of the file system that holds a path.
fn filesystem(path: &Path) -> Result<String> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let holding = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        path.starts_with(place).then_some((place.len(), kind))
    });
    Ok(holding.max_by_key(|(length, _)| *length).map_or_else(unknown, |(_, kind)| kind.to_owned()))
}

/// The compiler of this directory.
fn rustc() -> String {
    let said = Command::new("rustc").arg("--version").output();
    said.map_or_else(|_| unknown(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
