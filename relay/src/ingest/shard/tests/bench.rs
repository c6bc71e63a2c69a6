//! The rooms around the shard, and what is seen of them from outside.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use relay_protocol::{Did, Message};
use relay_simnet::{
    Account as Simulated, AccountOptions, Consumer, Kind, Pds, Start, clock::START_MICROS,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    accounts::hidden::Hidden,
    clock::Clock,
    domain::{Account, DropReason, EventKind, HostSeq, Seq},
    drops::{Dropped, Drops},
    eventlog::{self, Appender, Durable, Event, LogOptions, Reader},
    hosts::{Host, HostOptions, Hosts, Leniency},
    identity::{Identities, IdentityOptions},
    ingest::{Arrival, Ingest, IngestParts, judge, replay, shard::Judge},
    net::{Net, NetOptions},
    store::{Checkpoint, Store},
    tasks::Tasks,
};

/// Longest wait for something that must happen; far above what it takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a test may choose.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    pub(super) judge: Judge,
    pub(super) host_queue: usize,
    pub(super) accounts_max: usize,
    pub(super) lenient: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self { judge: judge::judge, host_queue: 64, accounts_max: 1_000, lenient: false }
    }
}

/// All that stops at a crash.
struct Rooms {
    hosts: Hosts,
    identities: Identities,
    ingest: Ingest,
    drops: Arc<Drops>,
    store: Store,
    appender: Appender,
    reader: Reader,
    tasks: Tasks,
}

/// One shard, its rooms, and a simulated network before it.
pub(super) struct Bench {
    pub(super) net: relay_simnet::Net,
    pub(super) clock: Clock,
    setting: Setting,
    rooms: Rooms,
    streams: BTreeMap<String, Consumer>,
    dir: TempDir,
}

impl Bench {
    pub(super) async fn new() -> Result<Self> {
        Self::with(Setting::default()).await
    }

    pub(super) async fn with(setting: Setting) -> Result<Self> {
        let net = relay_simnet::Net::seeded(21).await?;
        let dir = tempfile::tempdir()?;
        let clock = Clock::manual(START_MICROS + 24 * 3_600_000_000);
        let rooms = Rooms::open(&dir, &net.plc().url(), &clock, setting).await?;
        Ok(Self { net, clock, setting, rooms, streams: BTreeMap::new(), dir })
    }

    /// Stops without a checkpoint, as a crash does, and starts again from store and log (I3). What was
    /// handed over and not settled comes again.
    pub(super) async fn crash(&mut self) -> Result<()> {
        self.rooms.close().await?;
        self.streams.clear();
        let plc = self.net.plc().url();
        self.rooms = Rooms::open(&self.dir, &plc, &self.clock, self.setting).await?;
        Ok(())
    }

    /// A host that the relay knows.
    pub(super) async fn host(&self, name: &str) -> Result<Pds> {
        let pds = self.net.pds(name).await?;
        let admitted = self.rooms.hosts.admit(&pds.hostname(), true).await;
        admitted.map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
        Ok(pds)
    }

    /// An account of which the relay has not heard.
    pub(super) async fn account(&self, pds: &Pds, name: &str) -> Result<Simulated> {
        let options = AccountOptions { announced: false, ..AccountOptions::default() };
        pds.account_with(name, options).await
    }

    /// An account whose first post has passed.
    pub(super) async fn known_account(&mut self, pds: &Pds, name: &str) -> Result<Simulated> {
        let account = self.account(pds, name).await?;
        account.post("first").await?;
        self.pass_on(pds).await?;
        self.settled().await?;
        anyhow::ensure!(self.row(&account).await?.is_some(), "{name} is known");
        Ok(account)
    }

    pub(super) fn known_host(&self, pds: &Pds) -> Arc<Host> {
        self.rooms.hosts.by_name(&pds.hostname()).expect("the host is known")
    }

