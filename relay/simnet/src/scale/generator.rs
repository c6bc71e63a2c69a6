//! Makes the events of a plan, one after the other.

use super::{
    Plan,
    commit::{self, Content, Made},
    event::{Event, Expect},
    leaves::{Base, Changes, Leaves, Sha},
    population::Population,
    tree::{self, Pages, cid},
    universe::{Key, Universe},
};
use crate::{
    COMMIT_FAULTS, Fault,
    adversary::Stage,
    block::Cid36,
    clock::{START_MICROS, tid},
    load::{create, words},
    records::post_record,
    repo::{Op, Write},
    wire::Kind,
};
use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// How far one event moves the clock.
const TICK_MICROS: u64 = 1_000;

/// Attempts to find an account without an announcement.
const ATTEMPTS: usize = 8;

/// What is stored of an account: 112 bytes, and what changed since the start.
#[derive(Debug, Clone, Default)]
struct Holding {
    /// Rev of the last commit; 0 before the first event.
    rev: u64,
    /// Root of the tree; unknown before the first event.
    root: Sha,
    changes: Changes,
    /// Kept subtrees of a large repository.
    pages: Option<Box<Pages>>,
    /// Highest rev that passed: the oracle's model, not the repository's.
    passed: u64,
    announced: bool,
}

impl Holding {
    /// What has to become of a commit or `#sync` that claims this rev; remembers it if it passes.
    fn judge(&mut self, fault: Option<Fault>, rev: u64) -> Expect {
        // Whether a rev is stale follows from what passed, not from the intention.
        let stage = fault.filter(|fault| !matches!(fault, Fault::EqualRev | Fault::StaleRev));
        match stage.map_or(Stage::Passes, Fault::stage) {
            Stage::Decode => Expect::Faulty,
            _ if rev <= self.passed => Expect::Stale,
            Stage::Rev | Stage::Content => Expect::Faulty,
            Stage::Passes => {
                self.passed = rev;
                Expect::Pass
            }
        }
    }
}

/// What a commit changes.
struct Changed {
    ops: Vec<Op>,
    blocks: tree::Shown,
    touched: Vec<Key>,
}

/// The events of a plan in the order in which they are sent.
///
/// Everything follows from the plan. The introductions come first if there are any: one commit of
/// every account.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    population: Population,
    universe: Universe,
    holdings: Vec<Holding>,
    /// Number of the last event of each host.
    numbers: Vec<u64>,
    rng: StdRng,
    micros: u64,
    made: u64,
    /// Faults made so far.
    faults: usize,
}

impl Generator {
    /// Begins a plan.
    ///
    /// # Errors
    /// When the plan makes no sense.
    pub fn new(plan: &Plan) -> Result<Self> {
        plan.check()?;
        Ok(Self {
            plan: plan.clone(),
            population: Population::of(plan),
            universe: Universe::new(plan.seed),
            holdings: vec![Holding::default(); usize::try_from(plan.accounts)?],
            numbers: vec![0; usize::try_from(plan.hosts)?],
            rng: StdRng::seed_from_u64(plan.seed ^ 0x5ca1e),
            micros: START_MICROS,
            made: 0,
            faults: 0,
        })
    }

    /// The records of an account now: paths and CIDs in order.
    pub fn records(&mut self, account: u32) -> Result<Vec<(String, Cid36)>> {
        let population = self.population;
        let holding = self.holdings.get_mut(account as usize).context("an account")?;
        let records = population.records(account);
        let base = Base::new(&self.universe, population.mixed(account), records);
        let mut leaves = Vec::new();
        Leaves { base, changes: &mut holding.changes }.between(None, None, &mut leaves);
        Ok(leaves.into_iter().map(|leaf| (leaf.key.path(), cid(&leaf.value))).collect())
    }

    /// Bytes that are stored of all accounts, without what the allocator adds.
    pub fn stored_bytes(&self) -> usize {
        let of = |holding: &Holding| {
            let pages = holding.pages.as_ref().map_or(0, |pages| pages.bytes());
            holding.changes.bytes() + pages
        };
        self.holdings.iter().map(of).sum::<usize>() + self.holdings.len() * size_of::<Holding>()
    }

