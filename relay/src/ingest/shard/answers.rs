//! Takes what was asked for: rows, documents, statuses; and lets the parked events go on.

use std::{collections::HashMap, sync::Arc};

use metrics::counter;
use relay_protocol::{Did, DidDocument};

use super::{Shard, Stranger, asking::Lane, throttling::host_full};
use crate::{
    accounts::{NO_HOST, limits::Doubt, probe::Probed},
    domain::{Account, DropReason, HostId, LocalStatus, Seq, UpstreamStatus},
    hosts::Host,
    identity::IdentityError,
    ingest::{
        judge::{Asked, Fresh},
        parking::{Item, On, Waiting},
        verdict::Ask,
    },
    store::StoreError,
    telemetry::metrics::INGEST_PROBES_TOTAL,
};

/// An answer that came back to the shard.
pub(super) enum Finding {
    /// Rows of the store.
    Rows {
        /// Which were asked for.
        dids: Vec<Did>,
        /// Those that exist, and decisions about those that do not.
        rows: Result<Rows, StoreError>,
    },
    /// An identity.
    Identity {
        /// Whose.
        did: Did,
        /// Which slot is free again, and whether events wait for it.
        lane: Lane,
        /// What was found.
        result: Result<Arc<DidDocument>, IdentityError>,
    },
    /// A status.
    Status {
        /// Whose.
        did: Did,
        /// What the host said.
        probed: Probed,
    },
}

/// Rows that exist, and what was decided about DIDs without one.
pub(super) type Rows = (Vec<Account>, Vec<(Did, LocalStatus)>);

