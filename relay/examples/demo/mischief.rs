//! The hosts that misbehave: what each kind does wrong, in turn, so that every fault strikes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use relay_simnet::{Account, Fault, Net, Pds, records::post_record};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Events that a host may owe the relay before it waits.
pub(crate) const BACKLOG_MAX: u64 = 150;
/// Accounts of a host that misbehaves.
const ACCOUNTS: usize = 3;
/// Posts of each of them; later commits change these, so that memory stays flat.
const POSTS: usize = 12;
/// When the connection of a host that comes and goes is cut first, and again.
const FIRST_CUTS: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(9)];
/// Time between the later cuts: a relay forgets failures after a minute of a healthy stream, and
/// would otherwise come back later and later (UP-10).
const CUT_EVERY: Duration = Duration::from_secs(75);

/// A kind of misbehaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Signs wrongly (KEY-1, KEY-2).
    Forger,
    /// Sends again what was sent, or older revs (VAL-7).
    Repeater,
    /// Sends commits of accounts that live elsewhere (VAL-4).
    Impostor,
    /// Sends commits that do not prove, or are not commits (VAL-9 to VAL-12).
    Mangler,
    /// Its connections break (UP-9).
    Absentee,
}

impl Role {
    /// All kinds.
    pub(crate) const ALL: [Self; 5] =
        [Self::Forger, Self::Repeater, Self::Impostor, Self::Mangler, Self::Absentee];

    /// Name of its hosts.
    const fn name(self) -> &'static str {
        match self {
            Self::Forger => "forger",
            Self::Repeater => "repeater",
            Self::Impostor => "impostor",
            Self::Mangler => "mangler",
            Self::Absentee => "absentee",
        }
    }

    /// Faults that its commits have in turn; each of them strikes any commit with operations.
    const fn faults(self) -> &'static [Fault] {
        match self {
            Self::Forger => &[
                Fault::WrongKey,
                Fault::HighS,
                Fault::FlippedSignature,
                Fault::DerSignature,
                Fault::RetiredKey,
            ],
            Self::Repeater => &[Fault::EqualRev, Fault::StaleRev],
            Self::Mangler => &[
                Fault::WrongPrevData,
                Fault::MissingNode,
                Fault::CorruptNode,
                Fault::OmittedOp,
                Fault::NoPrevData,
                Fault::CommitCidMismatch,
                Fault::DidMismatch,
                Fault::RevMismatch,
                Fault::FutureRev,
                Fault::WrongVersion,
                Fault::DuplicatePath,
                Fault::UnknownAction,
                Fault::TruncatedCar,
                Fault::MissingCommitBlock,
                Fault::MissingField,
                Fault::UnknownFields,
            ],
            Self::Impostor | Self::Absentee => &[],
        }
    }
}

/// How often each thing was done that the relay has to withstand. Shared with the summary.
#[derive(Debug, Clone, Default)]
pub(crate) struct Struck(Arc<Mutex<BTreeMap<String, u64>>>);

impl Struck {
    fn expect(&self, what: &str) {
        self.books().entry(what.to_owned()).or_default();
    }

    fn count(&self, what: &str) {
        *self.books().entry(what.to_owned()).or_default() += 1;
    }

