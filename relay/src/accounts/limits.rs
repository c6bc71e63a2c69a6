//! What one account may do and may cause in a span of time (RES-3, SYNC-4, SYNC-7, IDE-5, ACC-3, ACC-11).
//!
//! Pure: time is a parameter. A bucket is eight bytes, so that half a million accounts can have some.

use super::levels::Discontinuities;

/// How often something may happen: `burst` at once, then one per `period_ms`.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Events at once after a long silence; at least 1.
    pub burst: u64,
    /// Time that earns one more.
    pub period_ms: u64,
}

/// SYNC-7: each forwarded `#sync` makes consumers fetch a whole repo. 5 per minute, burst 10.
pub const SYNCS_SHORT: Rate = Rate { burst: 10, period_ms: 12_000 };
/// SYNC-7: 100 per day.
pub const SYNCS_DAY: Rate = Rate { burst: 100, period_ms: 864_000 };
/// IDE-5: 10 forwarded `#identity` per hour.
pub const IDENTITIES: Rate = Rate { burst: 10, period_ms: 360_000 };
/// RES-3: one forced refresh of an identity per minute.
pub const REFRESH_SHORT: Rate = Rate { burst: 1, period_ms: 60_000 };
/// RES-3: ten forced refreshes per day.
pub const REFRESH_DAY: Rate = Rate { burst: 10, period_ms: 8_640_000 };
/// Lookups caused by `#identity` of the account's own host; a handle change may come in a few
/// messages, a flood of them joins what was fetched before (IDE-5).
pub const ANNOUNCED: Rate = Rate { burst: 5, period_ms: 20_000 };
/// SEC-3: lookups that one host may cause at one shard with events for accounts that are not its own.
pub const FOREIGN_LOOKUPS: Rate = Rate { burst: 60, period_ms: 1_000 };

/// Exact repeats of an announcement are dropped for this long, never longer (ACC-3, IDE-5).
pub const REPEAT_MS: u64 = 60_000;
/// SYNC-4: at most one `#sync` per minute that repeats the known state.
const SYNC_REPEAT_MS: u64 = 60_000;
/// ACC-11: first and longest pause between two status probes for one account.
const PROBE_PAUSE_MS: (u64, u64) = (5 * 60_000, 60 * 60_000);

/// A token bucket in one number: the time at which it is full again, in ms since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket(u64);

impl Bucket {
    /// Nothing was taken yet.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether one more fits now.
    pub fn has(self, rate: Rate, now_ms: u64) -> bool {
        self.wait_ms(rate, now_ms) == 0
    }

    /// Time until one more fits, ms.
    pub fn wait_ms(self, rate: Rate, now_ms: u64) -> u64 {
        let room_ms = rate.burst.saturating_sub(1).saturating_mul(rate.period_ms);
        self.0.saturating_sub(now_ms.saturating_add(room_ms))
    }

    /// How many were taken and have not sunk yet.
    pub fn used(self, rate: Rate, now_ms: u64) -> u64 {
        self.0.saturating_sub(now_ms).div_ceil(rate.period_ms.max(1))
    }

    /// Takes one, whether it fits or not.
    pub fn take(&mut self, rate: Rate, now_ms: u64) {
        self.0 = self.0.max(now_ms).saturating_add(rate.period_ms);
    }
}

/// Which kind of doubt caused a refresh. The two have budgets of their own, so that a foreign host
/// cannot use up the refreshes that the account's own host needs after a key rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// An event came from another host than the known one.
    Host,
    /// The key is unknown, or a signature did not verify.
    Key,
}

/// An announcement that was passed: what it said, by hash, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    what: u64,
    at_ms: u64,
}

/// What an account did and caused lately; in memory only, lost without harm.
#[derive(Debug, Clone)]
pub struct Recent {
    last_account: Option<Said>,
    /// Forgotten at each passed `#account`: after a change of status the same `#identity` is news.
    last_identity: Option<Said>,
    syncs: (Bucket, Bucket),
    identities: Bucket,
    host_doubts: (Bucket, Bucket),
    key_doubts: (Bucket, Bucket),
    announced: Bucket,
    /// Whether a `#sync` of the known state may be forwarded: once after each return to activity.
    sync_repeat: bool,
    sync_repeated_ms: u64,
    probe_after_ms: u64,
    probe_pause_ms: u64,
    /// Commits that did not follow the one before (VAL-20).
    pub discontinuities: Discontinuities,
    /// When an `#identity` last passed.
    pub identity_passed_ms: u64,
    /// When a lookup last changed key or host.
    pub identity_changed_ms: u64,
    /// The host that the DID document names, when we do not know it.
    pub named_host: Option<Box<str>>,
}

