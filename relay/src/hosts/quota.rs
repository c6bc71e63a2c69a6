//! One host against its limits of events and accounts (HOST-7, HOST-9, ACC-9).

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    host::Host,
    life::{Phase, span},
    pace::{NEAR, Span, Turn},
};
use crate::domain::{AccountLimits, HostStatus};

/// How long a host may be behind before somebody should look: half of the day for which hosts keep
/// their events unless they are told otherwise.
const BEHIND_MS_MAX: u64 = 12 * 3_600_000;

/// How long one reading of the limits of an account counts, ms: they follow those of the host.
const OF_ACCOUNT_MS: u64 = 1_000;

/// How much of its limits a host uses, and what comes of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Parts of the limits per second, hour and day that are used, 1 = all.
    pub shares: [f64; 3],
    /// More than 80 % of an hour's or a day's limit is used, or of the limit of accounts.
    pub near: bool,
    /// For how long its limits have kept it from being read to its newest event, in ms. Nothing unread
    /// is older than that.
    pub behind_ms: u64,
    /// It is behind for more than 12 hours: soon it deletes what was not read. Raise its limits.
    pub losing: bool,
}

impl Usage {
    /// The used parts of the limits per second, hour and day, in percent.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "held between 0 and a thousand"
    )]
    pub fn percent(&self) -> [u32; 3] {
        self.shares.map(|share| (share * 100.0).clamp(0.0, 1_000.0).round() as u32)
    }
}

impl Host {
    /// Whether the next event may come now (VAL-14); counts it then. Called for every event, and by
    /// nobody but the subscription.
    pub fn turn(&self) -> Turn {
        let now_us = self.shared.clock.steady_us();
        let turn = self.pace.lock().turn(now_us, || self.limits());
        if turn != Turn::Now {
            let since_ms = (now_us / 1_000).max(1);
            // Keeps the first time.
            let before = self.behind_since_ms.compare_exchange(
                0,
                since_ms,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if before.is_ok() {
                tracing::debug!(host = %self.hostname(), ?turn, "the host is slowed down");
            }
        }
        turn
    }

    /// An event that was taken and came to nothing because its account is held: the limits of an hour and
    /// a day are there for the host's other accounts (HOST-12).
    pub fn give_turn_back(&self) {
        self.pace.lock().give_back();
    }

    /// What one of its accounts may send now (HOST-12): what the settings say, and of the host's own
    /// limits of an hour and a day no more than half as long as it has other accounts.
    pub fn account_limits(&self) -> AccountLimits {
        let now_ms = self.shared.clock.steady_ms();
        let mut kept = self.of_account.lock();
        if now_ms >= kept.1 {
            let set = self.shared.account_limits;
            *kept =
                (self.of_account(set, self.account_count()), now_ms.saturating_add(OF_ACCOUNT_MS));
        }
        kept.0
    }

    /// The host was disconnected because it was over a limit for too long.
    pub fn throttled(&self, over: Span) {
        let (now_ms, limits) = (self.shared.clock.now_ms(), self.limits());
        let limit = match over {
            Span::Second => limits.per_second,
            Span::Hour => limits.per_hour,
            Span::Day => limits.per_day,
        };
        let why = format!("it sent more than {limit} events per {}", over.as_text());
        let mut life = self.life.lock();
        life.throttle(why, now_ms);
        drop(life);
        self.set_dirty();
    }

    /// How long the host is still to be left alone because it was over its limits; `None` when it may be
    /// read, which ends that status.
    pub fn quota_rest(&self) -> Option<Duration> {
        if self.status() != HostStatus::Throttled {
            return None;
        }
        let clock = &self.shared.clock;
        let rest = self.pace.lock().resume_in(clock.steady_us(), self.limits());
        let now_ms = clock.now_ms();
        let mut life = self.life.lock();
        if !rest.is_zero() {
            let rest_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
            life.phase = Phase::Resting { until_ms: now_ms.saturating_add(rest_ms) };
            return Some(rest);
        }
        life.turn(HostStatus::Active, Some("it is within its limits again".to_owned()), now_ms);
        drop(life);
        self.set_dirty();
        None
    }

    /// Whether its limits keep it from being read to its newest event.
    pub fn is_behind(&self) -> bool {
        self.behind_since_ms.load(Ordering::Relaxed) != 0
    }

    /// All that the host has was read.
    pub fn caught_up(&self) {
        let since_ms = self.behind_since_ms.swap(0, Ordering::Relaxed);
        if since_ms != 0 {
            let behind = self.shared.clock.steady_ms().saturating_sub(since_ms);
            tracing::debug!(host = %self.hostname(), behind = %span(behind), "the host is read to its end");
        }
    }

    /// Counts an account that comes to the host (HOST-10); gives whether there is room for it (ACC-9).
    pub fn admit_account(&self) -> bool {
        let before = u64::try_from(self.accounts.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
        before < self.account_limit()
    }

    /// An account left the host (ACC-8).
    pub fn remove_account(&self) {
        self.accounts.fetch_sub(1, Ordering::Relaxed);
        self.review_accounts();
    }

    /// An account of the host is held (ACC-9).
    pub fn note_held(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.held_at_ms.store(self.shared.clock.steady_ms(), Ordering::Relaxed);
    }

    /// An account of the host that was held is released.
    pub fn released_one(&self) {
        let less = |held: u64| Some(held.saturating_sub(1));
        if self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            tracing::debug!("the update always gives a number");
        }
    }

    /// How many accounts of the host are held, as the store has it.
    pub fn set_held(&self, held: u64) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Whether an account of the host was held within the last span.
    pub fn held_lately(&self, span_ms: u64) -> bool {
        let at_ms = self.held_at_ms.load(Ordering::Relaxed);
        at_ms != 0 && self.shared.clock.steady_ms().saturating_sub(at_ms) < span_ms
    }

    /// Accounts of the host that are held because it has more than it may.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Accounts that are held may have room now.
    pub fn review_accounts(&self) {
        self.needs_review.store(true, Ordering::Relaxed);
    }

    /// Whether accounts may have room since the last call.
    pub fn take_review(&self) -> bool {
        self.needs_review.swap(false, Ordering::Relaxed)
    }

    /// Notes how one of its events was judged, for the growth of its limits (HOST-8).
    pub fn count_verdict(&self, valid: bool) {
        let count = if valid { &self.valid } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Valid and refused events since the last call.
    pub(super) fn take_day(&self) -> (u64, u64) {
        (self.valid.swap(0, Ordering::Relaxed), self.refused.swap(0, Ordering::Relaxed))
    }

    /// How much of its limits it uses.
    pub fn usage(&self) -> Usage {
        let (now_us, limits) = (self.shared.clock.steady_us(), self.limits());
        let shares = self.pace.lock().shares(now_us, limits);
        let since_ms = self.behind_since_ms.load(Ordering::Relaxed);
        let behind_ms = if since_ms == 0 { 0 } else { (now_us / 1_000).saturating_sub(since_ms) };
        let [_, hour, day] = shares;
        let accounts = self.account_count().saturating_mul(10) >= limits.accounts.saturating_mul(8);
        let near = hour >= NEAR || day >= NEAR || accounts;
        Usage { shares, near, behind_ms, losing: behind_ms >= BEHIND_MS_MAX }
    }
}
