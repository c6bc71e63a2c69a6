//! One account at a simulated host, and what the relay knows of it.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use relay_protocol::{Did, Rev, VerifyingKey, unsequence};
use relay_simnet::{
    AccountOptions, Consumer, Ipld, Kind, Net, Received, Start, block,
    clock::START_MICROS,
    keys::SigningKey,
    wire::{self, Fields},
};

use crate::{
    accounts::{levels::AccountTurn, limits::Recent},
    domain::{
        Account, AccountNo, DropReason, Epoch, EventKind, HostId, HostSeq, LocalStatus, RepoState,
        Seq, UpstreamStatus,
    },
    ingest::{
        judge::{Asked, Facts, Fresh, Sender, judge},
        verdict::{Ask, Pass, Stop, Verdict},
    },
};

/// The host that the account is at.
pub(super) const ALPHA: HostId = HostId(1);
/// Another host.
pub(super) const BETA: HostId = HostId(2);
/// The seed of every network here.
const SEED: u64 = 11;

/// The identity was looked up, and nothing is new.
pub(super) const NOTHING_NEW: Fresh<'static> = Fresh::Document { changed: false, handle: None };
/// The same, with the handle that alice's document has.
pub(super) const SAME_HANDLE: Fresh<'static> =
    Fresh::Document { changed: false, handle: Some("alice.test") };

/// An event as a shard hands it over.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    pub(super) host_seq: HostSeq,
    pub(super) frame: Bytes,
}

impl Event {
    /// A frame with this payload.
    pub(super) fn of(kind: EventKind, payload: Fields) -> Self {
        let host_seq = match payload.get("seq") {
            Some(Ipld::Integer(seq)) => u64::try_from(*seq).unwrap_or(0),
            _ => 0,
        };
        let frame = wire::frame(kind.name(), &Ipld::Map(payload)).into();
        Self { kind, host_seq: HostSeq(host_seq), frame }
    }

    /// The decoded payload.
    pub(super) fn payload(&self) -> Fields {
        payload(&self.frame)
    }

    /// The same event with a changed payload.
    pub(super) fn with(&self, change: impl FnOnce(&mut Fields)) -> Self {
        let mut payload = self.payload();
        change(&mut payload);
        Self::of(self.kind, payload)
    }

    /// The same event without a field.
    pub(super) fn without(&self, field: &str) -> Self {
        self.with(|payload| assert!(payload.remove(field).is_some(), "there is a {field}"))
    }

    /// The same event with another value of a field.
    pub(super) fn set(&self, field: &str, value: impl Into<Ipld>) -> Self {
        self.with(|payload| drop(payload.insert(field.to_owned(), value.into())))
    }

    pub(super) fn rev(&self) -> Rev {
        match self.payload().get("rev") {
            Some(Ipld::String(rev)) => Rev::parse(rev).unwrap(),
            other => panic!("no rev: {other:?}"),
        }
    }

    /// The frame that comes out when this event passes like this.
    pub(super) fn sent(&self, pass: &Pass<'_>) -> Fields {
        let frame = unsequence(&self.frame, &pass.edits).unwrap().with_seq(1 << 40);
        let header = wire::item_len(&self.frame).unwrap();
        assert_eq!(frame[..header], self.frame[..header]);
        payload(&frame)
    }
}

impl From<Received> for Event {
    fn from(received: Received) -> Self {
        let kind = match received.kind {
            Kind::Commit => EventKind::Commit,
            Kind::Sync => EventKind::Sync,
            Kind::Identity => EventKind::Identity,
            Kind::Account => EventKind::Account,
        };
        let host_seq = HostSeq(u64::try_from(received.seq).unwrap());
        Self { kind, host_seq, frame: received.frame }
    }
}

fn payload(frame: &[u8]) -> Fields {
    let header = wire::item_len(frame).unwrap();
    match block::decode(&frame[header..]).unwrap() {
        Ipld::Map(fields) => fields,
        other => panic!("no map: {other:?}"),
    }
}

/// A verdict in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Passes,
    Asks(Ask),
    Drops(DropReason),
    /// It may come later; its account sent too much.
    Waits,
    /// Its account is held from now on.
    Holds,
}

pub(super) fn told(verdict: &Verdict<'_>) -> Told {
    match verdict {
        Ok(_) => Told::Passes,
        Err(Stop::Ask(ask)) => Told::Asks(*ask),
        Err(Stop::Drop(reason, _)) => Told::Drops(*reason),
        Err(Stop::Later(_)) => Told::Waits,
        Err(Stop::Over(_)) => Told::Holds,
    }
}

/// An account, its host, and the facts that its events are judged by; a test changes what it likes.
pub(super) struct Scene {
    pub(super) net: Net,
    pub(super) alice: relay_simnet::Account,
    stream: Consumer,
    pub(super) did: Did,
    /// `None` when the relay has never heard of the account.
    pub(super) row: Option<Account>,
    pub(super) key: Option<VerifyingKey>,
    pub(super) recent: Recent,
    /// Whether the account may send one more.
    pub(super) turn: AccountTurn,
    /// What kind of server sends.
    pub(super) sender: Sender,
    /// The host that sends.
    pub(super) from: HostId,
    pub(super) epoch: Epoch,
    pub(super) now_us: u64,
    pub(super) strict: bool,
    pub(super) host_may_ask: bool,
    pub(super) asked: Asked<'static>,
}

