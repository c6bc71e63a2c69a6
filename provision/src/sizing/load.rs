//! What the network sends and what an event costs. Each figure says where it is from; the formulas
//! rest on nothing else.

/// Events per second on an ordinary day (docs/performance.md: "about 1,000 events per second").
pub(super) const EVENTS_PER_S: u64 = 1_000;
/// Events per second at the busiest moments (docs/performance.md: "peaks of 2,000 to 3,000").
pub(super) const PEAK_EVENTS_PER_S: u64 = 3_000;
/// Mbit/s of the whole stream, in once and out to each consumer (docs/performance.md: "some 30").
pub(super) const STREAM_MBIT: u64 = 30;
/// The same in bytes per second.
pub(super) const STREAM_BYTES_PER_S: u64 = STREAM_MBIT * 1_000_000 / 8;
/// The same in a month of 30 days: 9.72 TB.
pub(super) const STREAM_BYTES_PER_MONTH: u64 = STREAM_BYTES_PER_S * 86_400 * 30;
/// Percent of its size that the log takes once compressed: the limit that `just bench --only disk`
/// holds it to. Frames of accounts that come once were measured at 62 %, those of the simulation at
/// 41 %; the room must do for the worst.
pub(super) const COMPRESSED_PERCENT: u64 = 65;
/// Bytes of the log per second: 2.4 MB, which is 8.8 GB an hour.
pub(super) const LOG_BYTES_PER_S: u64 = STREAM_BYTES_PER_S * COMPRESSED_PERCENT / 100;
/// Newest files of the log, which stay as they were written: three of 256 MiB, and one in the making.
pub(super) const LOG_PLAIN_BYTES: u64 = 1 << 30;
/// Nanoseconds of a core for an event, all included (docs/performance.md, row `validated`).
pub(super) const EVENT_NS: u64 = 46_000;
/// Nanoseconds of a core for a frame to one consumer (docs/performance.md, row `fanout`).
pub(super) const SEND_NS: u64 = 1_260;
/// Hosts that are connected today (relays of others report 2,700 to 3,000).
pub(super) const HOSTS: u64 = 3_000;
/// Accounts of the network (docs/performance.md).
pub(super) const ACCOUNTS: u64 = 43_000_000;
/// Accounts that are active in a day (docs/performance.md: ten million in a network of ten times the
/// size).
pub(super) const DAILY_ACCOUNTS: u64 = 1_000_000;
/// Bytes of an account's row with its indexes: an estimate, twice what a row without them takes.
pub(super) const ROW_BYTES: u64 = 400;
/// Bytes of an account in memory at most (`RELAY_ACCOUNT_CACHE`).
pub(super) const ACCOUNT_BYTES: u64 = 400;
/// Bytes of the process with no host: with the next one 504 MB at 3,000 hosts and 500,000 accounts;
/// measured were 503 MB over TLS (docs/performance.md, row `wssmemory`).
pub(super) const BASE_BYTES: u64 = 64_000_000;
/// Bytes for each host that is connected over TLS.
pub(super) const HOST_BYTES: u64 = 80_000;
/// Bytes of unsettled events of all hosts together at most: a limit in the relay.
pub(super) const UNSETTLED_BYTES: u64 = 256 << 20;
/// Bytes of the blocks that replaying consumers share: a limit in the relay.
pub(super) const BLOCK_BYTES: u64 = 64 << 20;
/// Milliseconds between two syncs of the log at least: a limit in the relay.
pub(super) const SYNC_PAUSE_MS: u64 = 4;
/// Events that one unit of `RELAY_HOST_CONCURRENCY` stands for, in tenths.
pub(super) const UNIT_TENTHS: u64 = 1_024;
/// Consumers at most: what `RELAY_MAX_CONSUMERS` is unless somebody sets it, and more than anybody has
/// measured.
pub(super) const CONSUMERS_MAX: u64 = 2_000;
