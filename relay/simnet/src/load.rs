//! Traffic like that of the real network, as fast as the machine makes it or at a given rate.

mod pregenerated;

use crate::{
    Account, AccountOptions, Fault, Net, Pds, Sent, Write,
    account::Stock,
    clock::{START_MICROS, tid, tid_text},
    keys::Curve,
    mst::CachedTree,
    records::{follow_record, post_record, subject_record},
};
use anyhow::{Context, Result, ensure};
use ipld_core::ipld::Ipld;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::time::Duration;
use tokio::time::Instant;

pub use pregenerated::Pregenerated;

/// Pause when a host has too much to deliver.
const BACKLOG_PAUSE: Duration = Duration::from_millis(1);

/// Length of one step when a rate is given.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// Events between two looks at the backlog of all hosts.
pub(crate) const ROUND: u64 = 64;

/// Records that one silent commit adds while repositories are filled.
const FILL_STEP: usize = 200;

/// Faults that strike any commit with operations, so that a load of them leaves none unfired.
pub const COMMIT_FAULTS: &[Fault] = &[
    Fault::WrongKey,
    Fault::RetiredKey,
    Fault::HighS,
    Fault::DerSignature,
    Fault::FlippedSignature,
    Fault::WrongVersion,
    Fault::NoPrevKey,
    Fault::UnknownCommitField,
    Fault::DidMismatch,
    Fault::RevMismatch,
    Fault::CommitCidMismatch,
    Fault::EqualRev,
    Fault::StaleRev,
    Fault::FutureRev,
    Fault::WrongPrevData,
    Fault::NoPrevData,
    Fault::MissingNode,
    Fault::CorruptNode,
    Fault::OmittedOp,
    Fault::DuplicatePath,
    Fault::UnknownAction,
    Fault::BadPath,
    Fault::MissingCommitBlock,
    Fault::TruncatedCar,
    Fault::ExtraRoot,
    Fault::UnrelatedBlock,
    Fault::MissingField,
    Fault::WrongFieldType,
    Fault::UnknownFields,
    Fault::MissingDefaults,
    Fault::TooBig,
];

/// What kind of network and traffic a load makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadOptions {
    /// Number of hosts.
    pub hosts: usize,
    /// Number of accounts, spread evenly over the hosts.
    pub accounts: usize,
    /// Median number of records per repository at the start; a tenth has five times as many.
    pub records: usize,
    /// Records from which on a repository shrinks again, so that a long run needs no more memory.
    pub records_max: usize,
    /// Of 1,000 accounts, how many sign with P-256.
    pub p256_per_mille: u32,
    /// Of 1,000 events, how many are `#sync`, `#identity` or `#account`.
    pub announcements_per_mille: u32,
    /// Of 1,000 events, how many are commits with one of `faults`.
    pub faults_per_mille: u32,
    /// Faults to choose from; they must strike any commit, as those of [`COMMIT_FAULTS`] do.
    pub faults: &'static [Fault],
    /// Of 1,000 events, how many are sent by another host than the account's.
    pub impostors_per_mille: u32,
    /// Whether a few accounts are much more active than the rest, as on the real network.
    pub skewed: bool,
    /// Events that a host keeps for replays.
    pub retained_events: usize,
    /// Bytes that a host keeps for replays.
    pub retained_bytes: usize,
    /// Events that a host may owe its relay before the load waits; less than `retained_events`.
    pub backlog_max: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            hosts: 10,
            accounts: 100,
            records: 20,
            records_max: usize::MAX,
            p256_per_mille: 50,
            announcements_per_mille: 10,
            faults_per_mille: 0,
            faults: COMMIT_FAULTS,
            impostors_per_mille: 0,
            skewed: true,
            retained_events: 20_000,
            retained_bytes: 32 << 20,
            backlog_max: 2_000,
        }
    }
}

