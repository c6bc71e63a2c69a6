//! Making events, spoiling them as faults ask for it, and handing them to a host.

use super::{Account, Sent, State};
use crate::{
    Fault,
    adversary::spoil::{self, Surroundings},
    block::{Cid36, cid_text},
    clock::tid_text,
    keys::SigningKey,
    oracle::SentEvent,
    pds::{Outgoing, RepoEntry, SeqClaim},
    repo::{Draft, Sealed, Write},
    server::lock,
    wire::{Fields, Kind},
};
use anyhow::Result;
use ipld_core::ipld::Ipld;
use std::sync::Arc;

/// Longest status that a relay keeps (SEC-10).
const STATUS_CHARS_MAX: usize = 64;

/// The parts of an event that only its kind knows.
#[derive(Debug)]
struct Details {
    kind: Kind,
    rev: u64,
    commit: Option<Cid36>,
    key: u64,
    says_active: bool,
    handle: Option<Box<str>>,
}

impl Details {
    const fn of(kind: Kind) -> Self {
        Self { kind, rev: 0, commit: None, key: 0, says_active: false, handle: None }
    }
}

impl Account {
    /// Takes the pending faults that `strike` says have struck.
    fn fire(&self, kind: Kind, fired: &mut Vec<Fault>, mut strike: impl FnMut(Fault) -> bool) {
        lock(&self.inner.faults).retain(|fault| {
            let struck = fault.strikes(kind) && !fired.contains(fault) && strike(*fault);
            if struck {
                fired.push(*fault);
            }
            !struck
        });
    }

    /// Runs on the account, or on a copy of it when another host sends.
    pub(super) async fn on_state<T>(&self, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.inner.state.lock().await;
        if self.outlet.is_some() {
            let mut copy = state.clone();
            drop(state);
            return act(&mut copy);
        }
        act(&mut state)
    }

    pub(super) async fn commit(&self, writes: Vec<Write>, told: bool) -> Result<Sent> {
        self.on_state(|state| self.commit_now(state, writes, told)).await
    }

    pub(super) fn commit_now(
        &self,
        state: &mut State,
        mut writes: Vec<Write>,
        told: bool,
    ) -> Result<Sent> {
        let mut fired = Vec::new();
        if told {
            let tree = &state.repo.tree;
            self.fire(Kind::Commit, &mut fired, |fault| spoil::writes(fault, &mut writes, tree));
        }
        let micros = self.world.clock.tick();
        let key = state.key.clone();
        let last_commit = self.last_commit_for_faults(state);
        let mut draft = state.repo.draft(&self.inner.did, &key, micros, &writes)?;
        if told {
            self.spoil(&mut draft, Kind::Commit, &mut fired, (state, last_commit.as_ref()));
        }
        let details = Self::details(Kind::Commit, &draft, state);
        let sealed = draft.into_commit();
        let paths = writes.iter().map(|write| write.path().to_owned()).collect();
        Ok(self.finish(state, sealed, details, (fired, told, paths)))
    }

    /// A `#sync` with a new rev over the same tree.
    pub(super) fn sync_now(&self, state: &mut State) -> Sent {
        let mut fired = Vec::new();
        let micros = self.world.clock.tick();
        let key = state.key.clone();
        let last_commit = self.last_commit_for_faults(state);
        let mut draft = state.repo.unsigned(&self.inner.did, &key, micros);
        self.spoil(&mut draft, Kind::Sync, &mut fired, (state, last_commit.as_ref()));
        let details = Self::details(Kind::Sync, &draft, state);
        let sealed = draft.into_sync();
        self.finish(state, sealed, details, (fired, true, Vec::new()))
    }

    /// A `#sync` that repeats the last commit; with `rev`, the message claims another rev.
    pub(super) fn sync_again_now(&self, state: &mut State, rev: Option<u64>) -> Result<Sent> {
        let (commit, block) = state.repo.last_commit()?.clone();
        let (real_rev, key) = (state.repo.rev, state.key.clone());
        let micros = self.world.clock.tick();
        let mut draft = state.repo.unsigned(&self.inner.did, &key, micros);
        state.repo.rev = real_rev;
        draft.rev = rev.unwrap_or(real_rev);
        draft.ready_commit = Some(block);
        let mut details = Self::details(Kind::Sync, &draft, state);
        details.commit = Some(commit);
        let sealed = draft.into_sync();
        // What a migrated account repeats was signed by its old host (SYNC-8).
        let fired = if rev.is_some() { vec![Fault::RevMismatch] } else { Vec::new() };
        Ok(self.finish(state, sealed, details, (fired, true, Vec::new())))
    }

    /// The commit before, copied only when a fault may need it.
    fn last_commit_for_faults(&self, state: &State) -> Option<(Cid36, Vec<u8>)> {
        if lock(&self.inner.faults).is_empty() { None } else { state.repo.commit.clone() }
    }

    fn details(kind: Kind, draft: &Draft, state: &State) -> Details {
        let same_key = draft.key.public_point(true) == state.key.public_point(true);
        let key = if same_key { state.key_number } else { draft.key.number() };
        Details { rev: draft.rev, key, ..Details::of(kind) }
    }