impl Shard {
    /// Takes an answer.
    pub(super) fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Rows { dids, rows: Ok(rows) } => self.rows_found(dids, rows),
            Finding::Rows { dids, rows: Err(error) } => {
                tracing::warn!(error = %error, "accounts cannot be read; their events wait");
                self.reload_later(dids);
            }
            Finding::Identity { did, lane, result } => self.identity_found(did, lane, &result),
            Finding::Status { did, probed } => self.status_found(did, &probed),
        }
    }

    fn rows_found(&mut self, dids: Vec<Did>, (rows, decisions): Rows) {
        self.loading = false;
        for (did, local) in decisions {
            if let Some(waiting) = self.parking.get(&did) {
                waiting.local = local;
            }
        }
        let mut rows: HashMap<Did, Account> =
            rows.into_iter().map(|row| (row.did.clone(), row)).collect();
        for did in dids {
            // Right before its events: a row that is not used at once may be forgotten for the next
            // one, and must not be taken for one that does not exist.
            let row = rows.remove(&did);
            let absent = row.is_none() && self.table.peek(&did).is_none();
            if let Some(row) = row {
                self.table.loaded(row);
            }
            if self.parking.waits_on(&did) == Some(On::Row)
                && let Some(waiting) = self.parking.take(&did)
            {
                self.go_on(did, waiting, absent, Asked::default());
            }
        }
    }

    fn identity_found(
        &mut self,
        did: Did,
        lane: Lane,
        result: &Result<Arc<DidDocument>, IdentityError>,
    ) {
        self.lookups.ended(lane);
        let is_known = self.table.peek(&did).is_some();
        let changed = match result {
            Ok(document) if is_known => self.apply(&did, document),
            Err(IdentityError::Tombstoned) if is_known => {
                self.bury(&did);
                false
            }
            _ => false,
        };
        if changed && self.parking.waits_on(&did) != Some(On::Answer(Ask::Announced)) {
            self.tell_later(&did);
        }
        if lane == Lane::Background {
            if let Some(entry) = self.table.get(&did) {
                entry.refreshing = false;
            }
            return;
        }
        let ask = match self.parking.waits_on(&did) {
            Some(On::Answer(ask)) if ask != Ask::Status => ask,
            _ => return,
        };
        let Some(waiting) = self.parking.take(&did) else { return };
        if ask == Ask::FirstSight {
            self.introduce(did, waiting, result);
        } else {
            self.answer(did, waiting, ask, (changed, result));
        }
    }

    /// Lets the events of a known account go on after a lookup.
    fn answer(
        &mut self,
        did: Did,
        mut waiting: Waiting,
        ask: Ask,
        (changed, result): (bool, &Result<Arc<DidDocument>, IdentityError>),
    ) {
        let why;
        let fresh = match result {
            Ok(document) => Fresh::Document {
                changed,
                handle: document.handle.as_ref().map(relay_protocol::Handle::as_str),
            },
            Err(IdentityError::Unavailable(_)) if ask != Ask::Announced => {
                if ask == Ask::Host {
                    self.release_own(did, waiting);
                } else {
                    waiting.only_foreign = false;
                    self.retry_later(did, waiting, ask);
                }
                return;
            }
            Err(error) => {
                why = error.to_string();
                Fresh::Nothing(&why)
            }
        };
        self.note_refresh(&did, ask, &waiting);
        let asked = Asked { identity: Some(fresh), status: false };
        self.go_on(did, waiting, false, asked);
    }

    /// RES-3: a lookup that was answered counts against the account's limits.
    fn note_refresh(&mut self, did: &Did, ask: Ask, waiting: &Waiting) {
        let now_ms = self.room.clock.steady_ms();
        let sender = match waiting.items.front() {
            Some(Item::Event(first)) => Some(first.arrival.host.id()),
            Some(Item::Order(_)) | None => None,
        };
        let Some(entry) = self.table.get(did) else { return };
        let doubt = match ask {
            Ask::Host => Doubt::Host,
            Ask::Key => Doubt::Key,
            Ask::Announced if sender != Some(entry.account.host) => Doubt::Host,
            Ask::Announced | Ask::Expired | Ask::FirstSight | Ask::Status => return,
        };
        entry.recent_mut().refreshed(doubt, now_ms);
    }

    /// The source does not answer whether an account has moved. Events of its known host need not
    /// wait for that, or any host could stop an account by sending one event for it.
    fn release_own(&mut self, did: Did, mut waiting: Waiting) {
        let home = self.table.peek(&did).map(|entry| entry.account.host);
        let is_own = |item: &Item| match item {
            Item::Event(queued) => Some(queued.arrival.host.id()) == home,
            Item::Order(_) => true,
        };
        let (own, foreign): (Vec<_>, Vec<_>) =
            std::mem::take(&mut waiting.items).into_iter().partition(is_own);
        waiting.items = foreign.into();
        if waiting.items.is_empty() {
            waiting.items = own.into();
            self.go_on(did, waiting, false, Asked::default());
            return;
        }
        waiting.only_foreign = true;
        self.retry_later(did.clone(), waiting, Ask::Host);
        for item in own {
            match item {
                Item::Event(queued) => self.arrive(queued),
                Item::Order(order) => self.order(&did, order, None),
            }
        }
    }

    /// VAL-3: the first look at an account that we have no row of.
    fn introduce(
        &mut self,
        did: Did,
        mut waiting: Waiting,
        result: &Result<Arc<DidDocument>, IdentityError>,
    ) {
        let Some(Item::Event(first)) = waiting.items.front() else {
            self.go_on(did, waiting, true, Asked::default());
            return;
        };
        let sender = Arc::clone(&first.arrival.host);
        let is_at_sender = |document: &DidDocument| {
            let pds = document.pds.as_ref();
            pds.is_some_and(|pds| {
                sender.is_source() || pds.host.as_str() == sender.hostname().as_str()
            })
        };
        if let Ok(document) = result
            && is_at_sender(document)
            && let Some((home, local)) = self.home_of_new(&did, (&sender, document), waiting.local)
        {
            self.create(&did, document, home, local);
            let handle = document.handle.as_ref().map(relay_protocol::Handle::as_str);
            let fresh = Fresh::Document { changed: true, handle };
            let asked = Asked { identity: Some(fresh), status: false };
            self.go_on(did, waiting, false, asked);
            return;
        }
        let (host, reason, why) = match result {
            Ok(document) => match &document.pds {
                Some(_) if is_at_sender(document) => (
                    None,
                    DropReason::LocallyInactive,
                    format!(
                        "{} has more accounts than it may, and too many of them came at once",
                        sender.hostname()
                    ),
                ),
                Some(pds) => (
                    Some(Box::from(pds.host.as_str())),
                    DropReason::WrongHost,
                    format!("sent by {}, the DID document names {}", sender.hostname(), pds.host),
                ),
                None => {
                    (None, DropReason::IdentityInvalid, "the DID document names no host".to_owned())
                }
            },
            Err(IdentityError::Unavailable(_)) => {
                self.retry_later(did, waiting, Ask::FirstSight);
                return;
            }
            Err(error) => (None, DropReason::IdentityInvalid, error.to_string()),
        };
        let now_ms = self.room.clock.steady_ms();
        self.looked_up_for(sender.id(), now_ms);
        // For want of room it may be let in by its next event.
        if reason != DropReason::LocallyInactive {
            let stranger = Stranger { checked_ms: now_ms, host, why: why.clone() };
            self.strangers.put(did.clone(), stranger);
        }
        if let Some(Item::Event(first)) = waiting.items.pop_front() {
            self.drop_event(&first, reason, why);
        }
        self.go_on(did, waiting, true, Asked::default());
    }

    /// Where a new account is, and the status that it begins with; nothing, and nothing counted, when it
    /// cannot be taken. Of an account that a relay tells of its host need not be known (HOST-13).
    fn home_of_new(
        &self,
        did: &Did,
        (sender, document): (&Host, &DidDocument),
        decided: LocalStatus,
    ) -> Option<(HostId, LocalStatus)> {
        if !sender.is_source() {
            return self.local_of_new(did, sender, decided).map(|local| (sender.id(), local));
        }
        let named = document.pds.as_ref()?;
        match self.room.hosts.by_name(named.host.as_str()) {
            Some(home) => self.local_of_new(did, &home, decided).map(|local| (home.id(), local)),
            None => Some((NO_HOST, decided)),
        }
    }

    /// The first row of an account; its number is from first sight (DESIGN 10.4).
    pub(super) fn create(
        &mut self,
        did: &Did,
        document: &DidDocument,
        host: HostId,
        local: LocalStatus,
    ) {
        self.strangers.pop(did);
        self.meters.created();
        self.table.created(Account {
            number: self.room.numbers.next(),
            did: did.clone(),
            host,
            upstream: UpstreamStatus::Active,
            local,
            repo: None,
            key: document.key.as_ref().map(relay_protocol::VerifyingKey::to_bytes),
            identity_checked_ms: self.room.clock.now_ms(),
            last: None,
            last_seq: Seq(0),
        });
        if host == NO_HOST
            && let (Some(entry), Some(pds)) = (self.table.get(did), &document.pds)
        {
            entry.recent_mut().named_host = Some(Box::from(pds.host.as_str()));
        }
    }

    /// Counts a new account at its host; one too many is held from its first event on (ACC-9). Gives the
    /// status that it begins with, or nothing, and counts nothing, when so many are on the way to be held
    /// that no further one can be taken.
    ///
    /// * `decided` – what was decided about the DID before
    pub(super) fn local_of_new(
        &self,
        did: &Did,
        host: &Host,
        decided: LocalStatus,
    ) -> Option<LocalStatus> {
        if host.admit_account() || decided != LocalStatus::None {
            return Some(decided);
        }
        if self.room.holding.try_send(host_full(did)).is_err() {
            host.remove_account();
            return None;
        }
        host.note_held();
        Some(LocalStatus::Throttled)
    }

    /// Takes key and host from a document; gives whether one of them is new (IDE-1).
    pub(super) fn apply(&mut self, did: &Did, document: &DidDocument) -> bool {
        let now_ms = self.room.clock.steady_ms();
        let named = document.pds.as_ref().map(|pds| pds.host.as_str());
        let host =
            named.and_then(|name| self.room.hosts.by_name(name)).map_or(NO_HOST, |host| host.id());
        let bytes = document.key.as_ref().map(relay_protocol::VerifyingKey::to_bytes);
        let changed = self.table.change(did, |entry| {
            let account = &mut entry.account;
            let changed = account.key != bytes || account.host != host;
            account.host = host;
            account.identity_checked_ms = self.room.clock.now_ms();
            entry.identity_unlogged = true;
            account.key = bytes;
            if changed {
                entry.recent_mut().identity_changed_ms = now_ms;
            }
            if changed || (host == NO_HOST && named.is_some()) {
                entry.recent_mut().named_host = named.filter(|_| host == NO_HOST).map(Box::from);
            }
            changed
        });
        let Some((changed, moved)) = changed else { return false };
        self.counted(did, moved);
        changed
    }

    /// ACC-13: a tombstoned DID is deleted, whatever its host says.
    fn bury(&mut self, did: &Did) {
        let now_ms = self.room.clock.steady_ms();
        let changed = self.table.change(did, |entry| {
            let is_news =
                entry.account.host != NO_HOST || entry.account.upstream != UpstreamStatus::Deleted;
            entry.account.upstream = UpstreamStatus::Deleted;
            entry.account.host = NO_HOST;
            entry.account.key = None;
            entry.account.identity_checked_ms = self.room.clock.now_ms();
            entry.identity_unlogged = true;
            let recent = entry.recent_mut();
            recent.identity_changed_ms = now_ms;
            recent.named_host = None;
            is_news
        });
        let Some((is_news, moved)) = changed else { return };
        self.counted(did, moved);
        if is_news {
            self.announce(did);
        }
    }

    /// VAL-6: what the host says of an account that is inactive but sends commits.
    fn status_found(&mut self, did: Did, probed: &Probed) {
        let now_ms = self.room.clock.steady_ms();
        let (outcome, active) = match probed {
            Probed::Status(status) if status.is_active() => ("active", Some(status)),
            Probed::Status(_) => ("inactive", None),
            Probed::NoStatus(_) => ("no_status", None),
            Probed::Unreachable(_) => ("unreachable", None),
        };
        counter!(INGEST_PROBES_TOTAL, "outcome" => outcome).increment(1);
        let changed = self.table.change(&did, |entry| {
            let Some(status) = active else {
                entry.recent_mut().probe_was_negative(now_ms);
                return;
            };
            entry.account.upstream = status.clone();
            entry.recent_mut().probe_was_positive();
        });
        if let Some(((), moved)) = changed {
            self.counted(&did, moved);
            if active.is_some() {
                self.announce(&did);
            }
        }
        if self.parking.waits_on(&did) == Some(On::Answer(Ask::Status))
            && let Some(waiting) = self.parking.take(&did)
        {
            self.go_on(did, waiting, false, Asked { identity: None, status: true });
        }
    }
}
