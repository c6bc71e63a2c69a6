//! Accounts that send more than they may: slowed down, then held for a while (HOST-12, VAL-14, VAL-20).

use metrics::counter;
use relay_protocol::Did;

use super::{Queued, Shard};
use crate::{
    accounts::levels::{Exceeded, Levels},
    domain::{AccountLimits, AccountNo, DropReason, HeldFor, Hold, LocalStatus},
    ingest::{
        Arrival,
        commands::AccountUsage,
        judge::Asked,
        parking::{Item, On},
    },
    telemetry::metrics::INGEST_HELD_TOTAL,
};

/// Shortest hold of an account that sent too much: consumers hear of each.
const RATE_HOLD_MS: u64 = 10 * 60_000;
/// How long an account is held whose commits did not follow (VAL-20): each of them makes consumers fetch
/// its whole repo, so that fifty in six hours are little more than the `#sync` that one may send (SYNC-7).
const DISCONTINUITIES_HOLD_MS: u64 = 6 * 3_600_000;

impl Shard {
    /// An account went over a limit: this event is dropped, and the account is held until a quarter of its
    /// limits is free.
    pub(super) fn over(&mut self, queued: &Queued, exceeded: Exceeded) {
        let arrival = &queued.arrival;
        let did = arrival.did.clone();
        let (limits, now_ms) = (arrival.host.account_limits(), self.room.clock.steady_ms());
        let calm_ms = self.levels_of(&did).calm_in_ms(limits, now_ms);
        let is_held = self.hold(&did, HeldFor::Rate, calm_ms.max(RATE_HOLD_MS));
        let then = if is_held {
            "it is held for a while"
        } else {
            "too many accounts are on the way to be held, so that this one is not"
        };
        let detail = format!("the account sent more than {exceeded}; {then}");
        self.drop_event(queued, DropReason::RateLimited, detail);
    }

    /// Counts one event of an account.
    pub(super) fn took_its_turn(&mut self, account: AccountNo, arrival: &Arrival) {
        let (limits, now_ms) = (arrival.host.account_limits(), self.room.clock.steady_ms());
        if limits != AccountLimits::NONE {
            self.levels.get_or_insert_mut(account, Levels::default).take(limits, now_ms);
        }
    }

    fn levels_of(&self, did: &Did) -> Levels {
        let entry = self.table.peek(did);
        let levels = entry.and_then(|entry| self.levels.peek(&entry.account.number));
        levels.copied().unwrap_or_default()
    }

    /// So many events of the account wait for their turn that one more finds no room.
    pub(super) fn overflowed(&mut self, queued: &Queued) {
        let limit = queued.arrival.host.account_limits().per_second;
        self.over(queued, Exceeded { limit, span: "second, for longer than its events can wait" });
        // Those that wait are no better: the account is held.
        self.go_on_in_turn(queued.arrival.did.clone());
    }

    /// VAL-20: the commit passed, and is the last for a while.
    pub(super) fn broke_too_often(&mut self, did: &Did) {
        if self.hold(did, HeldFor::Discontinuities, DISCONTINUITIES_HOLD_MS)
            && let Some(entry) = self.table.get(did)
        {
            entry.recent_mut().discontinuities.forgive();
        }
    }

    /// Drops what the account sends from now on; the task of holds makes that durable and has it announced.
    /// Gives `false` when too many are on the way there.
    fn hold(&mut self, did: &Did, why: HeldFor, for_ms: u64) -> bool {
        let until_ms = self.room.clock.now_ms().saturating_add(for_ms);
        if self.room.holding.try_send(Hold { did: did.clone(), why, until_ms }).is_err() {
            return false;
        }
        counter!(INGEST_HELD_TOTAL, "reason" => why.label()).increment(1);
        tracing::info!(%did, reason = why.label(), "an account is held for a while");
        let set = self.table.change(did, |entry| entry.account.local = LocalStatus::Throttled);
        set.is_some()
    }

    /// Lets the events of an account go on that waited for their turn.
    pub(super) fn go_on_in_turn(&mut self, did: Did) {
        if matches!(self.parking.waits_on(&did), Some(On::Turn(_)))
            && let Some(mut waiting) = self.parking.take(&did)
        {
            for item in &mut waiting.items {
                if let Item::Event(queued) = item {
                    queued.since_ms = 0;
                }
            }
            self.go_on(did, waiting, false, Asked::default());
        }
    }

    /// What an account that is in memory used of its limits.
    pub(super) fn usage(&self, did: &Did) -> Option<AccountUsage> {
        let entry = self.table.peek(did)?;
        let host = self.room.hosts.get(entry.account.host)?;
        let (limits, now_ms) = (host.account_limits(), self.room.clock.steady_ms());
        Some(AccountUsage {
            limits,
            used: self.levels_of(did).used(limits, now_ms),
            discontinuities: entry.recent().discontinuities.of_last(),
        })
    }
}

/// The account is one too many at its host (ACC-9).
pub(super) fn host_full(did: &Did) -> Hold {
    Hold { did: did.clone(), why: HeldFor::HostFull, until_ms: 0 }
}

/// Whether an event that was dropped for this reason had its turn: it cost the work of one that passes.
pub(super) fn had_its_turn(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::FutureRev
            | DropReason::BadCommit
            | DropReason::CommitMismatch
            | DropReason::BadSignature
            | DropReason::BadOps
            | DropReason::BadRecord
            | DropReason::ProofMismatch
            | DropReason::ProofIncomplete
            | DropReason::BadTree
            | DropReason::Legacy
            | DropReason::Fork
    )
}