    /// Everything that a host has sent and that was not taken yet; noted at the host.
    pub(super) async fn arrivals(&mut self, pds: &Pds) -> Result<Vec<Arrival>> {
        let host = self.known_host(pds);
        let stream = match self.streams.entry(pds.hostname()) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let from = host.mark().map_or(0, |(_, mark)| mark.0);
                place.insert(Consumer::connect(&pds.stream_url(), Start::After(from)).await?)
            }
        };
        let mut arrivals = Vec::new();
        let taken = host.resume_from().1.map_or(0, |seq| seq.0);
        if taken >= pds.head() {
            return Ok(arrivals);
        }
        while stream.last_seq() < i64::try_from(pds.head())? {
            let event = stream.next().await?;
            let kind = match event.kind {
                Kind::Commit => EventKind::Commit,
                Kind::Sync => EventKind::Sync,
                Kind::Identity => EventKind::Identity,
                Kind::Account => EventKind::Account,
            };
            let arrival = Arrival {
                host: Arc::clone(&host),
                epoch: host.epoch(),
                host_seq: HostSeq(u64::try_from(event.seq)?),
                kind,
                did: Did::parse(&event.did)?,
                frame: event.frame,
            };
            host.receive(arrival.host_seq, arrival.frame.len()).await;
            arrivals.push(arrival);
        }
        Ok(arrivals)
    }

    /// Hands over what a host has sent.
    pub(super) async fn pass_on(&mut self, pds: &Pds) -> Result<()> {
        for arrival in self.arrivals(pds).await? {
            self.offer(arrival).await?;
        }
        Ok(())
    }

    pub(super) async fn offer(&self, arrival: Arrival) -> Result<()> {
        let offered = timeout(PATIENCE, self.rooms.ingest.offer(arrival)).await;
        offered.context("no place in the queue of the shard")?.ok().context("it has stopped")
    }

    /// Hands over and waits until everything is settled and durable.
    pub(super) async fn settle(&mut self, pds: &Pds) -> Result<()> {
        self.pass_on(pds).await?;
        self.settled().await
    }

    pub(super) async fn settled(&self) -> Result<()> {
        let settled = timeout(PATIENCE, self.rooms.ingest.settled()).await;
        settled.with_context(|| format!("{} events are inside", self.inside()))?;
        self.rooms.appender.barrier().await?;
        self.until("every host seq is settled", |bench| {
            bench.rooms.hosts.all().iter().all(|host| host.unsettled().0 == 0)
        })
        .await
    }

    /// Lets time pass, a second at a time, until everything is settled; at most five minutes of it.
    pub(super) async fn settle_in_time(&self) -> Result<()> {
        for _ in 0..300 {
            self.clock.advance_us(1_000_000);
            let settled = timeout(Duration::from_millis(200), self.rooms.ingest.settled()).await;
            if settled.is_ok() {
                return self.settled().await;
            }
        }
        anyhow::bail!("{} events are still inside", self.inside())
    }

    /// Makes the room of identities forget that it could not fetch this one.
    pub(super) async fn forget_failure(&self, account: &Simulated) -> Result<()> {
        let did = Did::parse(account.did())?;
        let found = async {
            while self.rooms.identities.fetch(&did, true).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, found).await.context("the identity can be fetched")
    }

    /// Waits for a condition, never for a time.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waiting).await.with_context(|| format!("never came: {what}"))
    }

    pub(super) fn ingest(&self) -> &Ingest {
        &self.rooms.ingest
    }

    pub(super) fn store(&self) -> &Store {
        &self.rooms.store
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.rooms.tasks
    }

    /// Events queued or parked.
    pub(super) fn inside(&self) -> usize {
        self.rooms.ingest.depth()
    }

    /// Durable events.
    pub(super) fn head(&self) -> u64 {
        self.rooms.reader.window().head.0
    }

    /// The low-water mark of a host, 0 when there is none yet.
    pub(super) fn mark(&self, pds: &Pds) -> u64 {
        self.known_host(pds).mark().map_or(0, |(_, mark)| mark.0)
    }

    pub(super) async fn row(&self, account: &Simulated) -> Result<Option<Account>> {
        Ok(self.rooms.ingest.account(&Did::parse(account.did())?).await?)
    }

    /// Waits until the row of an account fits.
    pub(super) async fn until_row(
        &self,
        account: &Simulated,
        fits: impl Fn(&Account) -> bool,
    ) -> Result<Account> {
        let waiting = async {
            loop {
                if let Some(row) = self.row(account).await?.filter(|row| fits(row)) {
                    return Ok(row);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waiting).await.context("the row never fitted")?
    }

    /// The whole log.
    pub(super) async fn log(&self) -> Result<Vec<Event>> {
        let mut position = self.rooms.reader.after(Seq(0));
        let mut events = Vec::new();
        loop {
            let some = position.read(1 << 20).await?;
            if some.is_empty() {
                return Ok(events);
            }
            events.extend(some);
        }
    }

    /// What consumers were told of an account, in order: `commit REV`, `sync REV`, `identity HANDLE`,
    /// `account STATUS`.
    pub(super) async fn told(&self, account: &Simulated) -> Result<Vec<String>> {
        let log = self.log().await?;
        Ok(log.iter().filter_map(|event| words(&event.frame, account.did())).collect())
    }

    /// Examples of what was dropped of an account, oldest first.
    pub(super) fn examples(&self, account: &Simulated) -> Vec<Dropped> {
        let mut examples = self.rooms.drops.of_did(account.did());
        examples.reverse();
        examples
    }

    pub(super) fn drops(&self, account: &Simulated) -> Vec<DropReason> {
        self.examples(account).iter().map(|dropped| dropped.reason).collect()
    }

    /// How many events were dropped for a reason.
    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        count(&self.rooms.drops.totals(), reason)
    }

    /// How many events passed that a strict relay would have dropped for a reason.
    pub(super) fn spared(&self, reason: DropReason) -> u64 {
        count(&self.rooms.drops.lenient_totals(), reason)
    }

    /// Writes a checkpoint, as the daemon does.
    pub(super) async fn checkpoint(&self) -> Result<()> {
        let position = self.rooms.reader.window().head;
        let snapshot = self.rooms.ingest.snapshot().await;
        self.rooms.appender.barrier().await?;
        let checkpoint = Checkpoint {
            position,
            accounts: snapshot.accounts,
            cursors: self.rooms.hosts.take_moved_marks(),
            count_deltas: snapshot.count_deltas,
            mark: 1,
        };
        self.rooms.store.checkpoint(&checkpoint).await?;
        self.rooms.ingest.checkpointed(snapshot.ticket).await;
        Ok(())
    }
}

