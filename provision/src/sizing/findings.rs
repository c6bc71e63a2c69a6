//! What is wrong with a machine, and what to do about it.

use std::time::Duration;

use ::relay::units;

use super::{Finding, Level, Shares, Window, Wishes, load};
use crate::{
    facts::{Disk, DiskKind, Facts},
    words,
};

/// Below this a consumer sees an event a tenth of a second after it came.
const SYNCS_MIN: u64 = 100;
/// The log as it comes, and once more when it is compressed, at the busiest moments.
const WRITE_MIN: u64 = load::STREAM_BYTES_PER_S * 3 * (100 + load::COMPRESSED_PERCENT) / 100;
/// Files that an event log, a database and a proxy make, many times over.
const INODES_MIN: u64 = 100_000;

/// All findings, worst first.
pub(super) fn findings(
    facts: &Facts,
    wishes: &Wishes,
    window: &Window,
    shares: &Shares,
) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(room(facts, window));
    found.extend(kind(&facts.disk));
    found.extend(filesystem(&facts.disk));
    found.extend(speed(&facts.disk));
    found.extend(memory(wishes, shares));
    found.extend(network(facts));
    found.extend(files(facts, wishes));
    found.sort_by_key(|finding| match finding.level {
        Level::Refusal => 0,
        Level::Warning => 1,
        Level::Note => 2,
    });
    found
}

fn finding(level: Level, what: impl Into<String>, action: impl Into<String>) -> Finding {
    Finding { level, what: what.into(), action: action.into() }
}

fn room(facts: &Facts, window: &Window) -> Option<Finding> {
    if window.fits && window.window_s.is_some() {
        return None;
    }
    let asked = window.window_s.unwrap_or(3_600);
    let what = format!(
        "a window of {} takes {}, and {} has {} for it (free {}, log {}, kept free {})",
        units::duration(Duration::from_secs(asked)),
        words::bytes(window.needed_bytes),
        facts.disk.path,
        words::bytes(window.available_bytes),
        words::bytes(facts.disk.free_bytes),
        words::bytes(facts.disk.log_bytes),
        words::bytes(window.kept_free_bytes),
    );
    let disk = words::bytes(window.needed_bytes.saturating_add(window.kept_free_bytes));
    let action = match window.longest_s / 3_600 {
        0 => format!("give the data path a disk with {disk} free (--path says which)"),
        hours => format!(
            "type `provision tune --window {hours}h`, the longest that fits, or give the data path a \
             disk with {disk} free (--path says which)"
        ),
    };
    Some(finding(Level::Refusal, what, action))
}

fn kind(disk: &Disk) -> Option<Finding> {
    let path = &disk.path;
    let (level, what, action) = match disk.kind {
        DiskKind::Rotational => (
            Level::Warning,
            format!("{path} lies on a spinning disk"),
            "each sync takes a turn of the disk, and Postgres waits for single pages; take a machine \
             with NVMe",
        ),
        DiskKind::NetworkBlock => (
            Level::Warning,
            format!("{path} lies on a volume of the provider's network"),
            "each sync crosses it, and its speed is shared with others; fine for a window of some \
             days, but put Postgres on the machine's own disk",
        ),
        DiskKind::NetworkFile => (
            Level::Refusal,
            format!("{path} lies on {}, a file system of another machine", disk.filesystem),
            "neither the event log nor a database is safe on it; give --path on a disk of this machine",
        ),
        DiskKind::Memory => (
            Level::Refusal,
            format!("{path} lies in memory ({})", disk.filesystem),
            "a restart would lose the accounts and every cursor; give --path on a disk",
        ),
        DiskKind::Layer => (
            Level::Warning,
            format!("{path} lies in the layer of a container"),
            "it goes with the container; mount a volume there",
        ),
        DiskKind::Virtual => (
            Level::Note,
            format!("{path} lies on a virtual disk; what is behind it only the provider knows"),
            "trust the measured figures, and measure again on another day: neighbours differ",
        ),
        DiskKind::Nvme | DiskKind::Ssd | DiskKind::Unknown => return None,
    };
    Some(finding(level, what, action))
}

