//! The machine and its disk, as far as they can be seen without writing.

use super::{Line, Patient};
use crate::{
    sizing::{Finding, Level},
    words,
};

const DISK: &str = "disk";
const MACHINE: &str = "machine";

/// What `tune` finds wrong with the machine.
pub(super) fn machine(patient: &Patient) -> Vec<Line> {
    let (facts, plan) = match patient.plan() {
        Ok(found) => found,
        Err(why) => return vec![unseen(MACHINE, why)],
    };
    let cause = "what follows from it is said by `provision tune`";
    let mut lines: Vec<Line> = plan
        .findings
        .into_iter()
        .filter_map(|Finding { level, what, action }| match level {
            Level::Refusal => Some(Line::fail(MACHINE, what, cause, action)),
            Level::Warning => Some(Line::warn(MACHINE, what, cause, action)),
            Level::Note => None,
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::ok(
            MACHINE,
            format!(
                "{} and {} do, and the disk holds the window of {}",
                words::counted(facts.usable_cores(), "core", "cores"),
                relay::units::bytes(facts.usable_memory()),
                words::bytes(plan.window.needed_bytes)
            ),
        ));
    }
    lines
}

fn unseen(check: &'static str, why: String) -> Line {
    Line::fail(check, "it cannot be looked at", why, "look at the check `settings` first")
}

/// File system, options, room.
pub(super) fn check(patient: &Patient) -> Vec<Line> {
    let disk = match patient.facts() {
        Ok(facts) => facts.disk,
        Err(why) => return vec![unseen(DISK, why)],
    };
    let mut lines = Vec::new();
    let has = |name: &str| disk.options.split(',').any(|option| option == name);
    if disk.filesystem != "xfs" {
        lines.push(Line::warn(
            DISK,
            format!("{} is {}, not XFS", disk.mount, disk.filesystem),
            "the relay is run on XFS: many files grow at once there without waiting for each other",
            "for a new machine format the data disk as XFS; moving for this alone is not worth it",
        ));
    }
    if has("ro") {
        lines.push(Line::fail(
            DISK,
            format!("{} is mounted read-only", disk.mount),
            "the kernel does that when a disk fails",
            "see `dmesg | tail`, and replace the disk or repair the file system",
        ));
    }
    if has("nobarrier") || has("barrier=0") {
        lines.push(Line::fail(
            DISK,
            format!("{} is mounted without barriers", disk.mount),
            "what is synced may be lost when the power fails",
            "take the option out of /etc/fstab, and mount it anew",
        ));
    }
    if !has("noatime") {
        lines.push(Line::warn(
            DISK,
            format!("{} is mounted without noatime", disk.mount),
            "reading for consumers writes to the disk",
            "add noatime to its options in /etc/fstab, then `mount -o remount`",
        ));
    }
    lines.extend(room(&disk));
    if lines.is_empty() {
        lines.push(Line::ok(
            DISK,
            format!(
                "{} on {} ({}), {} of {} free",
                disk.filesystem,
                disk.mount,
                disk.options,
                words::bytes(disk.free_bytes),
                words::bytes(disk.size_bytes)
            ),
        ));
    }
    lines
}

fn room(disk: &crate::facts::Disk) -> Option<Line> {
    let percent = disk.free_bytes.saturating_mul(100) / disk.size_bytes.max(1);
    let what = format!("{percent} % of {} are free", disk.mount);
    let cause = "a full disk stops the relay from reading hosts";
    let fix = "see what fills it with `du -xhd2`, or lower RELAY_REPLAY_MAX_BYTES";
    match percent {
        0..=2 => Some(Line::fail(DISK, what, cause, fix)),
        3..=7 => Some(Line::warn(DISK, what, cause, fix)),
        _ => None,
    }
}
