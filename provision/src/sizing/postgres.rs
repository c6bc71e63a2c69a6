//! Settings of Postgres, for a file in its `conf.d`. A test starts a server with them.

use super::{Database, FIXED, Shares, Value, Wishes, relay};
use crate::facts::{DiskKind, Facts};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn mb(bytes: u64) -> String {
    format!("{}MB", bytes / MIB)
}

/// Size of the write-ahead log at most.
pub(super) fn wal_bytes(facts: &Facts) -> u64 {
    (facts.disk.size_bytes / 50).clamp(GIB, 16 * GIB) / GIB * GIB
}

/// All settings; none when Postgres does not run here.
pub(super) fn settings(facts: &Facts, wishes: &Wishes, shares: &Shares) -> Vec<Value> {
    if wishes.database != Database::Postgres {
        return Vec::new();
    }
    let mut found = memory(facts, wishes, shares);
    found.extend(durability(facts));
    found.extend(disk(facts));
    found.extend(upkeep());
    found
}

fn memory(facts: &Facts, wishes: &Wishes, shares: &Shares) -> Vec<Value> {
    let connections = relay::pool(facts, wishes) + 20;
    let work = (shares.all / 8 / connections).clamp(4 * MIB, 16 * MIB);
    vec![
        Value::new(
            "max_connections",
            connections,
            "those of the relay and 20 more",
            "for the exporter, backups and people; each costs memory",
        ),
        Value::new(
            "shared_buffers",
            mb(shares.shared_buffers),
            "a quarter of the memory, at most 4 GB",
            "the accounts that are in use lie there",
        ),
        Value::new(
            "effective_cache_size",
            mb(shares.all / 2),
            "half of the memory",
            "what the planner may expect to find in memory, buffers of the kernel included",
        ),
        Value::new(
            "work_mem",
            mb(work),
            "an eighth of the memory for all connections together, 4 to 16 MB",
            "the relay's queries are small; this bounds what a person's query can take",
        ),
        Value::new(
            "maintenance_work_mem",
            mb((shares.all / 32).clamp(64 * MIB, 512 * MIB)),
            "a thirty-second of the memory, 64 to 512 MB",
            "vacuum of the accounts in one pass, and indexes after a restore",
        ),
        Value::new(
            "huge_pages",
            "try",
            FIXED,
            "takes them where the kernel has some, and does without where not",
        ),
        Value::new("jit", "off", FIXED, "compiling a query takes longer than any query here"),
    ]
}

fn durability(facts: &Facts) -> Vec<Value> {
    let wal = wal_bytes(facts);
    let compression = if facts.usable_cores() > 2 { "zstd" } else { "lz4" };
    vec![
        Value::new(
            "synchronous_commit",
            "on",
            FIXED,
            "what an admin decided must not be lost, and the log is pruned behind checkpoints that \
             must be on the disk; in batches of 500 rows it costs 4 % (122,000 against 127,000 \
             rows/s)",
        ),
        Value::new(
            "wal_compression",
            compression,
            "zstd, with one or two cores lz4",
            "whole pages are most of what is written after a checkpoint",
        ),
        Value::new(
            "wal_buffers",
            mb(if facts.usable_memory() >= 8 * GIB { 64 * MIB } else { 16 * MIB }),
            "64 MB, below 8 GB of memory 16 MB",
            "a checkpoint of the relay writes up to 100,000 rows in one transaction",
        ),
        Value::new(
            "max_wal_size",
            mb(wal),
            "a fiftieth of the disk, 1 to 16 GB",
            "fewer checkpoints, so fewer whole pages; this much of the disk is kept free for it",
        ),
        Value::new(
            "min_wal_size",
            mb((wal / 8).max(512 * MIB)),
            "an eighth of it, at least 512 MB",
            "files are used again instead of made anew",
        ),
        Value::new(
            "checkpoint_timeout",
            "30min",
            FIXED,
            "the same pages are written again and again; once in half an hour is enough",
        ),
        Value::new(
            "checkpoint_completion_target",
            "0.9",
            FIXED,
            "spread over the time, so that the event log does not wait for it",
        ),
    ]
}

fn disk(facts: &Facts) -> Vec<Value> {
    let spinning = facts.disk.kind == DiskKind::Rotational;
    vec![
        Value::new(
            "random_page_cost",
            if spinning { "4" } else { "1.1" },
            "1.1, on a spinning disk 4",
            "flash reads any page as fast as the next one",
        ),
        Value::new(
            "effective_io_concurrency",
            if spinning { "2" } else { "200" },
            "200, on a spinning disk 2",
            "how many reads the disk likes to have at once",
        ),
    ]
}

fn upkeep() -> Vec<Value> {
    let vacuum = "rows of accounts are written over and over: small and frequent rounds keep the \
                  table from growing";
    vec![
        Value::new("autovacuum_naptime", "15s", FIXED, vacuum),
        Value::new("autovacuum_vacuum_scale_factor", "0.02", FIXED, vacuum),
        Value::new("autovacuum_analyze_scale_factor", "0.02", FIXED, vacuum),
        Value::new("autovacuum_vacuum_insert_scale_factor", "0.05", FIXED, vacuum),
        Value::new("vacuum_cost_limit", "2000", FIXED, vacuum),
        Value::new(
            "idle_in_transaction_session_timeout",
            "60s",
            FIXED,
            "a forgotten transaction stops vacuum",
        ),
        Value::new("track_io_timing", "on", FIXED, "says whether slowness is the disk's"),
        Value::new("log_checkpoints", "on", FIXED, "the first thing to look at when it is slow"),
        Value::new("log_lock_waits", "on", FIXED, "names who waited for whom"),
        Value::new(
            "log_autovacuum_min_duration",
            "10s",
            FIXED,
            "a vacuum that takes longer is worth a look",
        ),
    ]
}
