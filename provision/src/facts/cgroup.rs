//! Limits of the control group, versions 1 and 2: the smallest of all groups on the way to the root.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Version 1 writes "no limit" as the largest multiple of a page; nothing has this much memory.
const UNLIMITED: u64 = 1 << 60;

/// What the control group allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    /// Memory in bytes.
    pub(super) memory_bytes: Option<u64>,
    /// Processor time in hundredths of a core.
    pub(super) quota_percent: Option<u64>,
}

/// Reads the limits of this process.
///
/// * `root` – what holds `proc` and `sys`; `/` on a real machine
pub(super) fn limits(root: &Path) -> Limits {
    let mut found = Limits::default();
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let unified = controllers.is_empty();
        for group in groups(root, controllers, path) {
            if unified {
                least(&mut found.memory_bytes, number(&group.join("memory.max")));
                least(&mut found.quota_percent, quota_2(&group.join("cpu.max")));
            } else if controllers.split(',').any(|name| name == "memory") {
                least(&mut found.memory_bytes, number(&group.join("memory.limit_in_bytes")));
            } else if controllers.split(',').any(|name| name == "cpu") {
                least(&mut found.quota_percent, quota_1(&group));
            }
        }
    }
    found
}

/// Directories of the group and of all above it, as far as this process sees them. In a container
/// the path is often one of the machine, and the container's own group is mounted as the root.
fn groups(root: &Path, controllers: &str, path: &str) -> Vec<PathBuf> {
    let mounts = root.join("sys/fs/cgroup");
    let tops: &[&str] = if controllers.is_empty() { &["", "unified"] } else { &[controllers] };
    let mut found = Vec::new();
    for top in tops {
        let top = mounts.join(top);
        let group = top.join(path.trim_start_matches('/'));
        let ways = group.ancestors().take_while(|dir| dir.starts_with(&top));
        found.extend(ways.map(Path::to_path_buf).filter(|dir| dir.is_dir()));
    }
    found
}

fn least(known: &mut Option<u64>, other: Option<u64>) {
    if let Some(other) = other {
        *known = Some(known.map_or(other, |known| known.min(other)));
    }
}

/// A size; `None` for `max` and for what version 1 writes instead.
fn number(path: &Path) -> Option<u64> {
    let number = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (number < UNLIMITED).then_some(number)
}

/// `cpu.max`: microseconds of processor time per microseconds of time.
fn quota_2(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    percent(quota.parse().ok()?, period.parse().ok()?)
}

fn quota_1(group: &Path) -> Option<u64> {
    let read = |name| fs::read_to_string(group.join(name)).ok();
    // "-1" is no number without sign, which is what it means.
    let quota = read("cpu.cfs_quota_us")?.trim().parse().ok()?;
    percent(quota, read("cpu.cfs_period_us")?.trim().parse().ok()?)
}

fn percent(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(100)?.checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// A relay in a container of 512 MB must not size itself for the machine below it.
    #[test]
    fn the_smallest_limit_on_the_way_to_the_root_counts_in_version_2() {
        let root = machine(&[
            ("proc/self/cgroup", "0::/system.slice/relay.service\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "536870912\n"),
            ("sys/fs/cgroup/system.slice/relay.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/relay.service/cpu.max", "150000 100000\n"),
        ]);
        let expected = Limits { memory_bytes: Some(512 << 20), quota_percent: Some(150) };
        assert_eq!(limits(root.path()), expected);
    }

    /// A container on an older machine: the path is the machine's, the files are its own.
    #[test]
    fn version_1_is_read_where_the_path_does_not_exist() {
        let root = machine(&[
            ("proc/self/cgroup", "9:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/x\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        let expected = Limits { memory_bytes: Some(1 << 30), quota_percent: Some(50) };
        assert_eq!(limits(root.path()), expected);
    }

    /// "No limit" is written in three ways, none of which is a size.
    #[test]
    fn no_limit_is_none() {
        let root = machine(&[
            ("proc/self/cgroup", "9:memory:/\n3:cpu:/\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/unified/memory.max", "max\n"),
            ("sys/fs/cgroup/unified/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(limits(root.path()), Limits::default());
        assert_eq!(limits(tempfile::tempdir().unwrap().path()), Limits::default());
    }
}
