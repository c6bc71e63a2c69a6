//! Parts that the kernel tells.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use relay::config::Config;
use serde_json::{Value, json};

use crate::facts::{self, Place};

/// A part that needs nothing but this machine.
pub(super) type Reader = fn() -> Result<Value>;

/// These parts by name.
pub(super) const PARTS: [(&str, Reader); 6] = [
    ("load", load),
    ("memory", memory),
    ("relay process", relay_process),
    ("top", top),
    ("kernel log", kernel_log),
    ("relay log", relay_log),
];

/// Lines of a log.
const LINES: usize = 100;
/// Processes of the list.
const TOP: usize = 15;

fn lines(text: &str) -> Value {
    text.lines().collect()
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn load() -> Result<Value> {
    let pressure =
        |name: &str| read(format!("/proc/pressure/{name}")).map(|text| lines(&text)).ok();
    Ok(json!({
        "average": read("/proc/loadavg")?.trim(),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "pressure": { "cpu": pressure("cpu"), "memory": pressure("memory"), "io": pressure("io") },
        "disks": lines(&read("/proc/diskstats")?),
    }))
}

fn memory() -> Result<Value> {
    Ok(lines(&read("/proc/meminfo")?))
}

/// Room, inodes and how the disk is attached.
pub(super) fn disk(config: &Config) -> Result<Value> {
    let place = Place { root: "/".into(), data: config.persist_dir.clone(), probe: false };
    let facts = facts::measure(&place)?;
    Ok(json!({ "log": facts.disk, "open_files": facts.open_files, "link": facts.network }))
}

/// A process by its numbers.
struct Process {
    pid: u64,
    name: String,
    /// Processor time since its start, in hundredths of a second.
    ticks: u64,
    resident_kb: u64,
    threads: u64,
}

fn processes() -> Result<Vec<Process>> {
    let entries = fs::read_dir("/proc").context("list the processes")?.flatten();
    // Whoever ended meanwhile is not in the list.
    Ok(entries.filter_map(|entry| process(&entry.path())).collect())
}

fn process(dir: &Path) -> Option<Process> {
    let pid = dir.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    // A name may hold anything, also brackets: the numbers begin after the last one.
    let (before, numbers) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    let number = |index: usize| numbers.get(index)?.parse::<u64>().ok();
    let status = fs::read_to_string(dir.join("status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kb = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
    Some(Process {
        pid,
        name: crate::told::harmless(name, 40),
        ticks: number(11)? + number(12)?,
        resident_kb: resident_kb.unwrap_or(0),
        threads: number(17)?,
    })
}

impl Process {
    /// Its numbers; never its command line, in which somebody may have put a password.
    fn shown(&self) -> Value {
        json!({
            "pid": self.pid,
            "name": self.name,
            "cpuSeconds": self.ticks / 100,
            "residentKb": self.resident_kb,
            "threads": self.threads,
        })
    }
}

fn top() -> Result<Value> {
    let mut all = processes()?;
    all.sort_by_key(|process| std::cmp::Reverse((process.ticks, process.pid)));
    Ok(all.iter().take(TOP).map(Process::shown).collect())
}

fn relay_process() -> Result<Value> {
    let all = processes()?;
    let mine: Vec<&Process> = all.iter().filter(|process| process.name == "relay").collect();
    ensure!(!mine.is_empty(), "no process on this machine is called `relay`");
    let detail = |process: &&Process| {
        let dir = format!("/proc/{}", process.pid);
        let text = |file: &str| read(format!("{dir}/{file}")).map(|text| lines(&text)).ok();
        let open = fs::read_dir(format!("{dir}/fd")).map(Iterator::count).ok();
        json!({
            "process": process.shown(),
            "openFiles": open,
            "status": text("status"),
            "limits": text("limits"),
            "io": text("io"),
            "cgroup": text("cgroup"),
        })
    };
    Ok(mine.iter().map(detail).collect())
}

fn tail(program: &str, arguments: &[&str]) -> Result<Value> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", crate::told::harmless(said.trim(), 200));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let all: Vec<&str> = text.lines().collect();
    Ok(all.iter().skip(all.len().saturating_sub(LINES)).copied().collect())
}

fn kernel_log() -> Result<Value> {
    tail("dmesg", &["--ctime"])
}

fn relay_log() -> Result<Value> {
    tail("journalctl", &["--unit=relay", "--lines=100", "--no-pager", "--output=short-iso"])
}

/// Numbers of the metrics by name and labels.
pub(super) fn numbers(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}