    fn spoil(
        &self,
        draft: &mut Draft,
        kind: Kind,
        fired: &mut Vec<Fault>,
        (state, last_commit): (&State, Option<&(Cid36, Vec<u8>)>),
    ) {
        if lock(&self.inner.faults).is_empty() {
            return;
        }
        let derive = |label: &str| {
            let label = format!("{}/{label}", self.inner.name);
            SigningKey::derive(state.key.curve(), self.world.seed, &label)
        };
        let wrong_key = derive("key that is nowhere");
        let retired_key = state.retired_key.clone().unwrap_or_else(|| derive("key of old"));
        let around = Surroundings {
            retired_key: &retired_key,
            wrong_key: &wrong_key,
            last_commit,
            number: self.world.number(),
        };
        self.fire(kind, fired, |fault| spoil::draft(fault, draft, kind, &around));
    }

    fn finish(
        &self,
        state: &mut State,
        sealed: Sealed,
        mut details: Details,
        (fired, told, paths): (Vec<Fault>, bool, Vec<String>),
    ) -> Sent {
        let commit = details.commit.unwrap_or(sealed.commit);
        details.commit = Some(commit);
        let rev = tid_text(details.rev);
        state.repo.commit = Some((sealed.commit, sealed.commit_block));
        self.tell_endpoints(state);
        let seq = if told { self.emit(state, sealed.payload, details, fired) } else { 0 };
        Sent { seq, rev, commit: cid_text(&commit), paths }
    }

    pub(super) fn tell_endpoints(&self, state: &State) {
        if self.outlet.is_some() {
            return;
        }
        let entry = RepoEntry {
            active: state.active,
            status: state.status.clone(),
            rev: state.repo.rev,
            commit: state.repo.commit.as_ref().map(|(cid, _)| *cid),
            collections: state.repo.collections(),
            account: Arc::downgrade(&self.inner),
        };
        state.home.set_repo(&self.inner.did, Some(entry));
    }

    /// An `#identity`, with or without a handle.
    pub(super) fn identity_now(&self, state: &State, handle: Option<&str>) -> Sent {
        let mut payload = self.announcement();
        if let Some(handle) = handle {
            payload.insert("handle".to_owned(), Ipld::String(handle.to_owned()));
        }
        let details = Details {
            handle: Some(handle.unwrap_or_default().into()),
            ..Details::of(Kind::Identity)
        };
        let seq = self.emit(state, payload, details, Vec::new());
        Sent { seq, rev: String::new(), commit: String::new(), paths: Vec::new() }
    }

    /// An `#account` with these words, whatever the host really holds.
    pub(super) fn account_now(&self, state: &State, active: bool, status: Option<&str>) -> Sent {
        let mut payload = self.announcement();
        payload.insert("active".to_owned(), Ipld::Bool(active));
        if let Some(status) = status {
            payload.insert("status".to_owned(), Ipld::String(status.to_owned()));
        }
        let details = Details { says_active: active, ..Details::of(Kind::Account) };
        let seq = self.emit(state, payload, details, Vec::new());
        Sent { seq, rev: String::new(), commit: String::new(), paths: Vec::new() }
    }

    fn announcement(&self) -> Fields {
        let time = crate::clock::datetime(self.world.clock.tick());
        Fields::from([
            ("did".to_owned(), Ipld::String(self.inner.did.to_string())),
            ("time".to_owned(), Ipld::String(time)),
        ])
    }

    /// Spoils the payload and hands the event to the host; returns its number.
    fn emit(
        &self,
        state: &State,
        mut payload: Fields,
        details: Details,
        mut fired: Vec<Fault>,
    ) -> u64 {
        let kind = details.kind;
        let mut claim = SeqClaim::True;
        let pending = !lock(&self.inner.faults).is_empty();
        let differs = pending || kind == Kind::Account;
        let mut expected = if differs { Some(payload.clone()) } else { None };
        if pending && let Some(expected) = &mut expected {
            self.fire(kind, &mut fired, |fault| match fault {
                Fault::SeqRepeated => {
                    claim = SeqClaim::Repeated;
                    true
                }
                Fault::SeqBackwards => {
                    claim = SeqClaim::Backwards;
                    true
                }
                other => spoil::payload(other, &mut payload, expected),
            });
        }
        if kind == Kind::Account
            && let Some(expected) = &mut expected
        {
            normalize_status(expected, details.says_active);
        }
        let host = self.outlet.as_ref().unwrap_or(&state.home);
        let loose =
            matches!(kind, Kind::Identity | Kind::Account) || fired.contains(&Fault::BadTime);
        let commit = details.commit.unwrap_or([0; 36]);
        let event = SentEvent {
            did: Arc::clone(&self.inner.did),
            host: host.number(),
            number: 0,
            kind,
            digest: 0,
            loose: None,
            rev: details.rev,
            commit: commit
                .iter()
                .skip(4)
                .take(8)
                .fold(0, |all, byte| (all << 8) | u64::from(*byte)),
            key: details.key,
            faults: fired.into_boxed_slice(),
            foreign: self.outlet.is_some() && kind == Kind::Commit,
            says_active: details.says_active,
            host_active: state.active,
            handle: details.handle,
        };
        let outgoing = Outgoing { payload, expected, claim, event, loose };
        if let Some(stock) = &self.stock {
            lock(stock).push((Arc::clone(host), outgoing));
            return 0;
        }
        host.send(outgoing)
    }
}

/// What a relay makes of the status text (ACC-2, ACC-5).
fn normalize_status(payload: &mut Fields, active: bool) {
    let Some(Ipld::String(status)) = payload.get("status") else { return };
    let keeps = if active {
        matches!(status.as_str(), "desynchronized" | "throttled")
    } else {
        !matches!(status.as_str(), "" | "active") && status.chars().count() <= STATUS_CHARS_MAX
    };
    if !keeps {
        payload.remove("status");
    }
}
