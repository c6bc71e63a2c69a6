//! How much a host may send and hold (HOST-6, HOST-7, HOST-8). Pure.

use crate::domain::{AccountLimits, OwnLimits};

/// Accounts of a host whose domain is trusted.
const TRUSTED_ACCOUNTS: u64 = 10_000_000;

/// Rates of a host whose domain is trusted.
const TRUSTED_RATES: [u64; 3] = [5_000, 50_000_000, 500_000_000];

/// Limit of accounts of a new host unless the settings say otherwise.
const ACCOUNTS_DEFAULT: u64 = 100;

/// Rates of a host of a developer: as fast as it goes.
const FREE_RATES: [u64; 3] = RATES_MAX;

/// Domains that are trusted unless the settings say otherwise.
pub(super) const TRUSTED_DEFAULT: &str = "*.host.bsky.network";

/// Largest limit of accounts that may be set.
pub(super) const ACCOUNTS_MAX: u64 = 1_000_000_000;

/// Largest rates that may be set, per second, hour and day: more than this relay can take.
pub(super) const RATES_MAX: [u64; 3] = [1_000_000, 3_600_000_000, 86_400_000_000];

/// What a host may do now, by all rules together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Live accounts.
    pub accounts: u64,
    /// Events per second.
    pub per_second: u64,
    /// Events per hour.
    pub per_hour: u64,
    /// Events per day.
    pub per_day: u64,
}

/// How far a domain is trusted (HOST-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// As any host.
    Stranger,
    /// Named by the settings or the policy file.
    Trusted,
    /// `localhost:PORT` or `.test`, which only development mode reads (DESIGN 10.16).
    Development,
}

/// What the limits of a host are made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grounds {
    /// Accounts that it may have by the settings of the day when it was first seen.
    pub(super) account_limit: u64,
    /// What was set for it alone.
    pub(super) own: OwnLimits,
    /// How far its domain is trusted.
    pub(super) trust: Trust,
    /// What it earned, in percent.
    pub(super) growth: u64,
}

impl Limits {
    /// A limit that was set for the host alone counts before all. Else a trusted host has the large
    /// limits, and any other those of HOST-7 for its accounts, more by what it earned:
    /// 50 events per second and one per 1,000 accounts; 2,500 per hour and one per account; 20,000
    /// per day and ten per account. Hosts of development mode have none but those that were set.
    pub(super) fn of(grounds: Grounds) -> Self {
        let Grounds { account_limit, own, trust, growth } = grounds;
        let grown = |limit: u64| limit.saturating_add(limit.saturating_mul(growth) / 100);
        let given = match trust {
            Trust::Stranger => grown(account_limit),
            // Whoever develops against more accounts than the default has not thought of it.
            Trust::Development if account_limit != ACCOUNTS_DEFAULT => account_limit,
            Trust::Trusted | Trust::Development => TRUSTED_ACCOUNTS.max(account_limit),
        };
        let accounts = own.accounts.unwrap_or(given);
        // What was earned is in the accounts already, unless those were set.
        let counted = own.accounts.unwrap_or(account_limit);
        let [second, hour, day] = match trust {
            Trust::Development => FREE_RATES,
            Trust::Trusted => TRUSTED_RATES,
            Trust::Stranger => [
                grown(counted.div_euclid(1_000).saturating_add(50)),
                grown(counted.saturating_add(2_500)),
                grown(counted.saturating_mul(10).saturating_add(20_000)),
            ],
        };
        Self {
            accounts,
            per_second: own.per_second.unwrap_or(second),
            per_hour: own.per_hour.unwrap_or(hour),
            per_day: own.per_day.unwrap_or(day),
        }
    }
}

/// What one account may send (HOST-12): of the limits of its host no more than half when there are
/// others. Hosts of development mode have none but what was set.
///
/// * `accounts` – of the host
pub(super) fn of_account(
    set: AccountLimits,
    trust: Trust,
    host: Limits,
    accounts: u64,
) -> AccountLimits {
    if trust == Trust::Development {
        return if set == AccountLimits::default() { AccountLimits::NONE } else { set };
    }
    let at_most = |set: u64, host: u64| match (set, accounts) {
        (0, _) => 0,
        (set, 0 | 1) => set,
        (set, _) => set.min(host.div_ceil(2).max(1)),
    };
    AccountLimits {
        per_hour: at_most(set.per_hour, host.per_hour),
        per_day: at_most(set.per_day, host.per_day),
        ..set
    }
}

