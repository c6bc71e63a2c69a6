//! Budgets per operator: hosts of one operator are asked one at a time, whatever their number (ACC-10).
//!
//! Hosts under one suffix, or at one address, are taken for one operator's. What is asked of one of them
//! waits for the others; a 429 of one pauses all.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::clock::Clock;

/// Hosts under one suffix after which they are taken for one operator's.
const SUFFIX_HOSTS: usize = 3;

/// Groups that are remembered; the network has some thousands of hosts.
const GROUPS_MAX: usize = 50_000;

/// Pause after a 429 that does not say how long.
const PAUSE_USUAL: Duration = Duration::from_secs(30);

/// Longest pause that a host may ask for.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// How many hosts there are under each suffix.
#[derive(Debug, Default)]
pub(super) struct Suffixes(HashMap<String, usize>);

impl Suffixes {
    /// Counts them anew.
    pub(super) fn of(hostnames: &[String]) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for suffix in hostnames.iter().filter_map(|name| suffix(name)) {
            *counts.entry(suffix.to_owned()).or_default() += 1;
        }
        Self(counts)
    }

    /// The name of the group of a host; the address counts where the name says nothing.
    pub(super) fn group(&self, hostname: &str, address: Option<IpAddr>) -> String {
        let shared = suffix(hostname)
            .filter(|suffix| self.0.get(*suffix).is_some_and(|count| *count >= SUFFIX_HOSTS));
        match (shared, address) {
            (Some(suffix), _) => format!("*.{suffix}"),
            (None, Some(address)) => network(address).to_string(),
            (None, None) => hostname.to_owned(),
        }
    }
}

/// What follows the first label, when that is more than a top level.
fn suffix(hostname: &str) -> Option<&str> {
    let (_, suffix) = hostname.split_once('.')?;
    suffix.contains('.').then_some(suffix)
}

/// Of IPv6 the first half: a customer has at least that.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let half = address.to_bits() >> 64 << 64;
            IpAddr::V6(half.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Turns of all groups; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    gates: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<Gate>>>>>,
    clock: Clock,
}

/// What a group knows.
#[derive(Debug, Default)]
struct Gate {
    /// By the steady clock.
    paused_until_ms: Option<u64>,
}

/// The turn of a group; others of it wait until it is dropped.
#[derive(Debug)]
pub struct Turn {
    gate: OwnedMutexGuard<Gate>,
    clock: Clock,
}

impl Groups {
    /// * `clock` – of all pauses
    pub(super) fn new(clock: Clock) -> Self {
        Self { gates: Arc::default(), clock }
    }

    /// Waits for the turn of this group, and for the end of its pause.
    ///
    /// Cancel safety: the turn goes to the next.
    pub(super) async fn turn(&self, group: &str) -> Turn {
        let gate = {
            let mut gates = self.gates.lock();
            if gates.len() >= GROUPS_MAX {
                // Whoever waits holds its own.
                gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            }
            Arc::clone(gates.entry(group.to_owned()).or_default())
        };
        let mut gate = gate.lock_owned().await;
        if let Some(until_ms) = gate.paused_until_ms {
            // It stays should the wait be given up.
            let rest_ms = until_ms.saturating_sub(self.clock.steady_ms());
            self.clock.sleep(Duration::from_millis(rest_ms)).await;
            gate.paused_until_ms = None;
        }
        Turn { gate, clock: self.clock.clone() }
    }
}

impl Turn {
    /// The group asked us to come later.
    ///
    /// * `retry_after` – how much later, if it said so
    pub fn pause(mut self, retry_after: Option<Duration>) {
        let pause = retry_after.unwrap_or(PAUSE_USUAL).min(PAUSE_MAX);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.gate.paused_until_ms = Some(self.clock.steady_ms().saturating_add(pause_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ACC-10: hosts under one suffix share a budget, and so do hosts at one address.
    #[test]
    fn hosts_of_one_operator_are_in_one_group() {
        let names = [
            "a.host.example.network",
            "b.host.example.network",
            "c.host.example.network",
            "pds.example.com",
            "other.example.com",
            "example.org",
            "localhost:2583",
        ];
        let suffixes = Suffixes::of(&names.map(ToOwned::to_owned));
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let v6 = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for (host, address, group) in [
            ("a.host.example.network", None, "*.host.example.network"),
            ("b.host.example.network", Some(v4), "*.host.example.network"),
            ("pds.example.com", Some(v4), "192.0.2.1"),
            ("other.example.com", Some(v4), "192.0.2.1"),
            ("pds.example.com", v6("::ffff:192.0.2.1"), "192.0.2.1"),
            ("pds.example.com", v6("2001:db8::1"), "2001:db8::"),
            ("other.example.com", v6("2001:db8::2:1"), "2001:db8::"),
            ("pds.example.com", None, "pds.example.com"),
            ("example.org", None, "example.org"),
            ("localhost:2583", None, "localhost:2583"),
        ] {
            assert_eq!(suffixes.group(host, address), group, "{host} {address:?}");
        }
    }

    /// ACC-10: one call at a time within a group, none for another group to wait for; a 429 pauses the
    /// group for the time that it says.
    #[tokio::test(start_paused = true)]
    async fn a_group_takes_turns_and_a_429_pauses_all_of_it() {
        let clock = Clock::manual(1_800_000_000_000_000);
        let groups = Groups::new(clock.clone());
        let first = groups.turn("a").await;
        let other = groups.turn("b").await;
        let second = groups.turn("a");
        tokio::pin!(second);
        let soon = Duration::from_millis(1);
        let early = tokio::time::timeout(Duration::from_mins(1), &mut second).await;
        assert!(early.is_err(), "the first has not ended");

        first.pause(Some(Duration::from_secs(90)));

        for passed_ms in [0, 89_999] {
            clock.advance_us(passed_ms * 1_000);
            assert!(tokio::time::timeout(soon, &mut second).await.is_err(), "{passed_ms} ms");
        }
        clock.advance_us(1_000);
        drop(tokio::time::timeout(soon, second).await.unwrap());
        drop(tokio::time::timeout(soon, groups.turn("a")).await.expect("the pause is over"));
        drop(other);
    }
}
