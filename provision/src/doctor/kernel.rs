//! Limits of open files, and settings of the kernel.

use std::{fs, path::Path};

use relay::descriptors;

use super::{Line, Patient};
use crate::{sizing, sizing::Value, words};

const LIMITS: &str = "limits";
const KERNEL: &str = "kernel";

/// Open files: of the relay that runs, else of its unit, else of this session.
pub(super) fn limits(patient: &Patient) -> Line {
    let hosts = usize::try_from(sizing::HOSTS).unwrap_or(usize::MAX);
    let needed = u64::try_from(descriptors::needed_for(hosts)).unwrap_or(u64::MAX);
    let found = of_process(&patient.root)
        .or_else(|| of_unit(&patient.root))
        .or_else(|| Some((patient.facts().ok()?.open_files.hard_limit, "this session")));
    let Some((limit, whose)) = found else {
        let fix = "look at the check `settings` first";
        return Line::fail(LIMITS, "no limit can be seen", "the machine cannot be measured", fix);
    };
    let what = format!("{whose} may open {} files", words::count(limit));
    if limit >= needed {
        return Line::ok(LIMITS, what);
    }
    Line::fail(
        LIMITS,
        what,
        format!("{hosts} hosts and 2,000 clients need {}", words::count(needed)),
        "provision tune --write, then `systemctl daemon-reload && systemctl restart relay`",
    )
}

/// The soft limit of a running relay, which it raises itself as far as it may.
fn of_process(root: &Path) -> Option<(u64, &'static str)> {
    let processes = fs::read_dir(root.join("proc")).ok()?.flatten().map(|entry| entry.path());
    let found = processes.filter_map(|dir| {
        let name = fs::read_to_string(dir.join("comm")).ok()?;
        if name.trim() != "relay" {
            return None;
        }
        let limits = fs::read_to_string(dir.join("limits")).ok()?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let soft = line.split_whitespace().next()?;
        if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
    });
    found.min().map(|limit| (limit, "the running relay"))
}

fn of_unit(root: &Path) -> Option<(u64, &'static str)> {
    let path = root.join("etc/systemd/system/relay.service.d/50-tune.conf");
    let text = fs::read_to_string(path).ok()?;
    let limit = text.lines().filter_map(|line| line.strip_prefix("LimitNOFILE=")).next_back()?;
    Some((limit.trim().parse().ok()?, "the relay's unit"))
}

/// What `tune` would set, against what is so.
pub(super) fn check(patient: &Patient) -> Vec<Line> {
    let plan = match patient.plan() {
        Ok((_, plan)) => plan,
        Err(why) => {
            let fix = "look at the check `settings` first";
            return vec![Line::fail(KERNEL, "it is not known what it should be", why, fix)];
        }
    };
    let (mut lines, mut same) = (Vec::new(), 0);
    for value in &plan.kernel {
        let path = patient.root.join("proc/sys").join(value.name.replace('.', "/"));
        // A container does not see everything, and need not.
        let Ok(now) = fs::read_to_string(path) else { continue };
        let now = now.split_whitespace().collect::<Vec<_>>().join(" ");
        if suffices(value, &now) {
            same += 1;
            continue;
        }
        lines.push(Line::warn(
            KERNEL,
            format!("{} is {now}, not {}", value.name, value.value),
            value.reason.clone(),
            "provision tune --write, then `sysctl --system`",
        ));
    }
    if lines.is_empty() {
        lines.push(Line::ok(KERNEL, format!("{same} settings are as `tune` has them")));
    }
    lines
}

/// Limits may be higher than planned; what is a choice must be the same.
fn suffices(value: &Value, now: &str) -> bool {
    let is_limit = value.name.starts_with("fs.")
        || value.name.ends_with("_max")
        || matches!(
            value.name,
            "net.core.somaxconn"
                | "net.ipv4.tcp_max_syn_backlog"
                | "net.ipv4.tcp_rmem"
                | "net.ipv4.tcp_wmem"
        );
    if !is_limit {
        return now == value.value;
    }
    let last = |text: &str| text.split(' ').next_back().and_then(|text| text.parse::<u64>().ok());
    last(now) >= last(&value.value)
}