/// Whether a pattern covers a host name: `example.com` is that host alone, `*.example.com` are all
/// hosts below it and not itself.
pub(super) fn pattern_covers(pattern: &str, hostname: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => hostname.len() > suffix.len() && hostname.ends_with(suffix),
        None => pattern == hostname,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Grounds = Grounds {
        account_limit: 100,
        own: OwnLimits { accounts: None, per_second: None, per_hour: None, per_day: None },
        trust: Trust::Stranger,
        growth: 0,
    };

    fn limits(grounds: Grounds) -> [u64; 4] {
        let Limits { accounts, per_second, per_hour, per_day } = Limits::of(grounds);
        [accounts, per_second, per_hour, per_day]
    }

    /// HOST-7: the numbers of the specification, and their growth with the accounts.
    #[test]
    fn limits_follow_the_accounts() {
        let with = |account_limit| limits(Grounds { account_limit, ..STRANGER });
        assert_eq!(with(100), [100, 50, 2_600, 21_000]);
        assert_eq!(with(0), [0, 50, 2_500, 20_000]);
        assert_eq!(with(200_000), [200_000, 250, 202_500, 2_020_000]);
        let huge = with(u64::MAX);
        assert_eq!((huge[0], huge[2]), (u64::MAX, u64::MAX));
        let trusted = Grounds { trust: Trust::Trusted, ..STRANGER };
        assert_eq!(limits(trusted), [10_000_000, 5_000, 50_000_000, 500_000_000]);
        let development = Grounds { trust: Trust::Development, ..STRANGER };
        assert_eq!(limits(development)[1..], RATES_MAX);
        let few = Grounds { account_limit: 7, ..development };
        assert_eq!((limits(development)[0], limits(few)[0]), (10_000_000, 7));
    }

    /// HOST-8: what a host earned is more of everything.
    #[test]
    fn what_a_host_earned_is_more_of_everything() {
        let grown = Grounds { growth: 100, ..STRANGER };
        assert_eq!(limits(grown), [200, 100, 5_200, 42_000]);
        let trusted = Grounds { trust: Trust::Trusted, ..grown };
        assert_eq!(limits(trusted)[1], 5_000, "those who are trusted have enough");
    }

    /// HOST-7: what was set for a host counts, also below what it would have, and also when it is
    /// trusted.
    #[test]
    fn what_was_set_for_a_host_counts_before_all() {
        let own = OwnLimits { accounts: Some(5_000), per_hour: Some(10), ..OwnLimits::default() };
        let set = Grounds { own, growth: 100, ..STRANGER };
        assert_eq!(limits(set), [5_000, 110, 10, 140_000]);
        assert_eq!(
            limits(Grounds { trust: Trust::Trusted, ..set }),
            [5_000, 5_000, 10, 500_000_000]
        );
    }

    /// HOST-12: one account of many never has more than half of its host; the only one has all.
    #[test]
    fn one_account_of_many_has_half_of_its_host_at_most() {
        let set = AccountLimits::default();
        let host = Limits::of(STRANGER);
        let of = |trust, accounts| {
            let AccountLimits { per_second, per_hour, per_day, .. } =
                of_account(set, trust, host, accounts);
            [per_second, per_hour, per_day]
        };
        assert_eq!(of(Trust::Stranger, 1), [10, 5_000, 35_000]);
        assert_eq!(of(Trust::Stranger, 2), [10, 1_300, 10_500]);
        assert_eq!(of(Trust::Development, 2), [0, 0, 0]);
        let more = AccountLimits { per_second: 3, per_hour: 0, ..set };
        assert_eq!(of_account(more, Trust::Development, host, 2), more, "what was set counts");
        assert_eq!(of_account(more, Trust::Stranger, host, 2).per_hour, 0, "none stays none");
        let trusted = Limits::of(Grounds { trust: Trust::Trusted, ..STRANGER });
        assert_eq!(of_account(set, Trust::Trusted, trusted, 1_000), set);
    }

    /// HOST-6: as the reference has it, the bare domain is not below itself.
    #[test]
    fn patterns_cover_one_host_or_all_below_a_domain() {
        let covers = |pattern, name| pattern_covers(pattern, name);
        assert!(covers("*.host.bsky.network", "morel.us-east.host.bsky.network"));
        assert!(!covers("*.host.bsky.network", "host.bsky.network"));
        assert!(!covers("*.host.bsky.network", "evilhost.bsky.network"));
        assert!(covers("pds.example.com", "pds.example.com"));
        assert!(!covers("example.com", "pds.example.com"));
    }
}
