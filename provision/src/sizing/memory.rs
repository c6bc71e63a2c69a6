//! Who gets how much of the memory.

use serde::Serialize;

use super::{Database, Wishes, load};
use crate::facts::Facts;

const GIB: u64 = 1 << 30;
/// Accounts in memory at least, so that those of a minute find their place.
const ACCOUNTS_MIN: u64 = 50_000;
/// Twice the accounts of a day: more are asked for too seldom to be worth it.
const ACCOUNTS_MAX: u64 = 2 * load::DAILY_ACCOUNTS;

/// Shares of the memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shares {
    /// All that can be used.
    pub all: u64,
    /// What the relay needs at most, by its own limits.
    pub relay: u64,
    /// Accounts that the relay keeps in memory.
    pub accounts: u64,
    /// Postgres' own buffers; 0 when it does not run here.
    pub shared_buffers: u64,
    /// Above this the relay is slowed down.
    pub relay_high: u64,
    /// Above this the relay is ended.
    pub relay_max: u64,
}

pub(super) fn shares(facts: &Facts, wishes: &Wishes) -> Shares {
    let all = facts.usable_memory();
    let fitting = all / 10 / load::ACCOUNT_BYTES / 10_000 * 10_000;
    let accounts = fitting.clamp(ACCOUNTS_MIN, ACCOUNTS_MAX);
    let relay = load::BASE_BYTES
        + wishes.hosts.saturating_mul(load::HOST_BYTES)
        + accounts * load::ACCOUNT_BYTES
        + load::UNSETTLED_BYTES
        + load::BLOCK_BYTES;
    let shared_buffers = match wishes.database {
        Database::Postgres => (all / 4).min(4 * GIB),
        Database::Sqlite | Database::Elsewhere => 0,
    };
    // An eighth is for the kernel, the proxy and whoever logs in.
    let others = shared_buffers + all / 8;
    let relay_max = relay.saturating_mul(2).min(all.saturating_sub(others));
    Shares { all, relay, accounts, shared_buffers, relay_high: relay_max / 4 * 3, relay_max }
}
