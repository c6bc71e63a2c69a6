//! What is decided about an account, and what consumers and hosts hear of it (ACC-2, ACC-3, ACC-8).

use relay_protocol::{Did, account_frame};
use tokio::sync::oneshot;

use super::{Shard, reply, throttling::host_full};
use crate::{
    domain::{Epoch, EventKind, HostId, HostSeq, LocalStatus, UpstreamStatus, effective},
    eventlog::Entry,
    ingest::{commands::Decision, note::Note, table::Moved},
};

impl Shard {
    /// Applies a decision that is in the store already and announces it (ACC-3). The answer comes when
    /// the announcement was handed to the log.
    pub(super) fn set_local(
        &mut self,
        did: &Did,
        decision: Decision,
        answer: oneshot::Sender<bool>,
    ) {
        let Decision { local, is_news, instead_of } = decision;
        let hidden = &self.room.hidden;
        let set = self.table.change(did, |entry| {
            let now = entry.account.local;
            if instead_of.is_some_and(|expected| now != expected && now != local) {
                return false;
            }
            hidden.set(entry.account.number, local == LocalStatus::Takendown);
            std::mem::replace(&mut entry.account.local, local) != local
        });
        match set {
            Some((differs, moved)) if differs || is_news => {
                self.counted(did, moved);
                self.announce(did);
                self.decided.push(answer);
            }
            Some(_) => reply(answer, true),
            None => reply(answer, false),
        }
    }

    /// Emits an `#account` of our own making with the effective status (ACC-2, ACC-3).
    pub(super) fn announce(&mut self, did: &Did) {
        let now_ms = self.room.clock.steady_ms();
        let now_text = self.room.clock.now_text();
        let made = self.table.change(did, |entry| {
            let account = &entry.account;
            let told = effective(&account.upstream, account.local);
            let frame = account_frame(did.as_str(), &now_text, told.active, told.status);
            let derived = UpstreamStatus::from_wire(told.active, told.status);
            let note = Note {
                identity: entry
                    .identity_unlogged
                    .then_some((account.identity_checked_ms, account.key)),
                // Our own records name no host, so replay keeps the one it has; a row that no record
                // has named yet, or that lost its host, needs it.
                host: Some(account.host),
                upstream: (derived != account.upstream).then(|| account.upstream.clone()),
                ..Note::default()
            };
            let (number, active) = (account.number, told.active);
            entry.identity_unlogged = false;
            // Whatever the host says next is no repetition of this: 0 is no hash of a host's word
            // in practice.
            entry.recent_mut().account_passed(0, active, now_ms);
            (number, frame, note.encode())
        });
        let Some(((account, frame, note), moved)) = made else { return };
        self.counted(did, moved);
        self.out.push(Entry {
            kind: EventKind::Account,
            account,
            host: HostId::RELAY,
            epoch: Epoch(0),
            host_seq: HostSeq(0),
            note,
            frame,
        });
    }

    /// Tells hosts about accounts that came or left (ACC-8). One that comes to a host without room is
    /// held there (ACC-9).
    pub(super) fn counted(&self, did: &Did, moved: Moved) {
        if let Some(host) = moved.from.and_then(|host| self.room.hosts.get(host)) {
            host.remove_account();
        }
        let Some(host) = moved.to.and_then(|host| self.room.hosts.get(host)) else { return };
        if host.admit_account() {
            // It may be held because of the host that it came from.
            host.review_accounts();
        } else if self.room.holding.try_send(host_full(did)).is_ok() {
            host.note_held();
        } else {
            tracing::warn!(%did, "too many accounts at once are over the limit of their host");
        }
    }
}