impl Recent {
    /// Nothing happened yet. `sync_repeat` – whether one `#sync` of the known state may pass: not for
    /// an account that was first seen a moment ago (its first commit said the same).
    pub const fn new(sync_repeat: bool) -> Self {
        Self {
            last_account: None,
            last_identity: None,
            syncs: (Bucket(0), Bucket(0)),
            identities: Bucket(0),
            host_doubts: (Bucket(0), Bucket(0)),
            key_doubts: (Bucket(0), Bucket(0)),
            announced: Bucket(0),
            sync_repeat,
            sync_repeated_ms: 0,
            probe_after_ms: 0,
            probe_pause_ms: 0,
            discontinuities: Discontinuities::none(),
            identity_passed_ms: 0,
            identity_changed_ms: 0,
            named_host: None,
        }
    }

    /// SYNC-7.
    pub fn may_pass_sync(&self, now_ms: u64) -> bool {
        self.syncs.0.has(SYNCS_SHORT, now_ms) && self.syncs.1.has(SYNCS_DAY, now_ms)
    }

    /// SYNC-4: a `#sync` that repeats the known state.
    pub fn may_repeat_sync(&self, now_ms: u64) -> bool {
        self.sync_repeat
            && (self.sync_repeated_ms == 0
                || now_ms.saturating_sub(self.sync_repeated_ms) >= SYNC_REPEAT_MS)
    }

    /// A `#sync` was passed.
    pub fn sync_passed(&mut self, repeats: bool, now_ms: u64) {
        self.syncs.0.take(SYNCS_SHORT, now_ms);
        self.syncs.1.take(SYNCS_DAY, now_ms);
        if repeats {
            self.sync_repeat = false;
            self.sync_repeated_ms = now_ms;
        }
    }

    /// Whether this `#account` repeats the last one that was passed (ACC-3).
    pub fn repeats_account(&self, what: u64, now_ms: u64) -> bool {
        self.last_account.is_some_and(|said| said.repeats(what, now_ms))
    }

    /// An `#account` was passed; `returned` – the account was inactive before and is active now.
    pub fn account_passed(&mut self, what: u64, returned: bool, now_ms: u64) {
        self.last_account = Some(Said { what, at_ms: now_ms });
        self.last_identity = None;
        self.sync_repeat |= returned;
    }

    /// Whether this `#identity` repeats the last one that was passed (IDE-5).
    pub fn repeats_identity(&self, what: u64, now_ms: u64) -> bool {
        self.last_identity.is_some_and(|said| said.repeats(what, now_ms))
    }

    /// IDE-5: the hourly limit.
    pub fn may_pass_identity(&self, now_ms: u64) -> bool {
        self.identities.has(IDENTITIES, now_ms)
    }

    /// An `#identity` was passed.
    pub fn identity_passed(&mut self, what: u64, now_ms: u64) {
        self.last_identity = Some(Said { what, at_ms: now_ms });
        self.identity_passed_ms = now_ms;
        self.identities.take(IDENTITIES, now_ms);
    }

    /// RES-3: whether one more forced refresh is allowed.
    pub fn may_refresh(&self, doubt: Doubt, now_ms: u64) -> bool {
        let (short, day) = match doubt {
            Doubt::Host => self.host_doubts,
            Doubt::Key => self.key_doubts,
        };
        short.has(REFRESH_SHORT, now_ms) && day.has(REFRESH_DAY, now_ms)
    }

    /// A forced refresh gave an answer. One that failed for want of a connection does not count.
    pub fn refreshed(&mut self, doubt: Doubt, now_ms: u64) {
        let (short, day) = match doubt {
            Doubt::Host => &mut self.host_doubts,
            Doubt::Key => &mut self.key_doubts,
        };
        short.take(REFRESH_SHORT, now_ms);
        day.take(REFRESH_DAY, now_ms);
    }

    /// Whether an `#identity` of the account's own host may cause a lookup.
    pub fn may_follow_announcement(&self, now_ms: u64) -> bool {
        self.announced.has(ANNOUNCED, now_ms)
    }

    /// An `#identity` of the account's own host caused a lookup.
    pub fn announcement_followed(&mut self, now_ms: u64) {
        self.announced.take(ANNOUNCED, now_ms);
    }

    /// ACC-11.
    pub fn may_probe(&self, now_ms: u64) -> bool {
        now_ms >= self.probe_after_ms
    }

