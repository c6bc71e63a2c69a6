//! Measures the machine it runs on.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, getrlimit};

use super::{
    Cores, Disk, Facts, Memory, Network, OpenFiles,
    cgroup::{self, Limits},
    disk, probe,
};

/// Where to look.
#[derive(Debug, Clone)]
pub struct Place {
    /// What holds `proc` and `sys`; `/` but in tests.
    pub root: PathBuf,
    /// The data path of the relay; it need not exist yet.
    pub data: PathBuf,
    /// Whether to write to the disk in order to see how fast it is.
    pub probe: bool,
}

/// A machine that cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum Unmeasured {
    /// The data path, or what should hold it, is not usable.
    #[error("{}: {error}; give the relay's data directory with --path", .path.display())]
    Path {
        /// What was tried.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// The disk cannot be written.
    #[error(
        "cannot write to {}: {error}; run this as a user who may, or leave the speed of the disk out \
         with --no-probe", .path.display()
    )]
    Probe {
        /// Where it was tried.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// The kernel does not tell what every Linux tells.
    #[error("{}: {what}; on another system write the facts yourself and give --facts", .path.display())]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Measures the machine. Blocks for three seconds when the disk is probed.
///
/// # Errors
/// [`Unmeasured`].
pub fn measure(place: &Place) -> Result<Facts, Unmeasured> {
    let limits = cgroup::limits(&place.root);
    Ok(Facts {
        cores: cores(&place.root, limits)?,
        memory: memory(&place.root, limits)?,
        disk: measure_disk(place)?,
        open_files: OpenFiles {
            hard_limit: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            system_limit: read(&place.root, "proc/sys/fs/nr_open")
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(1 << 20),
        },
        network: network(&place.root),
    })
}

fn read(root: &Path, file: &str) -> Result<String, Unmeasured> {
    let path = root.join(file);
    fs::read_to_string(&path).map_err(|error| Unmeasured::Kernel { path, what: error.to_string() })
}

fn cores(root: &Path, limits: Limits) -> Result<Cores, Unmeasured> {
    let file = "proc/self/status";
    let status = read(root, file)?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let threads = list.and_then(cpu_list).ok_or_else(|| Unmeasured::Kernel {
        path: root.join(file),
        what: "it does not list the processors".to_owned(),
    })?;
    // One list of siblings per core: each core is counted once, with the name of its first thread.
    let mut siblings: Vec<String> = threads
        .iter()
        .filter_map(|thread| {
            let file = format!("sys/devices/system/cpu/cpu{thread}/topology/thread_siblings_list");
            read(root, &file).ok()
        })
        .collect();
    siblings.sort();
    siblings.dedup();
    let physical = (!siblings.is_empty()).then_some(siblings.len() as u64);
    Ok(Cores { threads: threads.len() as u64, physical, quota_percent: limits.quota_percent })
}

/// `0-3,8` as numbers.
fn cpu_list(text: &str) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        // More processors than any kernel can have is a file that was not understood.
        if last > 65_535 {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

fn memory(root: &Path, limits: Limits) -> Result<Memory, Unmeasured> {
    let file = "proc/meminfo";
    let text = read(root, file)?;
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let total_bytes = field("MemTotal:").ok_or_else(|| Unmeasured::Kernel {
        path: root.join(file),
        what: "it does not say how much memory there is".to_owned(),
    })?;
    let limit_bytes = limits.memory_bytes.filter(|limit| *limit < total_bytes);
    Ok(Memory { total_bytes, limit_bytes, swap_bytes: field("SwapTotal:").unwrap_or(0) })
}

fn measure_disk(place: &Place) -> Result<Disk, Unmeasured> {
    let wrong = |error| Unmeasured::Path { path: place.data.clone(), error };
    let data = std::path::absolute(&place.data).map_err(wrong)?;
    let existing = data.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let existing = existing.canonicalize().map_err(wrong)?;
    let room = rustix::fs::statvfs(&existing).map_err(|error| wrong(error.into()))?;
    let mount = disk::mount_of(&place.root, &existing).ok_or_else(|| Unmeasured::Kernel {
        path: place.root.join("proc/self/mountinfo"),
        what: format!("no mount holds {}", existing.display()),
    })?;
    let device = disk::device_of(&place.root, &mount);
    let system = disk::mount_of(&place.root, Path::new("/"));
    let system = system.map(|mount| (disk::device_of(&place.root, &mount), mount.number));
    let holds_system = system.is_some_and(|(root, number)| {
        number == mount.number || root.disks.iter().any(|disk| device.disks.contains(disk))
    });
    let free_bytes = room.f_bavail.saturating_mul(room.f_frsize);
    let speed = place.probe.then(|| probe::measure(&existing, free_bytes)).transpose();
    let speed = speed.map_err(|error| Unmeasured::Probe { path: existing.clone(), error })?;
    Ok(Disk {
        path: data.display().to_string(),
        measured_at: existing.display().to_string(),
        mount: mount.point.display().to_string(),
        filesystem: mount.filesystem,
        options: mount.options,
        device: device.name,
        kind: device.kind,
        holds_system,
        size_bytes: room.f_blocks.saturating_mul(room.f_frsize),
        free_bytes,
        log_bytes: log_bytes(&data),
        free_inodes: (room.f_files > 0).then_some(room.f_favail),
        syncs_per_s: speed.map(|speed| speed.syncs_per_s),
        write_bytes_per_s: speed.map(|speed| speed.write_bytes_per_s),
    })
}

/// Bytes of the segments of an event log, here or in `persist` below.
fn log_bytes(data: &Path) -> u64 {
    let files = [data.to_path_buf(), data.join("persist")];
    let entries = files.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

fn network(root: &Path) -> Network {
    let routes = read(root, "proc/net/route").unwrap_or_default();
    let interface = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?;
        (fields.next()? == "00000000").then(|| name.to_owned())
    });
    // Virtual interfaces say -1, or refuse to answer.
    let link_mbit = interface.as_ref().and_then(|name| {
        let text = read(root, &format!("sys/class/net/{name}/speed")).ok()?;
        text.trim().parse().ok().filter(|mbit| *mbit > 0)
    });
    Network { interface, link_mbit, monthly_bytes: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Six cores with two threads each are six cores; the speed of the link is that of the default
    /// route's interface.
    #[test]
    fn cores_and_link_are_read_from_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-11\n");
        for cpu in 0..12 {
            let core = cpu % 6;
            let path = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            write(root, &path, &format!("{core},{}\n", core + 6));
        }
        write(
            root,
            "proc/net/route",
            "Iface\tDestination\tGateway\nlo\t0000007F\t0\neno1\t00000000\t0101A8C0\n",
        );
        write(root, "sys/class/net/eno1/speed", "1000\n");
        let cores = cores(root, Limits::default()).unwrap();
        assert_eq!((cores.threads, cores.physical), (12, Some(6)));
        let found = network(root);
        assert_eq!((found.interface.as_deref(), found.link_mbit), (Some("eno1"), Some(1_000)));
        write(root, "sys/class/net/eno1/speed", "-1\n");
        assert_eq!(network(root).link_mbit, None);
    }

    /// A limit of the control group that is larger than the machine limits nothing.
    #[test]
    fn memory_is_what_the_machine_has_and_the_group_allows() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "proc/meminfo", "MemTotal:  1024 kB\nSwapTotal:  512 kB\n");
        let with = |limit| {
            memory(dir.path(), Limits { memory_bytes: limit, quota_percent: None }).unwrap()
        };
        assert_eq!(with(Some(1 << 30)).limit_bytes, None);
        assert_eq!(with(Some(4096)).limit_bytes, Some(4096));
        assert_eq!(with(None).total_bytes, 1 << 20);
        write(dir.path(), "proc/meminfo", "nothing\n");
        assert!(memory(dir.path(), Limits::default()).is_err());
    }

    #[test]
    fn lists_of_processors_are_understood() {
        assert_eq!(cpu_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(cpu_list("0-99999999"), None);
        assert_eq!(cpu_list(""), None);
    }

    /// The machine of the test itself: everything is found, and the log that lies there is counted.
    #[test]
    fn this_machine_can_be_measured() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("persist")).unwrap();
        fs::write(dir.path().join("persist/00000000000000000001.log"), [0; 777]).unwrap();
        fs::write(dir.path().join("persist/lock"), [0; 5]).unwrap();
        let place = Place { root: "/".into(), data: dir.path().to_path_buf(), probe: true };
        let facts = measure(&place).unwrap();
        assert!(facts.usable_cores() >= 1 && facts.usable_memory() > 64 << 20, "{facts:?}");
        assert!(facts.disk.size_bytes >= facts.disk.free_bytes, "{facts:?}");
        assert_eq!(facts.disk.log_bytes, 777);
        assert!(facts.disk.syncs_per_s > Some(0), "{facts:?}");

        let later = Place { data: dir.path().join("not/yet/there"), probe: false, ..place };
        let facts = measure(&later).unwrap();
        assert_eq!(
            facts.disk.measured_at,
            dir.path().canonicalize().unwrap().display().to_string()
        );
        assert_eq!(facts.disk.syncs_per_s, None);
    }
}