/// A source of traffic over its own hosts and accounts.
#[derive(Debug)]
pub struct Load {
    options: LoadOptions,
    hosts: Vec<Pds>,
    accounts: Vec<Account>,
    /// How often each account announced something, so that no announcement repeats the last one.
    announced: Vec<usize>,
    rng: StdRng,
    sent: u64,
}

impl Load {
    /// Makes hosts `load-0000`… and their accounts with filled repositories. The creation of an
    /// account is not announced: a relay meets it at its first event.
    pub async fn prepare(net: &Net, options: LoadOptions) -> Result<Self> {
        ensure!(options.hosts > 0 && options.accounts > 0, "a load needs hosts and accounts");
        ensure!(
            options.backlog_max < options.retained_events as u64,
            "the backlog must stay below what the hosts retain"
        );
        let mut rng = StdRng::seed_from_u64(net.seed() ^ 0x10ad);
        let mut hosts = Vec::with_capacity(options.hosts);
        for number in 0..options.hosts {
            let host = net.pds(&format!("load-{number:04}")).await?;
            host.retain(options.retained_events, options.retained_bytes);
            hosts.push(host);
        }
        let mut accounts = Vec::with_capacity(options.accounts);
        for number in 0..options.accounts {
            let p256 = rng.random_range(0..1000) < options.p256_per_mille;
            let account_options = AccountOptions {
                curve: if p256 { Curve::P256 } else { Curve::K256 },
                announced: false,
                ..AccountOptions::default()
            };
            let host = hosts.get(number % options.hosts).context("a host for the account")?;
            let account = host.account_with(&format!("user-{number:06}"), account_options).await?;
            let records = records_of(&mut rng, options.records);
            fill(&account, &mut rng, records).await?;
            accounts.push(account);
        }
        let announced = vec![0; accounts.len()];
        Ok(Self { options, hosts, accounts, announced, rng, sent: 0 })
    }

    /// The hosts.
    pub fn hosts(&self) -> &[Pds] {
        &self.hosts
    }

    /// The accounts.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Events sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends so many events as fast as the machine and the subscribed relays permit.
    pub async fn send(&mut self, events: u64) -> Result<()> {
        for number in 0..events {
            if number % ROUND == 0 {
                self.wait_for_room().await;
            }
            self.step(None).await?;
        }
        Ok(())
    }

    /// Sends at a rate for a time; returns how many events were sent. Falls behind rather than
    /// letting a host owe more than the backlog permits.
    pub async fn run(&mut self, events_per_second: u32, span: Duration) -> Result<u64> {
        let begin = Instant::now();
        let before = self.sent;
        let mut ticks = tokio::time::interval(STEP);
        while begin.elapsed() < span {
            ticks.tick().await;
            let due = due(begin.elapsed(), events_per_second);
            while self.sent - before < due {
                let missing = due - (self.sent - before);
                self.send(missing.min(ROUND)).await?;
            }
        }
        Ok(self.sent - before)
    }

    /// Makes events without sending them, so that sending them costs nothing. The hosts of the
    /// load must not send anything else before all of them are played.
    pub async fn pregenerate(&mut self, events: u64) -> Result<Pregenerated> {
        let mut pregenerated = Pregenerated::new(self.options.backlog_max);
        self.pregenerate_onto(&mut pregenerated, events).await?;
        Ok(pregenerated.reversed())
    }

    /// The same after one commit of every account, so that a relay has met all of them.
    pub async fn pregenerate_introduced(&mut self, events: u64) -> Result<Pregenerated> {
        let mut pregenerated = Pregenerated::new(self.options.backlog_max);
        let records_max = self.options.records_max;
        for account in &self.accounts {
            let account = account.onto(&pregenerated.stock);
            let rng = &mut self.rng;
            account.act(|tree, micros| choose(rng, tree, micros, records_max)).await?;
            self.sent += 1;
            pregenerated.take_stock();
        }
        self.pregenerate_onto(&mut pregenerated, events).await?;
        Ok(pregenerated.reversed())
    }

