//! Looks at hosts, subscriptions and log, and remembers what a single look cannot tell.

use std::collections::BTreeMap;

use super::{
    AlertParts,
    finding::{Finding, HostFacts, Kind, near_limit},
    millis,
};
use crate::{
    domain::{HostId, HostStatus},
    hosts::HostView,
};

/// A trusted host may be away for so long: restarts and short faults are usual.
const LOST_AFTER_MS: u64 = 15 * 60_000;
/// Silence of all hosts that is no chance.
const DEAF_AFTER_MS: u64 = 2 * 60_000;
/// Share of the replay window that has to be there, in percent.
const WINDOW_PERCENT_MIN: u64 = 90;

/// What was seen before.
#[derive(Debug, Default)]
pub(super) struct Watch {
    accounts: Accounts,
    lost: Lost,
    hearing: Hearing,
    window: Window,
}

impl Watch {
    /// All that is wrong now.
    pub(super) fn look(&mut self, parts: &AlertParts) -> Vec<Finding> {
        let now_ms = parts.clock.steady_ms();
        let views = parts.hosts.list(HostId(0), usize::MAX);
        let wall_ms = parts.clock.now_ms();
        let hosts: Vec<_> = views.iter().map(|view| facts(view, wall_ms)).collect();
        let mut found = self.accounts.look(&hosts, parts, now_ms);
        found.extend(self.lost.look(&hosts, now_ms));
        let heard = views.iter().map(|view| view.events).sum();
        let connected = parts.upstream.connected();
        found.extend(self.hearing.look((connected, parts.options.deaf_hosts_min), heard, now_ms));
        found.extend(self.look_at_window(parts));
        found.extend(parts.collections.stopped().map(|why| stopped(&why)));
        found
    }

    fn look_at_window(&mut self, parts: &AlertParts) -> Option<Finding> {
        let wanted_ms = millis(parts.replay_window) / 100 * WINDOW_PERCENT_MIN;
        let since_us = parts.clock.now_us().saturating_sub(wanted_ms.saturating_mul(1000));
        let oldest = parts.log.window().oldest.0;
        let reaches = parts.log.seq_at(since_us).0 > oldest;
        self.window.look(oldest, reaches)
    }
}

/// The index of collections takes nothing any more.
fn stopped(why: &str) -> Finding {
    Finding {
        kind: Kind::CollectionsStopped,
        host: None,
        words: format!(
            "lists of accounts by collection are not kept up any more: {why}. Restart the relay; if this \
             comes again, remove the directory of the index: it is then filled anew"
        ),
        silenced: false,
    }
}

/// Account limits are looked at less often, as the settings say.
#[derive(Debug, Default)]
struct Accounts {
    looked_ms: Option<u64>,
    found: Vec<Finding>,
}

impl Accounts {
    fn look(&mut self, hosts: &[HostFacts], parts: &AlertParts, now_ms: u64) -> Vec<Finding> {
        let every_ms = millis(parts.settings.interval);
        let is_due = self.looked_ms.is_none_or(|then| now_ms.saturating_sub(then) >= every_ms);
        if is_due {
            self.looked_ms = Some(now_ms);
            self.found = near_limit(hosts, parts.settings.threshold_millionths);
        }
        self.found.clone()
    }
}

fn facts(view: &HostView, wall_ms: u64) -> HostFacts {
    HostFacts {
        hostname: view.hostname.clone(),
        accounts: view.account_count,
        accounts_max: view.account_limit,
        banned: view.status == HostStatus::Banned,
        is_missed: view.trusted && !view.connected && view.status != HostStatus::Banned,
        silenced: view.silenced_until_ms > wall_ms,
    }
}

/// Since when trusted hosts are away.
#[derive(Debug, Default)]
struct Lost {
    since_ms: BTreeMap<String, u64>,
}

impl Lost {
    fn look(&mut self, hosts: &[HostFacts], now_ms: u64) -> Vec<Finding> {
        let before = std::mem::take(&mut self.since_ms);
        let mut found = Vec::new();
        for host in hosts.iter().filter(|host| host.is_missed) {
            let name = &host.hostname;
            let since_ms = before.get(name).copied().unwrap_or(now_ms);
            self.since_ms.insert(name.clone(), since_ms);
            let away_ms = now_ms.saturating_sub(since_ms);
            if away_ms >= LOST_AFTER_MS {
                let minutes = away_ms / 60_000;
                found.push(Finding {
                    kind: Kind::TrustedHostLost,
                    host: Some(name.clone()),
                    words: format!("{name}, which is trusted, is not connected for {minutes} min"),
                    silenced: host.silenced,
                });
            }
        }
        found
    }
}

