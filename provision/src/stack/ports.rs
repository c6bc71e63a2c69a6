//! Free ports of this machine that stay what they are when a container is started again.

use std::{fs, net::TcpListener};

use anyhow::{Result, bail};

/// Lowest port that is given out.
const LOWEST: u16 = 10_000;
/// Attempts before one gives up: a machine with so many servers has other troubles.
const TRIES: usize = 200;

/// A port that is free now. It lies below the range from which the system takes ports for outgoing
/// connections, so that none of them takes it while the container is down.
pub(super) fn free() -> Result<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok());
    let end: u16 = first.filter(|first| *first > LOWEST).unwrap_or(32_768);
    for _ in 0..TRIES {
        let port = rand::random_range(LOWEST..end);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {LOWEST} and {end} was found")
}