    /// A probe gave no reason to believe that the account is active; the pause grows.
    pub fn probe_was_negative(&mut self, now_ms: u64) {
        let (first, longest) = PROBE_PAUSE_MS;
        self.probe_pause_ms = self.probe_pause_ms.saturating_mul(2).clamp(first, longest);
        self.probe_after_ms = now_ms.saturating_add(self.probe_pause_ms);
    }

    /// The account is active again; the next probe may come at once.
    pub fn probe_was_positive(&mut self) {
        self.probe_pause_ms = 0;
        self.probe_after_ms = 0;
    }
}

impl Said {
    fn repeats(self, what: u64, now_ms: u64) -> bool {
        self.what == what && now_ms.saturating_sub(self.at_ms) < REPEAT_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    /// SYNC-7: a burst of ten, then five per minute.
    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            assert!(bucket.has(SYNCS_SHORT, NOW));
            bucket.take(SYNCS_SHORT, NOW);
        }
        assert!(!bucket.has(SYNCS_SHORT, NOW));
        assert!(!bucket.has(SYNCS_SHORT, NOW + 11_999));
        assert!(bucket.has(SYNCS_SHORT, NOW + 12_000));
    }

    /// SYNC-7: the daily limit holds however slowly the syncs come.
    #[test]
    fn a_hundred_and_one_syncs_in_a_day_are_one_too_many() {
        let mut recent = Recent::new(false);
        let mut passed = 0;
        for minute in 0..200 {
            let now_ms = NOW + minute * 60_000;
            if recent.may_pass_sync(now_ms) {
                recent.sync_passed(false, now_ms);
                passed += 1;
            }
        }
        // 100 at once and one for each 14.4 minutes of the 200.
        assert_eq!(passed, 113);
    }

    /// ACC-3, IDE-5: a repeat is dropped for sixty seconds and never longer.
    #[test]
    fn a_repeat_counts_as_one_for_sixty_seconds() {
        let mut recent = Recent::new(false);
        recent.account_passed(7, false, NOW);
        assert!(recent.repeats_account(7, NOW + 59_999));
        assert!(!recent.repeats_account(8, NOW + 1));
        assert!(!recent.repeats_account(7, NOW + 60_000));
    }

    /// Table 9.3: the `#identity` after a reactivation passes although it says the same as before.
    #[test]
    fn a_change_of_status_makes_the_same_identity_news() {
        let mut recent = Recent::new(false);
        recent.identity_passed(7, NOW);
        assert!(recent.repeats_identity(7, NOW + 1));
        recent.account_passed(1, false, NOW + 2);
        assert!(!recent.repeats_identity(7, NOW + 3));
    }

    /// SYNC-4: once per return to activity and at most once a minute.
    #[test]
    fn a_sync_of_the_known_state_passes_once_after_each_return() {
        let mut recent = Recent::new(false);
        assert!(!recent.may_repeat_sync(NOW));
        recent.account_passed(1, true, NOW);
        assert!(recent.may_repeat_sync(NOW));
        recent.sync_passed(true, NOW);
        assert!(!recent.may_repeat_sync(NOW + 61_000));
        recent.account_passed(1, true, NOW + 30_000);
        assert!(!recent.may_repeat_sync(NOW + 30_000));
        assert!(recent.may_repeat_sync(NOW + 60_000));
    }

    /// RES-3: one a minute, ten a day; the doubts of foreign hosts do not use up the others.
    #[test]
    fn refreshes_of_one_identity_are_limited_per_minute_and_per_day() {
        let mut recent = Recent::new(false);
        recent.refreshed(Doubt::Host, NOW);
        assert!(!recent.may_refresh(Doubt::Host, NOW + 59_999));
        assert!(recent.may_refresh(Doubt::Key, NOW + 1));
        let mut allowed = 1;
        for minute in 1..60 {
            if recent.may_refresh(Doubt::Host, NOW + minute * 60_000) {
                recent.refreshed(Doubt::Host, NOW + minute * 60_000);
                allowed += 1;
            }
        }
        assert_eq!(allowed, 10);
    }

    /// ACC-11: 5, 10, 20, 40, 60, 60 minutes.
    #[test]
    fn the_pause_between_probes_grows_to_an_hour() {
        let mut recent = Recent::new(false);
        for minutes in [5, 10, 20, 40, 60, 60] {
            recent.probe_was_negative(NOW);
            assert!(!recent.may_probe(NOW + minutes * 60_000 - 1));
            assert!(recent.may_probe(NOW + minutes * 60_000));
        }
        recent.probe_was_positive();
        assert!(recent.may_probe(NOW));
    }
}