/// What was heard last, and when.
#[derive(Debug, Default)]
struct Hearing {
    last: Option<(u64, u64)>,
}

impl Hearing {
    /// * `heard` – events of all hosts since the start
    fn look(
        &mut self,
        (connected, hosts_min): (usize, usize),
        heard: u64,
        now_ms: u64,
    ) -> Option<Finding> {
        let same = self.last.filter(|(before, _)| *before == heard);
        if connected < hosts_min {
            self.last = None;
            return None;
        }
        let (_, since_ms) = *self.last.insert(same.unwrap_or((heard, now_ms)));
        let seconds = now_ms.saturating_sub(since_ms) / 1000;
        (seconds * 1000 >= DEAF_AFTER_MS).then(|| Finding {
            kind: Kind::Deaf,
            host: None,
            words: format!("{connected} hosts are connected and sent nothing for {seconds} s"),
            silenced: false,
        })
    }
}

/// Whether events were removed that the settings would keep.
#[derive(Debug, Default)]
struct Window {
    oldest: Option<u64>,
    shrunk: bool,
}

impl Window {
    /// * `reaches` – whether an event of nine tenths of the window's age is there
    fn look(&mut self, oldest: u64, reaches: bool) -> Option<Finding> {
        let moved = self.oldest.replace(oldest).is_some_and(|before| before < oldest);
        self.shrunk = !reaches && (self.shrunk || moved);
        self.shrunk.then(|| Finding {
            kind: Kind::WindowShrunk,
            host: None,
            words:
                "consumers can go back less far than RELAY_REPLAY_WINDOW says: the event log is \
                    at its limit of bytes, or its disk is nearly full"
                    .to_owned(),
            silenced: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HOST-6: a trusted host that is away for a quarter of an hour is found, a shorter absence is not, and
    /// when it comes back it begins anew.
    #[test]
    fn a_trusted_host_is_lost_after_a_quarter_of_an_hour() {
        const MINUTE: u64 = 60_000;
        let host = |is_missed, silenced| HostFacts {
            hostname: "pds.example.com".to_owned(),
            accounts: 1,
            accounts_max: 100,
            banned: false,
            is_missed,
            silenced,
        };
        let mut lost = Lost::default();
        assert_eq!(lost.look(&[host(true, false)], 0), []);
        assert_eq!(lost.look(&[host(true, false)], 14 * MINUTE), []);
        let found = lost.look(&[host(true, false)], 15 * MINUTE);
        let words: Vec<_> = found.iter().map(|finding| finding.words.as_str()).collect();
        assert_eq!(words, ["pds.example.com, which is trusted, is not connected for 15 min"]);
        assert!(lost.look(&[host(true, true)], 16 * MINUTE).iter().all(|finding| finding.silenced));
        assert_eq!(lost.look(&[host(false, false)], 17 * MINUTE), []);
        assert_eq!(lost.look(&[host(true, false)], 18 * MINUTE), []);
    }

    /// A relay of many hosts that hears nothing for two minutes is deaf; one of few may hear nothing.
    #[test]
    fn silence_of_many_hosts_is_found_and_of_few_is_not() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.look((60, 50), 7, 0), None);
        assert_eq!(hearing.look((60, 50), 7, 119_999), None);
        let found = hearing.look((60, 50), 7, 120_000).map(|finding| finding.words);
        assert_eq!(found.as_deref(), Some("60 hosts are connected and sent nothing for 120 s"));
        assert_eq!(hearing.look((60, 50), 8, 121_000), None);
        assert_eq!(hearing.look((49, 50), 8, 900_000), None);
        assert_eq!(hearing.look((60, 50), 8, 901_000), None, "counted anew");
    }

    /// OUT-2: what was removed too early is found; a young log that still grows has lost nothing.
    #[test]
    fn a_window_has_shrunk_when_events_left_it_too_early() {
        let mut window = Window::default();
        assert_eq!(window.look(1, false), None);
        assert_eq!(window.look(1, false), None, "young");
        assert!(window.look(500, false).is_some());
        assert!(window.look(500, false).is_some(), "lasts");
        assert_eq!(window.look(900, true), None, "reaches far enough again");
        assert_eq!(window.look(900, false), None);
    }
}