fn count(totals: &[(DropReason, u64)], reason: DropReason) -> u64 {
    totals.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count)
}

fn words(frame: &[u8], did: &str) -> Option<String> {
    match Message::decode(frame).ok()? {
        Message::Commit(commit) if commit.repo == did => Some(format!("commit {}", commit.rev)),
        Message::Sync(sync) if sync.did == did => Some(format!("sync {}", sync.rev)),
        Message::Identity(identity) if identity.did == did => {
            Some(format!("identity {}", identity.handle.unwrap_or("-")))
        }
        Message::Account(account) if account.did == did => {
            let status = account.status.unwrap_or(if account.active { "active" } else { "-" });
            let stray = if account.active && status != "active" { "active+" } else { "" };
            Some(format!("account {stray}{status}"))
        }
        _ => None,
    }
}

impl Rooms {
    async fn open(dir: &TempDir, plc: &str, clock: &Clock, setting: Setting) -> Result<Self> {
        let url = format!("sqlite://{}", dir.path().join("relay.sqlite").display());
        let store = Store::open(&url, 2).await?;
        let options = NetOptions { allow_insecure: true, ..NetOptions::default() };
        let net = Net::new(NetOptions { user_agent: "test".to_owned(), ..options })?;
        let leniency = Leniency { everywhere: setting.lenient, ..Leniency::default() };
        let options = HostOptions { dev: true, leniency, ..HostOptions::default() };
        let hosts = Hosts::load(store.clone(), net.clone(), clock.clone(), options).await?;
        let (appender, reader) = open_log(dir, &store, &hosts, clock).await?;
        replay_tail(&store, &reader).await?;
        let tasks = Tasks::default();
        let options = IdentityOptions {
            plc_url: plc.to_owned(),
            plc_rate: 10_000,
            concurrency: 64,
            allow_insecure: true,
        };
        let identities = Identities::new(options, net.clone(), clock.clone(), &tasks);
        let drops = Arc::new(Drops::default());
        let parts = IngestParts {
            shards: 1,
            dev: true,
            appender: appender.clone(),
            hosts: hosts.clone(),
            identities: identities.clone(),
            store: store.clone(),
            net,
            drops: Arc::clone(&drops),
            clock: clock.clone(),
            host_queue: setting.host_queue,
            accounts_max: setting.accounts_max,
            hidden: Hidden::default(),
            last_account: store.last_account_number().await?,
            verdicts: None,
        };
        let ingest = Ingest::judging_by(setting.judge, parts, &tasks);
        Ok(Self { hosts, identities, ingest, drops, store, appender, reader, tasks })
    }

    async fn close(&self) -> Result<()> {
        timeout(PATIENCE, self.tasks.stop()).await.context("the tasks stop")?;
        self.appender.close().await;
        self.store.close().await;
        Ok(())
    }
}

async fn open_log(
    dir: &TempDir,
    store: &Store,
    hosts: &Hosts,
    clock: &Clock,
) -> Result<(Appender, Reader)> {
    let options = LogOptions {
        dir: dir.path().join("log"),
        instance_id: store.instance_id().await?,
        replay_window: Duration::from_hours(72),
        bytes_max: Some(1 << 30),
        initial_seq: Seq(1),
        known_seq: Seq(0),
        segment_bytes: 1 << 20,
        sync_interval: Duration::ZERO,
        recent_bytes: 1 << 20,
        compression: 1,
    };
    let (clock, hosts) = (clock.clone(), hosts.clone());
    let settle = move |durable: &[Durable]| {
        for event in durable {
            if let Some(host) = hosts.get(event.host) {
                host.settle(event.epoch, event.host_seq);
            }
        }
    };
    let open = move || eventlog::open(options, clock, Box::new(settle));
    Ok(tokio::task::spawn_blocking(open).await??)
}

/// What a start makes of the log behind the last checkpoint.
async fn replay_tail(store: &Store, reader: &Reader) -> Result<()> {
    let mut position = reader.after(store.last_checkpoint().await?.unwrap_or(Seq(0)));
    loop {
        let events = position.read(1 << 20).await?;
        let Some(last) = events.last() else { return Ok(()) };
        let mut rows = BTreeMap::new();
        for event in &events {
            let did = did_of(event)?;
            let known = match rows.remove(&did) {
                Some(row) => Some(row),
                None => store.accounts(std::slice::from_ref(&did)).await?.pop(),
            };
            rows.insert(did, replay(known, event).context("the record can be replayed")?);
        }
        let (position, accounts) = (last.seq, rows.into_values().collect());
        store.checkpoint(&Checkpoint { position, accounts, ..Checkpoint::default() }).await?;
    }
}

pub(super) fn did_of(event: &Event) -> Result<Did> {
    let envelope = relay_protocol::Envelope::peek(&event.frame)?;
    Ok(Did::parse(envelope.did.context("an event names a DID")?)?)
}
