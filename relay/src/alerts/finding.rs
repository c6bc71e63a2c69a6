//! What may be wrong, as a look finds it. Pure.

use serde::{Deserialize, Serialize};

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A host has nearly as many accounts as it may, or as many.
    AccountLimit,
    /// A host of a trusted domain is not connected.
    TrustedHostLost,
    /// Hosts are connected and nothing comes.
    Deaf,
    /// Consumers can go back less far than the settings say.
    WindowShrunk,
    /// The index of collections takes nothing any more.
    CollectionsStopped,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::AccountLimit,
        Self::TrustedHostLost,
        Self::Deaf,
        Self::WindowShrunk,
        Self::CollectionsStopped,
    ];

    /// The label in metrics and messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::AccountLimit => "account_limit",
            Self::TrustedHostLost => "trusted_host_lost",
            Self::Deaf => "deaf",
            Self::WindowShrunk => "window_shrunk",
            Self::CollectionsStopped => "collections_stopped",
        }
    }
}

/// Something that is so now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// The host that it is about, if it is about one.
    pub(super) host: Option<String>,
    /// One sentence.
    pub(super) words: String,
    /// An operator does not want to hear of it.
    pub(super) silenced: bool,
}

/// The part of a host that matters here.
#[derive(Debug, Clone)]
pub(super) struct HostFacts {
    pub(super) hostname: String,
    pub(super) accounts: u64,
    pub(super) accounts_max: u64,
    pub(super) banned: bool,
    /// It is trusted and not connected.
    pub(super) is_missed: bool,
    pub(super) silenced: bool,
}

/// Hosts whose accounts reach this share of what they may have, in millionths.
pub(super) fn near_limit(hosts: &[HostFacts], share_millionths: u32) -> Vec<Finding> {
    let near = |host: &&HostFacts| {
        let accounts = u128::from(host.accounts) * 1_000_000;
        !host.banned
            && host.accounts_max > 0
            && accounts >= u128::from(host.accounts_max) * u128::from(share_millionths)
    };
    hosts
        .iter()
        .filter(near)
        .map(|host| {
            let HostFacts { hostname, accounts, accounts_max, .. } = host;
            let words = if accounts >= accounts_max {
                format!(
                    "{hostname} has {accounts} of {accounts_max} accounts: further ones are not passed"
                )
            } else {
                let percent = accounts.saturating_mul(100) / (*accounts_max).max(1);
                format!("{hostname} has {accounts} of {accounts_max} accounts ({percent} %)")
            };
            Finding {
                kind: Kind::AccountLimit,
                host: Some(hostname.clone()),
                words,
                silenced: host.silenced,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(accounts: u64, accounts_max: u64) -> HostFacts {
        HostFacts {
            hostname: "pds.example.com".to_owned(),
            accounts,
            accounts_max,
            banned: false,
            is_missed: false,
            silenced: false,
        }
    }

    /// HOST-7: from four fifths on people are warned, and at the limit they read what that means.
    #[test]
    fn a_host_is_near_its_limit_from_the_share_on() {
        let words =
            |host: HostFacts| near_limit(&[host], 800_000).pop().map(|finding| finding.words);
        assert_eq!(words(host(79, 100)), None);
        assert_eq!(
            words(host(80, 100)).as_deref(),
            Some("pds.example.com has 80 of 100 accounts (80 %)")
        );
        assert!(words(host(100, 100)).is_some_and(|words| words.ends_with("are not passed")));
        assert_eq!(words(host(5, 0)), None, "no limit");
        assert_eq!(words(HostFacts { banned: true, ..host(100, 100) }), None);
        assert!(words(host(u64::MAX, u64::MAX)).is_some());
    }
}
