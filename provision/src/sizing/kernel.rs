//! What the kernel and systemd are told.

use ::relay::{descriptors, units};

use super::{FIXED, Shares, Value, Wishes};
use crate::facts::Facts;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Open files of the relay: eight times what hosts and clients of today take, as a power of two.
fn open_files(wishes: &Wishes) -> u64 {
    let hosts = usize::try_from(wishes.hosts).unwrap_or(usize::MAX);
    let needed = descriptors::needed_for(hosts).saturating_mul(8);
    u64::try_from(needed).unwrap_or(1 << 20).clamp(1 << 16, 1 << 30).next_power_of_two()
}

/// Settings of the kernel.
pub(super) fn sysctl(facts: &Facts, wishes: &Wishes) -> Vec<Value> {
    let mut found = files(wishes);
    found.extend(sockets(facts));
    found.extend(memory(facts));
    found
}

fn files(wishes: &Wishes) -> Vec<Value> {
    let limit = open_files(wishes).max(1 << 20);
    let formula = "1,048,576, more with very many hosts";
    vec![
        Value::new(
            "fs.nr_open",
            limit,
            formula,
            "the most that one process may be given; one file for each host and each consumer",
        ),
        Value::new(
            "fs.file-max",
            limit.saturating_mul(2),
            "twice that",
            "for all processes together",
        ),
    ]
}

fn sockets(facts: &Facts) -> Vec<Value> {
    let most = if facts.usable_memory() >= 16 * GIB { 16 * MIB } else { 4 * MIB };
    let formula = "16 MiB, below 16 GiB of memory 4 MiB";
    let far = "a consumer on another continent (150 ms) that makes up for what it missed needs 4 MiB \
               on the way at 200 Mbit/s, 16 MiB at 900";
    vec![
        Value::new(
            "net.core.somaxconn",
            4096,
            FIXED,
            "after a restart all consumers come back at once",
        ),
        Value::new("net.ipv4.tcp_max_syn_backlog", 8192, FIXED, "the same, one step earlier"),
        Value::new("net.core.rmem_max", most, formula, far),
        Value::new("net.core.wmem_max", most, formula, far),
        Value::new("net.ipv4.tcp_rmem", format!("4096 131072 {most}"), formula, far),
        Value::new("net.ipv4.tcp_wmem", format!("4096 65536 {most}"), formula, far),
        Value::new(
            "net.ipv4.tcp_notsent_lowat",
            131_072,
            FIXED,
            "a consumer that reads slowly takes 128 KiB of kernel memory and not megabytes: the log \
             is its buffer",
        ),
        Value::new(
            "net.core.default_qdisc",
            "fq",
            FIXED,
            "shares the link among consumers, and paces for bbr",
        ),
        Value::new(
            "net.ipv4.tcp_congestion_control",
            "bbr",
            FIXED,
            "a lost packet on a long way does not halve a consumer's stream",
        ),
        Value::new(
            "net.ipv4.tcp_slow_start_after_idle",
            0,
            FIXED,
            "a quiet second must not cost the next burst its speed",
        ),
        Value::new(
            "net.ipv4.tcp_keepalive_time",
            60,
            FIXED,
            "connections that died without a word are noticed; pings of the relay come first",
        ),
    ]
}

fn memory(facts: &Facts) -> Vec<Value> {
    let background = (facts.usable_memory() / 64).clamp(64 * MIB, 256 * MIB) / MIB * MIB;
    vec![
        Value::new(
            "vm.dirty_background_bytes",
            background,
            "a sixty-fourth of the memory, 64 to 256 MiB",
            "written soon and evenly: on a machine with much memory the default saves gigabytes up, \
             and a sync of the log then waits for them",
        ),
        Value::new("vm.dirty_bytes", background * 4, "four times that", "the same"),
        Value::new(
            "vm.swappiness",
            10,
            FIXED,
            "accounts in memory are there because they are asked for; the page cache gives way first",
        ),
        Value::new("kernel.panic", 10, FIXED, "a machine without people restarts by itself"),
    ]
}

/// Settings of the relay's unit.
pub(super) fn unit(facts: &Facts, wishes: &Wishes, shares: &Shares) -> Vec<Value> {
    let whole = |bytes: u64| format!("{}M", bytes / MIB);
    vec![
        Value::new(
            "LimitNOFILE",
            open_files(wishes),
            "eight times what the hosts and 2,000 clients need, as a power of two",
            "a relay that runs out of files sends clients away first, then hosts",
        ),
        Value::new(
            "MemoryHigh",
            whole(shares.relay_high),
            "three quarters of the next",
            "above this it is slowed down and gives page cache back, before anything is ended",
        ),
        Value::new(
            "MemoryMax",
            whole(shares.relay_max),
            "twice what the relay needs by its own limits, or what Postgres and the system leave",
            format!(
                "it needs {} at most; what takes more is a fault, and a restart of two seconds is \
                 better than a machine that swaps",
                units::bytes(shares.relay)
            ),
        ),
        Value::new(
            "RequiresMountsFor",
            &facts.disk.path,
            "the data path",
            "without its disk the relay must not start and fill the one below",
        ),
    ]
}