    async fn pregenerate_onto(&mut self, made: &mut Pregenerated, events: u64) -> Result<()> {
        for _ in 0..events {
            self.step(Some(&made.stock)).await?;
            made.take_stock();
        }
        Ok(())
    }

    pub(crate) async fn wait_for_room(&self) {
        for host in &self.hosts {
            while host.shared.was_asked() && host.undelivered() > self.options.backlog_max {
                tokio::time::sleep(BACKLOG_PAUSE).await;
            }
        }
    }

    /// One event of one account.
    pub(crate) async fn step(&mut self, stock: Option<&Stock>) -> Result<()> {
        let announcements = self.options.announcements_per_mille;
        let impostors = announcements + self.options.impostors_per_mille;
        let faults = impostors + self.options.faults_per_mille;
        let kind = self.rng.random_range(0..1000);
        let count = self.accounts.len();
        // Announcements are limited per account, so that the active ones get no more than others.
        let index = if self.options.skewed && kind >= announcements {
            skewed(&mut self.rng, count)
        } else {
            self.rng.random_range(0..count)
        };
        let account = self.accounts.get(index).context("an account")?;
        let account = match stock {
            Some(stock) => account.onto(stock),
            None => account.clone(),
        };
        let rng = &mut self.rng;
        let records_max = self.options.records_max;
        match kind {
            kind if kind < announcements => {
                let turn = self.announced.get_mut(index).context("an account")?;
                *turn += 1;
                announce(&account, rng, *turn).await?
            }
            kind if kind < impostors => {
                let own = account.pds().await?.shared.number();
                let mut others = self.hosts.iter().filter(|host| host.shared.number() != own);
                let at = rng.random_range(0..self.hosts.len().max(2) - 1);
                let account = match others.nth(at) {
                    Some(host) => account.through(host),
                    None => account,
                };
                account.act(|tree, micros| choose(rng, tree, micros, records_max)).await?
            }
            kind if kind < faults && !self.options.faults.is_empty() => {
                let index = rng.random_range(0..self.options.faults.len());
                let fault = *self.options.faults.get(index).context("a fault")?;
                account
                    .with(fault)
                    .act(|tree, micros| choose(rng, tree, micros, records_max))
                    .await?
            }
            _ => account.act(|tree, micros| choose(rng, tree, micros, records_max)).await?,
        };
        self.sent += 1;
        Ok(())
    }
}

/// Announces something that a relay has to pass on: repetitions may be dropped (ACC-3, IDE-5).
async fn announce(account: &Account, rng: &mut StdRng, turn: usize) -> Result<Sent> {
    match rng.random_range(0..3) {
        0 => account.sync().await,
        1 => {
            let handle = account.current_handle().await;
            account.identity(Some(&handle)).await
        }
        _ => {
            // All of them leave the account active (ACC-4).
            let statuses = [None, Some("throttled"), Some("desynchronized")];
            let status = statuses.get(turn % statuses.len()).copied().flatten();
            account.set_status(true, status).await
        }
    }
}

pub(crate) fn due(elapsed: Duration, events_per_second: u32) -> u64 {
    let due = elapsed.as_micros() * u128::from(events_per_second) / 1_000_000;
    u64::try_from(due).unwrap_or(u64::MAX)
}

/// An index that is small much more often than large (Zipf with exponent 1).
fn skewed(rng: &mut StdRng, count: usize) -> usize {
    let mut below = count.max(1);
    // Choosing a random power of two first makes the density fall with the index.
    let halvings = rng.random_range(0..=below.ilog2());
    below >>= halvings;
    rng.random_range(0..below.max(1))
}

fn records_of(rng: &mut StdRng, median: usize) -> usize {
    match rng.random_range(0..10) {
        0 => median * 5,
        1..=4 => median * 3 / 2,
        _ => median / 2,
    }
}