fn filesystem(disk: &Disk) -> Vec<Finding> {
    let mut found = Vec::new();
    if matches!(disk.filesystem.as_str(), "btrfs" | "zfs" | "bcachefs") {
        found.push(finding(
            Level::Warning,
            format!("{} copies on write", disk.filesystem),
            "the log is synced 100 times a second, which is what such file systems do worst; use XFS",
        ));
    } else if !matches!(disk.filesystem.as_str(), "xfs" | "ext4")
        && !matches!(disk.kind, DiskKind::NetworkFile | DiskKind::Memory | DiskKind::Layer)
    {
        found.push(finding(
            Level::Note,
            format!("the relay is not tested on {}", disk.filesystem),
            "use XFS, or ext4",
        ));
    }
    if disk.free_inodes.is_some_and(|free| free < INODES_MIN) {
        found.push(finding(
            Level::Warning,
            format!("{} has room for few more files", disk.mount),
            "see `df -i`; make the file system anew with more inodes, or as XFS",
        ));
    }
    if disk.options.split(',').any(|option| option == "sync") {
        found.push(finding(
            Level::Warning,
            format!("{} is mounted with `sync`", disk.mount),
            "take the option out of /etc/fstab: the relay syncs what must be synced",
        ));
    }
    found
}

fn speed(disk: &Disk) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(syncs) = disk.syncs_per_s.filter(|syncs| *syncs < SYNCS_MIN) {
        found.push(finding(
            Level::Warning,
            format!("the disk syncs {syncs} times a second"),
            format!(
                "events reach consumers {} ms later than they could, none is lost; take a disk with \
                 at least {SYNCS_MIN}",
                1_000_u64.div_ceil(syncs.max(1))
            ),
        ));
    }
    if let Some(speed) = disk.write_bytes_per_s.filter(|speed| *speed < WRITE_MIN) {
        found.push(finding(
            Level::Warning,
            format!("the disk writes {}/s", words::bytes(speed)),
            format!(
                "at the busiest moments the log takes {}/s, and hosts are read more slowly then; take \
                 a faster disk",
                words::bytes(WRITE_MIN)
            ),
        ));
    }
    found
}

fn memory(wishes: &Wishes, shares: &Shares) -> Option<Finding> {
    (shares.relay_max < shares.relay).then(|| {
        finding(
            Level::Warning,
            format!(
                "the relay may need {} with {} hosts, and {} of the {} are left for it",
                units::bytes(shares.relay),
                words::count(wishes.hosts),
                units::bytes(shares.relay_max),
                units::bytes(shares.all),
            ),
            "it will do for fewer hosts (--hosts); for the whole network take 2 GiB or more",
        )
    })
}

fn network(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    match facts.network.link_mbit {
        None => found.push(finding(
            Level::Note,
            "the speed of the link is not known: virtual machines do not tell",
            "give it with --link-mbit, as the provider's page says",
        )),
        Some(mbit) if mbit < 2 * load::STREAM_MBIT => found.push(finding(
            Level::Warning,
            format!("one consumer takes 30 of the link's {mbit} Mbit/s"),
            "after a pause it gets back to the newest event slowly or never; take 100 Mbit/s or more",
        )),
        Some(_) => {}
    }
    let month = load::STREAM_BYTES_PER_MONTH;
    if let Some(bytes) = facts.network.monthly_bytes.filter(|bytes| *bytes < 2 * month) {
        found.push(finding(
            Level::Warning,
            format!("one consumer takes 9.72 TB of the {} a month", words::bytes(bytes)),
            "ask what more costs, and whether incoming traffic counts, which is as much again; or \
             take a machine without such a limit",
        ));
    }
    found
}

fn files(facts: &Facts, wishes: &Wishes) -> Option<Finding> {
    let hosts = usize::try_from(wishes.hosts).unwrap_or(usize::MAX);
    let needed = u64::try_from(::relay::descriptors::needed_for(hosts)).unwrap_or(u64::MAX);
    let have = facts.open_files.hard_limit;
    (have < needed).then(|| {
        finding(
            Level::Note,
            format!(
                "a process of this session may open {} files, {} hosts and 2,000 clients need {}",
                words::count(have),
                words::count(wishes.hosts),
                words::count(needed)
            ),
            "as a service the relay gets LimitNOFILE of its unit; without systemd, raise `ulimit -n`",
        )
    })
}
