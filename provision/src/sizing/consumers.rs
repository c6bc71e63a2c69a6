//! How many consumers the machine can serve, and what stops it from serving more.

use serde::Serialize;

use super::load;
use crate::facts::Facts;

/// Memory that the kernel may need for the socket of one consumer who is behind.
const SOCKET_BYTES: u64 = 4 << 20;

/// How many consumers of the whole stream can be served at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consumers {
    /// The smallest of the limits below.
    pub most: u64,
    /// Which of them it is, in words.
    pub because: String,
    /// By the link at nine tenths of its speed; `None` when that is not known.
    pub by_link: Option<u64>,
    /// By the monthly traffic; `None` without a limit.
    pub by_traffic: Option<u64>,
    /// By half of the cores at the busiest moment.
    pub by_cores: u64,
    /// By an eighth of the memory for sockets.
    pub by_memory: u64,
    /// Bytes that go out in a month with so many.
    pub monthly_bytes: u64,
}

pub(super) fn consumers(facts: &Facts) -> Consumers {
    let by_link = facts.network.link_mbit.map(|mbit| {
        let with_room = mbit.saturating_mul(9) / 10 / load::STREAM_MBIT;
        // A link that is just wide enough serves one, with nothing to spare.
        if mbit >= load::STREAM_MBIT { with_room.max(1) } else { 0 }
    });
    let by_traffic = facts.network.monthly_bytes.map(|bytes| bytes / load::STREAM_BYTES_PER_MONTH);
    let send_ns_per_s = load::PEAK_EVENTS_PER_S * load::SEND_NS;
    let by_cores = facts.usable_cores().saturating_mul(500_000_000) / send_ns_per_s;
    let by_memory = facts.usable_memory() / 8 / SOCKET_BYTES;
    let limits = [
        (by_link, "the link: nine tenths of it at 30 Mbit/s each"),
        (by_traffic, "the monthly traffic: 9.72 TB each"),
        (Some(by_cores), "the cores: half of them at 3,000 events/s, 1.26 µs for each frame"),
        (Some(by_memory), "the memory: an eighth of it at 4 MiB for each socket"),
        (Some(load::CONSUMERS_MAX), "the relay: 2,000 as it comes"),
    ];
    let known = limits.into_iter().filter_map(|(limit, why)| Some((limit?, why)));
    let (most, because) = known.min_by_key(|(limit, _)| *limit).unwrap_or_default();
    Consumers {
        most,
        because: because.to_owned(),
        by_link,
        by_traffic,
        by_cores,
        by_memory,
        monthly_bytes: most.saturating_mul(load::STREAM_BYTES_PER_MONTH),
    }
}