async fn fill(account: &Account, rng: &mut StdRng, records: usize) -> Result<()> {
    let mut left = records;
    while left > 0 {
        let writes = (0..left.min(FILL_STEP)).map(|_| {
            // Spread over the year before the start, as if written then.
            let micros = START_MICROS - rng.random_range(0..31_536_000_000_000);
            create(rng, micros)
        });
        let writes: Vec<Write> = writes.collect();
        left -= writes.len();
        account.fill(writes).await?;
    }
    Ok(())
}

/// The mix of the real network: 80 % creates, 12 % deletes, 5 % updates, the rest several at once.
/// A repository that is too large only loses records.
fn choose(rng: &mut StdRng, tree: &CachedTree, micros: u64, records_max: usize) -> Vec<Write> {
    let kind = if tree.len() > records_max { 80 } else { rng.random_range(0..100) };
    match kind {
        0..80 => vec![create(rng, micros)],
        80..92 => match existing(rng, tree) {
            Some(path) => vec![Write::delete(path)],
            None => vec![create(rng, micros)],
        },
        92..97 => match existing(rng, tree) {
            Some(path) => vec![Write::update(path, post_record(&words(rng), micros))],
            None => vec![create(rng, micros)],
        },
        _ => several(rng, tree, micros),
    }
}

fn several(rng: &mut StdRng, tree: &CachedTree, micros: u64) -> Vec<Write> {
    let creates = rng.random_range(2..6);
    let mut writes: Vec<Write> = (0..creates).map(|at| create(rng, micros + at)).collect();
    if let Some(path) = existing(rng, tree) {
        writes.push(Write::delete(path));
    }
    writes
}

/// 55 % likes, 17 % posts, 17 % follows, 11 % reposts.
pub(crate) fn create(rng: &mut StdRng, micros: u64) -> Write {
    let key = tid_text(tid(micros, rng.random_range(0..1024)));
    let (collection, record) = match rng.random_range(0..100) {
        0..55 => ("app.bsky.feed.like", None),
        55..72 => ("app.bsky.feed.post", Some(post_record(&words(rng), micros))),
        72..89 => ("app.bsky.graph.follow", Some(follow_record(&some_did(rng), micros))),
        _ => ("app.bsky.feed.repost", None),
    };
    let record = record.unwrap_or_else(|| liked(rng, collection, micros));
    Write::create(format!("{collection}/{key}"), record)
}

fn liked(rng: &mut StdRng, collection: &str, micros: u64) -> Ipld {
    let key = tid_text(tid(micros, rng.random_range(0..1024)));
    let uri = format!("at://{}/app.bsky.feed.post/{key}", some_did(rng));
    subject_record(collection, &uri, micros)
}

fn some_did(rng: &mut StdRng) -> String {
    let bytes: [u8; 15] = rng.random();
    let text = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
    format!("did:plc:{text}")
}

/// Between one word and a long post.
pub(crate) fn words(rng: &mut StdRng) -> String {
    const WORDS: [&str; 8] = ["rain", "the", "harbour", "of", "seven", "lanterns", "and", "bread"];
    let count = rng.random_range(1..40);
    let words: Vec<&str> =
        (0..count).filter_map(|_| WORDS.get(rng.random_range(0..WORDS.len())).copied()).collect();
    words.join(" ")
}

/// A record that the repository holds.
fn existing(rng: &mut StdRng, tree: &CachedTree) -> Option<String> {
    let collection = match rng.random_range(0..100) {
        0..55 => "app.bsky.feed.like",
        55..72 => "app.bsky.feed.post",
        72..89 => "app.bsky.graph.follow",
        _ => "app.bsky.feed.repost",
    };
    let micros = START_MICROS - rng.random_range(0..31_536_000_000_000);
    let probe = format!("{collection}/{}", tid_text(tid(micros, 0)));
    let found = tree.at_or_after(&probe).or_else(|| tree.at_or_after("app"));
    found.map(|(path, _)| path)
}