    /// Events made so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    fn random(&mut self, below: u32) -> u32 {
        self.rng.random_range(0..below.max(1))
    }

    fn make(&mut self) -> Result<Event> {
        self.micros += TICK_MICROS;
        if self.plan.introduce && self.made < u64::from(self.plan.accounts) {
            let account = u32::try_from(self.made)?;
            return self.commit(account, None);
        }
        let faults = u32::try_from(COMMIT_FAULTS.len())?;
        let kind = self.random(1000);
        let announcements = self.plan.announcements_per_mille;
        let foreign = announcements + self.plan.foreign_per_mille;
        let spoilt = foreign + self.plan.each_fault_per_mille * faults;
        if kind < announcements
            && let Some(account) = self.without_announcement()
        {
            return self.announce(account);
        }
        let account = self.population.active(&mut self.rng);
        match kind {
            kind if (announcements..foreign).contains(&kind) => self.foreign(account),
            kind if (foreign..spoilt).contains(&kind) => {
                // In turn, so that a run of any length makes all of them.
                self.faults += 1;
                self.commit(account, COMMIT_FAULTS.get(self.faults % COMMIT_FAULTS.len()).copied())
            }
            _ => self.commit(account, None),
        }
    }

    /// An account that announced nothing yet: a repetition may be dropped (ACC-3, IDE-5).
    fn without_announcement(&mut self) -> Option<u32> {
        (0..ATTEMPTS).find_map(|_| {
            let account = self.random(self.plan.accounts);
            let holding = self.holdings.get_mut(account as usize)?;
            (!std::mem::replace(&mut holding.announced, true)).then_some(account)
        })
    }

    fn next_number(&mut self, host: u32) -> Result<u64> {
        let number = self.numbers.get_mut(host as usize).context("a host")?;
        *number += 1;
        Ok(*number)
    }

    /// A commit of the account itself.
    fn commit(&mut self, account: u32, fault: Option<Fault>) -> Result<Event> {
        let host = self.population.host(account);
        let content = self.content(account, host, true)?;
        let made = match fault {
            None => commit::honest(content)?,
            Some(fault) => commit::spoilt(&content, &self.population.secret_bytes(account), fault)?,
        };
        let holding = self.holdings.get_mut(account as usize).context("an account")?;
        let expect = holding.judge(fault, made.rev);
        let number = self.numbers.get(host as usize).copied().context("a host")?;
        Ok(event(made, (account, host, number), (Kind::Commit, fault, expect)))
    }

    /// One honest commit, written by the short way and by way of a draft.
    #[cfg(test)]
    pub(super) fn make_both(&mut self) -> Result<(Event, Event)> {
        self.micros += TICK_MICROS;
        let account = self.population.active(&mut self.rng);
        let host = self.population.host(account);
        let content = self.content(account, host, true)?;
        let long = commit::drafted(&content, &self.population.secret_bytes(account))?;
        let short = commit::honest(content)?;
        let what = (Kind::Commit, None, Expect::Pass);
        Ok((event(short, (account, host, 0), what), event(long, (account, host, 0), what)))
    }

    /// A commit that another host sends; it changes nothing in the account.
    fn foreign(&mut self, account: u32) -> Result<Event> {
        let home = self.population.host(account);
        let host = (home + 1 + self.random(self.plan.hosts.saturating_sub(1))) % self.plan.hosts;
        if host == home {
            return self.commit(account, None);
        }
        self.begin(account)?;
        let at = usize::try_from(account)?;
        let before = self.holdings.get(at).cloned().context("an account")?;
        let made = commit::honest(self.content(account, host, true)?)?;
        *self.holdings.get_mut(at).context("an account")? = before;
        let number = self.numbers.get(host as usize).copied().context("a host")?;
        Ok(event(made, (account, host, number), (Kind::Commit, None, Expect::Foreign)))
    }

    /// `#sync`, `#identity` or `#account`.
    fn announce(&mut self, account: u32) -> Result<Event> {
        let host = self.population.host(account);
        let (kind, made) = match self.random(3) {
            0 => {
                let content = self.content(account, host, false)?;
                let secret = self.population.secret_bytes(account);
                (Kind::Sync, commit::sync(&content, &secret)?)
            }
            1 => {
                let (did, seq) = (self.population.did(account), self.next_number(host)?);
                let handle = Population::handle(account);
                (Kind::Identity, commit::identity(&did, handle, self.micros, seq)?)
            }
            _ => {
                let (did, seq) = (self.population.did(account), self.next_number(host)?);
                (Kind::Account, commit::throttled(&did, self.micros, seq)?)
            }
        };
        let expect = if kind == Kind::Sync {
            let holding = self.holdings.get_mut(account as usize).context("an account")?;
            holding.judge(None, made.rev)
        } else {
            Expect::Pass
        };
        let number = self.numbers.get(host as usize).copied().context("a host")?;
        Ok(event(made, (account, host, number), (kind, None, expect)))
    }

    /// Computes the root that an account starts with, if that has not happened yet.
    fn begin(&mut self, account: u32) -> Result<()> {
        let population = self.population;
        let holding = self.holdings.get_mut(account as usize).context("an account")?;
        if holding.rev != 0 {
            return Ok(());
        }
        let records = population.records(account);
        let base = Base::new(&self.universe, population.mixed(account), records);
        let leaves = Leaves { base, changes: &mut holding.changes };
        holding.root = tree::root(&leaves, &mut holding.pages, &[], &[]).0;
        holding.rev = population.first_rev(account);
        Ok(())
    }

    /// The next commit of an account, with operations or without.
    fn content(&mut self, account: u32, host: u32, writes: bool) -> Result<Content> {
        self.begin(account)?;
        let (population, micros) = (self.population, self.micros);
        let records = population.records(account);
        let seq = self.next_number(host)?;
        let holding = self.holdings.get_mut(account as usize).context("an account")?;
        let prev_data = holding.root;
        let mut ops = Vec::new();
        let mut blocks = Vec::new();
        if writes {
            let base = Base::new(&self.universe, population.mixed(account), records);
            let mut leaves = Leaves { base, changes: &mut holding.changes };
            let changed = change(&mut leaves, &mut self.rng, micros, records)?;
            let mut wanted = changed.touched.clone();
            wanted.extend(changed.touched.iter().flat_map(|key| leaves.neighbours(*key)).flatten());
            let (root, shown) = tree::root(&leaves, &mut holding.pages, &changed.touched, &wanted);
            holding.root = root;
            ops = changed.ops;
            blocks = shown;
            blocks.extend(changed.blocks);
        }
        let rev = tid(micros, 0).max(holding.rev + 1);
        let since = std::mem::replace(&mut holding.rev, rev);
        let (did, secret) = (population.did(account), population.secret(account)?);
        let data = holding.root;
        Ok(Content { did, secret, micros, rev, since, prev_data, data, ops, blocks, seq })
    }
}