    /// The counts so far; what was set up and never happened is there with 0.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.books().clone()
    }

    fn books(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All hosts that misbehave.
#[derive(Debug)]
pub(crate) struct Mischief {
    rogues: Vec<Rogue>,
    struck: Struck,
}

impl Mischief {
    /// Makes `rounds` hosts of each kind.
    ///
    /// * `victims` – accounts of other hosts, for impostors
    pub(crate) async fn prepare(net: &Net, victims: &[Account], rounds: usize) -> Result<Self> {
        let struck = Struck::default();
        let mut rogues = Vec::new();
        for round in 0..rounds {
            for role in Role::ALL {
                rogues.push(Rogue::prepare(net, role, round, victims, &struck).await?);
            }
        }
        Ok(Self { rogues, struck })
    }

    /// The counts.
    pub(crate) fn struck(&self) -> Struck {
        self.struck.clone()
    }

    /// The first host of a kind.
    pub(crate) fn host(&self, role: Role) -> Option<&Pds> {
        self.rogues.iter().find(|rogue| rogue.role == role).map(|rogue| &rogue.host)
    }

    /// Number of hosts.
    pub(crate) fn hosts(&self) -> usize {
        self.rogues.len()
    }

    /// Misbehaves at a rate, host after host, until it is told to stop.
    pub(crate) async fn run(mut self, rate: u32, stopping: CancellationToken) -> Result<()> {
        let start = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let count = self.rogues.len().max(1);
        for turn in 0.. {
            tokio::select! {
                () = stopping.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let rogue = self.rogues.get_mut(turn % count).context("a host that misbehaves")?;
            rogue.act(start.elapsed()).await?;
        }
        Ok(())
    }
}

/// One host that misbehaves.
#[derive(Debug)]
struct Rogue {
    role: Role,
    host: Pds,
    accounts: Vec<(Account, Vec<String>)>,
    victims: Vec<Account>,
    struck: Struck,
    turn: usize,
    cuts: usize,
    next_cut: Duration,
}

impl Rogue {
    async fn prepare(
        net: &Net,
        role: Role,
        round: usize,
        victims: &[Account],
        struck: &Struck,
    ) -> Result<Self> {
        let name = format!("{}-{round}", role.name());
        let host = net.pds(&name).await?;
        let mut accounts = Vec::new();
        for number in 0..ACCOUNTS {
            let account = host.account(&format!("{name}-{number}")).await?;
            let mut paths = Vec::new();
            for post in 0..POSTS {
                paths.extend(account.post(&format!("post {post}")).await?.paths);
            }
            accounts.push((account, paths));
        }
        for fault in role.faults() {
            struck.expect(&format!("{fault:?}"));
        }
        match role {
            Role::Impostor => struck.expect("WrongHost"),
            Role::Repeater => struck.expect("RepeatedSync"),
            Role::Absentee => struck.expect("Cut"),
            Role::Forger | Role::Mangler => {}
        }
        Ok(Self {
            role,
            host,
            accounts,
            victims: victims.to_vec(),
            struck: struck.clone(),
            turn: 0,
            cuts: 0,
            next_cut: FIRST_CUTS[0],
        })
    }

    /// One thing wrong, if its kind does things wrong, and one right.
    async fn act(&mut self, elapsed: Duration) -> Result<()> {
        if self.host.undelivered() > BACKLOG_MAX {
            return Ok(());
        }
        let turn = self.turn;
        self.turn += 1;
        let faults = self.role.faults();
        // Another account each time that all faults had their turn.
        let at = turn / faults.len().max(1) % ACCOUNTS;
        let (account, paths) = self.accounts.get(at).context("an account")?;
        if let Some(fault) = turn.checked_rem(faults.len()).and_then(|at| faults.get(at)) {
            change(&account.with(*fault), paths, turn).await?;
            self.struck.count(&format!("{fault:?}"));
        }
        match self.role {
            Role::Impostor => {
                let victim = self.victims.get(turn % self.victims.len().max(1));
                victim.context("a victim")?.through(&self.host).post("not mine").await?;
                self.struck.count("WrongHost");
            }
            Role::Absentee => self.come_and_go(elapsed),
            Role::Forger | Role::Repeater | Role::Mangler => {}
        }
        let (account, paths) = self.accounts.get(at).context("an account")?;
        change(account, paths, turn).await?;
        if self.role == Role::Repeater {
            account.sync_again().await?;
            self.struck.count("RepeatedSync");
        }
        Ok(())
    }

    /// Cuts the relay's connection when it is time.
    fn come_and_go(&mut self, elapsed: Duration) {
        if elapsed < self.next_cut || self.host.subscribers() == 0 {
            return;
        }
        self.host.cut();
        self.struck.count("Cut");
        self.cuts += 1;
        self.next_cut = FIRST_CUTS.get(self.cuts).copied().unwrap_or(elapsed + CUT_EVERY);
    }
}

/// Changes one of the posts.
async fn change(account: &Account, paths: &[String], turn: usize) -> Result<()> {
    let path = paths.get(turn % paths.len().max(1)).context("a post")?;
    let (collection, key) = path.split_once('/').context("a path")?;
    // Never what the record holds already.
    let record = post_record(&format!("changed {turn} {}", account.records().await), 0);
    account.update(collection, key, record).await?;
    Ok(())
}
