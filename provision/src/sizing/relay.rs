//! Settings of the relay. Their names are checked against its schema by a test.

use std::time::Duration;

use ::relay::units;

use super::{Consumers, Database, Shares, Value, Window, Wishes, load};
use crate::{facts::Facts, words};

/// More than this verify a hundred times the busiest moment; each costs memory for every host.
const SHARDS_MAX: u64 = 16;
/// What the reference relay has, and what 10,000 events/s of one host need on any disk.
const UNITS_MIN: u64 = 40;
const UNITS_MAX: u64 = 400;
/// A handshake keeps a core busy for some milliseconds: so many at once on each.
const HANDSHAKES_PER_CORE: u64 = 32;
/// The directory's own people are asked for no more, out of politeness.
const PLC_RATE_MAX: u64 = 100;
/// An identity costs a core some milliseconds of TLS and JSON; half of a core for these.
const PLC_RATE_PER_CORE: u64 = 50;
/// Milliseconds that the directory may take for an answer while its rate is still reached; usually it
/// takes some 50.
const ANSWER_MS: u64 = 640;
/// A few that hang must not stop the others.
const LOOKUPS_MIN: u64 = 16;

/// All settings that depend on the machine.
pub(super) fn settings(
    facts: &Facts,
    wishes: &Wishes,
    (window, shares): (&Window, &Shares),
    consumers: &Consumers,
) -> Vec<Value> {
    let mut found = room(window);
    found.push(shards(facts, wishes));
    found.push(accounts(shares));
    found.push(host_concurrency(facts, wishes));
    found.push(Value::new(
        "RELAY_HANDSHAKES_MAX",
        handshakes(facts),
        format!("{HANDSHAKES_PER_CORE} for each core, 16 to 256"),
        "hosts that are dialled at once after a start: TLS handshakes are what keeps the cores busy \
         then, and consumers must not wait for them",
    ));
    found.push(Value::new(
        "RELAY_PLC_RATE",
        plc_rate(facts),
        format!("{PLC_RATE_PER_CORE} for each core, at most {PLC_RATE_MAX}"),
        "identities that are looked up in a second: the directory's patience is the limit, not this \
         machine; an empty relay reads its hosts as fast as their accounts become known",
    ));
    found.push(Value::new(
        "RELAY_IDENTITY_CONCURRENCY",
        (plc_rate(facts) * ANSWER_MS / 1_000).max(LOOKUPS_MIN),
        format!("what RELAY_PLC_RATE begins in {ANSWER_MS} ms, at least {LOOKUPS_MIN}"),
        "identities that are looked up at once: the directory answers in some 50 ms, and when it takes \
         ten times as long the rate is still reached; one that never answers ties up no more than this",
    ));
    found.push(max_consumers(consumers));
    if wishes.database != Database::Sqlite {
        found.push(Value::new(
            "MAX_DB_CONNECTIONS",
            pool(facts, wishes),
            "one for each shard and 6 more, 10 to 40",
            "a shard waits for one query at a time, for accounts that are not in memory; the others \
             are for checkpoints, the admin API and lists",
        ));
    }
    found
}

fn room(window: &Window) -> Vec<Value> {
    let (Some(seconds), true) = (window.window_s, window.fits) else { return Vec::new() };
    let per_hour = words::bytes(load::LOG_BYTES_PER_S * 3_600);
    vec![
        Value::new(
            "RELAY_REPLAY_WINDOW",
            units::duration(Duration::from_secs(seconds)),
            format!(
                "{per_hour} an hour (30 Mbit/s, compressed to {} %) and 1 GiB of newest files: {}",
                load::COMPRESSED_PERCENT,
                words::bytes(window.needed_bytes)
            ),
            "a consumer that was away for less than this misses nothing",
        ),
        Value::new(
            "RELAY_REPLAY_MAX_BYTES",
            units::exact_bytes(window.cap_bytes),
            if window.capped_by_disk {
                "what the disk has for it, in whole GiB"
            } else {
                "the window and a quarter, in whole GiB"
            },
            "a busy week makes the window shorter, never the disk full",
        ),
    ]
}

/// Workers that verify.
pub(super) fn shard_count(facts: &Facts, wishes: &Wishes) -> u64 {
    let cores = facts.usable_cores();
    let others = u64::from(cores > 2 && wishes.database == Database::Postgres);
    (cores - others).clamp(1, SHARDS_MAX)
}

fn shards(facts: &Facts, wishes: &Wishes) -> Value {
    let count = shard_count(facts, wishes);
    let rate = 1_000_000_000 / load::EVENT_NS * count;
    Value::new(
        "RELAY_SHARDS",
        count,
        "one for each core (threads of one core do not add up), one core less for Postgres where \
         there are more than two, at most 16",
        format!(
            "an event takes {} µs, so these verify {} events/s; the network sends {} and peaks at \
             {}: the rest is how fast a backlog is made up for",
            load::EVENT_NS / 1_000,
            words::count(rate / 1_000 * 1_000),
            words::count(load::EVENTS_PER_S),
            words::count(load::PEAK_EVENTS_PER_S),
        ),
    )
}

fn accounts(shares: &Shares) -> Value {
    Value::new(
        "RELAY_ACCOUNT_CACHE",
        shares.accounts,
        "a tenth of the memory at 400 bytes each, 50,000 to 2,000,000",
        format!(
            "{} at most; some {} accounts are active in a day, and an account that is not in memory \
             costs a query",
            words::bytes(shares.accounts * load::ACCOUNT_BYTES),
            words::count(load::DAILY_ACCOUNTS),
        ),
    )
}

/// As many events as one host may send while the log is synced twice, when all shards work for it.
fn host_concurrency(facts: &Facts, wishes: &Wishes) -> Value {
    let per_s = 1_000_000_000 / load::EVENT_NS * shard_count(facts, wishes);
    let measured = facts.disk.syncs_per_s.map(|syncs| 1_000_u64.div_ceil(syncs.max(1)));
    let sync_ms = measured.unwrap_or(10).max(load::SYNC_PAUSE_MS);
    let waiting = per_s.saturating_mul(2 * sync_ms) / 1_000;
    let units = (waiting.saturating_mul(10)).div_ceil(load::UNIT_TENTHS);
    Value::new(
        "RELAY_HOST_CONCURRENCY",
        units.clamp(UNITS_MIN, UNITS_MAX),
        "what all shards verify during two syncs of the disk, at 102 events each, 40 to 400",
        "one large host that has a backlog must be able to keep the whole relay busy; 16 MiB per host \
         are the limit in any case",
    )
}

fn handshakes(facts: &Facts) -> u64 {
    (facts.usable_cores() * HANDSHAKES_PER_CORE).clamp(16, 256)
}

fn plc_rate(facts: &Facts) -> u64 {
    (facts.usable_cores() * PLC_RATE_PER_CORE).min(PLC_RATE_MAX)
}

/// As many as the machine can serve; one at least, so that somebody can see that it works.
fn max_consumers(consumers: &Consumers) -> Value {
    Value::new(
        "RELAY_MAX_CONSUMERS",
        consumers.most.max(1),
        format!(
            "the smallest of what link, traffic, cores and memory serve; here {}",
            consumers.because
        ),
        "with one more all of them would fall behind; that one is told to come later, and the others \
         keep their pace",
    )
}

/// Connections of the relay to Postgres.
pub(super) fn pool(facts: &Facts, wishes: &Wishes) -> u64 {
    (shard_count(facts, wishes) + 6).clamp(10, 40)
}