impl Iterator for Generator {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.made >= self.plan.total() {
            return None;
        }
        let event = self.make();
        self.made += 1;
        Some(event)
    }
}

fn event(
    made: Made,
    (account, host, number): (u32, u32, u64),
    (kind, fault, expect): (Kind, Option<Fault>, Expect),
) -> Event {
    let Made { frame, digest, rev, commit } = made;
    Event { account, host, number, kind, fault, expect, rev, commit, digest, frame }
}

/// Applies the writes of one commit. A repository that has doubled only loses records.
fn change(leaves: &mut Leaves<'_>, rng: &mut StdRng, micros: u64, records: u32) -> Result<Changed> {
    let is_full = leaves.len() > usize::try_from(records)? * 2 + 64;
    let kind = if is_full { 80 } else { rng.random_range(0..100) };
    let existing = leaves.some(rng.random()).map(Key::path);
    let writes = match (kind, existing) {
        (80..92, Some(path)) => vec![Write::delete(path)],
        (92..97, Some(path)) => vec![Write::update(path, post_record(&words(rng), micros))],
        (97.., existing) => {
            let creates = rng.random_range(2..6);
            let creates = (0..creates).map(|at| create(rng, micros + at));
            creates.chain(existing.map(Write::delete)).collect()
        }
        _ => vec![create(rng, micros)],
    };
    let mut changed = Changed { ops: Vec::new(), blocks: Vec::new(), touched: Vec::new() };
    for write in writes {
        apply(leaves, write, &mut changed)?;
    }
    Ok(changed)
}

fn apply(leaves: &mut Leaves<'_>, write: Write, changed: &mut Changed) -> Result<()> {
    let path = write.path().to_owned();
    let key = Key::parse(&path)?;
    let prev = leaves.get(key).map(|sha| cid(&sha));
    let (action, record) = match write {
        Write::Create { record, .. } => ("create", Some(record)),
        Write::Update { record, .. } => ("update", Some(record)),
        Write::Delete { .. } => ("delete", None),
    };
    let cid = record.map(|record| {
        let (cid, block) = commit::record(&record);
        let mut sha = [0; 32];
        sha.copy_from_slice(&cid[4..]);
        leaves.insert(key, sha);
        changed.blocks.push((cid, block));
        cid
    });
    if cid.is_none() {
        leaves.remove(key);
    }
    changed.ops.push(Op { action, path, cid, prev });
    changed.touched.push(key);
    Ok(())
}
