//! What the directory says of an account before its host does, and what nobody announced (RES-7, IDE-6).

use metrics::counter;
use relay_protocol::{Did, identity_frame};

use super::{
    Shard,
    asking::{BACKGROUND_MAX, RECHECKS_MAX, Timer},
    passing::has_moved,
};
use crate::{
    accounts::NO_HOST,
    domain::{Epoch, EventKind, HostId, HostSeq, UpstreamStatus},
    eventlog,
    ingest::{
        commands::{Hint, Hinted},
        note::Note,
        table::Entry,
    },
    telemetry::metrics::INGEST_IDENTITIES_TOLD_TOTAL,
};

/// How long a host may take to announce a change itself.
const TELL_AFTER_MS: u64 = 60_000;
/// An announcement so long before the change was found is its announcement: the directory was late.
const ANNOUNCED_BEFORE_MS: u64 = 120_000;

impl Shard {
    /// Has the identity looked up if a hint differs from what is known of it. The hint itself changes
    /// nothing: it may be nullified, or come from a replica that lies (PLC-2).
    pub(super) fn hinted(&mut self, did: &Did, hint: &Hint) -> Hinted {
        let Some(entry) = self.table.peek(did) else { return Hinted::Unknown };
        if self.agrees(entry, hint) {
            return Hinted::Same;
        }
        if !entry.refreshing {
            if self.lookups.in_background >= BACKGROUND_MAX {
                return Hinted::Busy;
            }
            self.refresh_in_background(did, "directory", true);
        }
        // The replica that is asked may be behind the one that told.
        self.recheck_later(did);
        Hinted::Asked
    }

    fn agrees(&self, entry: &Entry, hint: &Hint) -> bool {
        let account = &entry.account;
        if hint.gone {
            return account.upstream == UpstreamStatus::Deleted && account.host == NO_HOST;
        }
        let named = hint.host.as_deref();
        let host = named.and_then(|name| self.room.hosts.by_name(name));
        let is_there = match host {
            Some(host) => host.id() == account.host,
            None => account.host == NO_HOST && entry.recent().named_host.as_deref() == named,
        };
        is_there && account.key == hint.key
    }

    /// A lookup found another key or host: if the host does not announce that by itself, the relay does.
    pub(super) fn tell_later(&mut self, did: &Did) {
        if self.rechecks >= RECHECKS_MAX {
            return;
        }
        self.rechecks = self.rechecks.saturating_add(1);
        let now_ms = self.room.clock.steady_ms();
        self.set_timer(now_ms.saturating_add(TELL_AFTER_MS), Timer::Tell(did.clone(), now_ms));
    }

    /// IDE-6: an `#identity` of our own, unless the host sent one.
    ///
    /// * `found_ms` – when the change was found
    pub(super) fn tell_identity(&mut self, did: &Did, found_ms: u64) {
        let now_ms = self.room.clock.steady_ms();
        let Some(entry) = self.table.peek(did) else { return };
        let recent = entry.recent();
        let announced =
            recent.identity_passed_ms >= found_ms.saturating_sub(ANNOUNCED_BEFORE_MS).max(1);
        if announced || !recent.may_pass_identity(now_ms) {
            return;
        }
        let time = self.room.clock.now_text();
        let made = self.table.change(did, |entry| {
            let moved = has_moved(entry, &self.room.hosts);
            let account = &entry.account;
            let identity =
                entry.identity_unlogged.then_some((account.identity_checked_ms, account.key));
            let note = Note { identity, host: Some(account.host), moved, ..Note::default() };
            let number = account.number;
            entry.identity_unlogged = false;
            // 0 is no hash of what a host says, so that its own is no repetition of this.
            entry.recent_mut().identity_passed(0, now_ms);
            (number, note.encode())
        });
        let Some(((account, note), _)) = made else { return };
        counter!(INGEST_IDENTITIES_TOLD_TOTAL).increment(1);
        self.out.push(eventlog::Entry {
            kind: EventKind::Identity,
            account,
            host: HostId::RELAY,
            epoch: Epoch(0),
            host_seq: HostSeq(0),
            note,
            frame: identity_frame(did.as_str(), &time, None),
        });
    }
}