impl Scene {
    /// An account whose first commit was accepted, seen by this process before.
    pub(super) async fn new() -> Result<Self> {
        Self::with(AccountOptions::default()).await
    }

    pub(super) async fn with(options: AccountOptions) -> Result<Self> {
        let mut scene = Self::before_the_first_commit(options).await?;
        let first = scene.next_of(EventKind::Commit).await?;
        assert_eq!(scene.take(&first), Told::Passes);
        scene.next_of(EventKind::Sync).await?;
        Ok(scene)
    }

    /// An account of which only the identity is known; its first commit comes next.
    pub(super) async fn before_the_first_commit(options: AccountOptions) -> Result<Self> {
        let net = Net::seeded(SEED).await?;
        let alpha = net.pds("alpha").await?;
        let alice = alpha.account_with("alice", options).await?;
        let stream = Consumer::connect(&alpha.stream_url(), Start::After(0)).await?;
        let did = Did::parse(alice.did())?;
        let key = VerifyingKey::from_multikey(&signing_key(options, 0).multikey())?;
        let now_us = START_MICROS + 24 * 3_600_000_000;
        let row = Account {
            number: AccountNo(1),
            did: did.clone(),
            host: ALPHA,
            upstream: UpstreamStatus::Active,
            local: LocalStatus::None,
            repo: None,
            key: Some(key.to_bytes()),
            identity_checked_ms: now_us / 1000,
            last: None,
            last_seq: Seq(0),
        };
        let mut scene = Self {
            net,
            alice,
            stream,
            did,
            row: Some(row),
            key: Some(key),
            recent: Recent::new(true),
            turn: AccountTurn::Now,
            sender: Sender::Host,
            from: ALPHA,
            epoch: Epoch(0),
            now_us,
            strict: true,
            host_may_ask: true,
            asked: Asked::default(),
        };
        if options.announced {
            scene.next_of(EventKind::Identity).await?;
            scene.next_of(EventKind::Account).await?;
        }
        Ok(scene)
    }

    /// The next event of the host.
    pub(super) async fn next(&mut self) -> Result<Event> {
        Ok(self.stream.next().await?.into())
    }

    pub(super) async fn next_of(&mut self, kind: EventKind) -> Result<Event> {
        let event = self.next().await?;
        anyhow::ensure!(event.kind == kind, "expected {}, got {}", kind.name(), event.kind.name());
        Ok(event)
    }

    /// A post without a fault.
    pub(super) async fn post(&mut self, text: &str) -> Result<Event> {
        self.alice.post(text).await?;
        self.next_of(EventKind::Commit).await.context("a post")
    }

    pub(super) fn row(&mut self) -> &mut Account {
        self.row.as_mut().expect("the account is known")
    }

    /// The state of the repo that the relay knows.
    pub(super) fn repo(&self) -> Option<RepoState> {
        self.row.as_ref().and_then(|row| row.repo)
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            did: &self.did,
            account: self.row.as_ref(),
            key: self.key.as_ref(),
            recent: &self.recent,
            turn: self.turn,
            sender: self.sender,
            host: self.from,
            epoch: self.epoch,
            host_seq: HostSeq(0),
            now_us: self.now_us,
            steady_ms: self.now_us / 1000,
            strict: self.strict,
            dev: true,
            host_may_ask: self.host_may_ask,
            asked: self.asked,
            name_of: &name_of,
        }
    }

    pub(super) fn judge<'m>(&self, event: &'m Event) -> Verdict<'m> {
        let facts = Facts { host_seq: event.host_seq, ..self.facts() };
        judge(&facts, event.kind, &event.frame)
    }

    pub(super) fn told(&self, event: &Event) -> Told {
        told(&self.judge(event))
    }

    /// The verdict when everything was asked that can be asked, and nothing came of it.
    pub(super) fn told_at_last(&self, event: &Event) -> Told {
        let asked = Asked { identity: Some(NOTHING_NEW), status: true };
        let facts = Facts { host_seq: event.host_seq, asked, ..self.facts() };
        told(&judge(&facts, event.kind, &event.frame))
    }

    /// What a person reads about the drop of this event.
    pub(super) fn detail(&self, event: &Event) -> String {
        match self.judge(event) {
            Err(Stop::Drop(_, detail)) => detail,
            other => panic!("not dropped: {other:?}"),
        }
    }

    /// Judges, and changes the row as a shard would.
    pub(super) fn take(&mut self, event: &Event) -> Told {
        let verdict = self.judge(event);
        let now_ms = self.now_us / 1000;
        if let Ok(pass) = &verdict {
            let (repo, upstream) = (pass.repo, pass.upstream.clone());
            let row = self.row.as_mut().expect("the account is known");
            row.repo = repo.or(row.repo);
            if let Some(upstream) = upstream {
                row.upstream = upstream;
            }
            match event.kind {
                EventKind::Commit => {}
                EventKind::Sync => self.recent.sync_passed(pass.repeats, now_ms),
                EventKind::Identity => self.recent.identity_passed(pass.says, now_ms),
                EventKind::Account => self.recent.account_passed(pass.says, false, now_ms),
            }
        }
        told(&verdict)
    }
}

/// A key of alice, by its number since her creation.
pub(super) fn signing_key(options: AccountOptions, number: u32) -> SigningKey {
    SigningKey::derive(options.curve, SEED, &format!("alice/key/{number}"))
}

fn name_of(id: HostId) -> String {
    format!("host{id}.test")
}
