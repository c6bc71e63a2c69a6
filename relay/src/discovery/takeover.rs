//! Takes the place of a reference relay: its hosts, cursors, decisions and accounts, and numbers that go
//! on above its own (I4).
//!
//! Works on a stopped relay. What is there already stays, so that a second run adds only what is new:
//! a cursor only rises, an account that has a row keeps it.

mod head;
mod reading;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

use relay_protocol::Did;
use serde::Serialize;

pub use self::head::Head;
use self::reading::{HostToTake, NotTaken};
use crate::{
    accounts::{NO_HOST, Numbers, counted_at},
    domain::{Account, AccountNo, Actor, DomainBan, HostId, HostSeq, HostStatus, LocalStatus, Seq},
    hosts::normalised_domain,
    store::{HostRow, Indigo, IndigoAccount, Store, StoreError},
};

/// Accounts that are read and written at once.
const PAGE: u32 = 5_000;

/// Rows that were left out of which the report tells.
const TOLD_MAX: usize = 20;

/// What a person says about it.
#[derive(Debug, Clone, Default)]
pub struct TakeoverOptions {
    /// Hosts without TLS and of this machine are permitted.
    pub dev: bool,
    /// Only say what would be taken.
    pub dry_run: bool,
    /// The newest seq that the other relay gave out.
    pub head: Option<u64>,
    /// Where its event log lies.
    pub log_dir: Option<PathBuf>,
    /// Now, ms since 1970.
    pub now_ms: u64,
}

/// What was taken, or would be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// Hosts that were not known here.
    pub hosts_new: u64,
    /// Hosts that were.
    pub hosts_known: u64,
    /// Hosts that are read on from where the other relay was.
    pub cursors: u64,
    /// Hosts that are banned.
    pub hosts_banned: u64,
    /// Domains that are banned.
    pub domain_bans: u64,
    /// Accounts that were not known here.
    pub accounts_new: u64,
    /// Accounts that were.
    pub accounts_known: u64,
    /// Of the new accounts, those whose next commit will be checked against the last one.
    pub repos: u64,
    /// Accounts that are taken down.
    pub takedowns: u64,
    /// Accounts that are suspended.
    pub suspended: u64,
    /// Accounts over the limit of their host there; here the limits of this relay decide.
    pub unthrottled: u64,
    /// Rows that cannot be used here.
    pub left_out: u64,
    /// The first of them, and why.
    pub left_out_because: Vec<String>,
    /// The newest seq that the other relay gave out.
    pub head: u64,
    /// How that is known.
    pub head_found: String,
    /// The first seq that this relay gives out, at least.
    pub first_seq: u64,
}

impl Taken {
    fn leave_out(&mut self, why: String) {
        self.left_out += 1;
        if self.left_out_because.len() < TOLD_MAX {
            self.left_out_because.push(why);
        }
    }
}

/// Why nothing more was taken; a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The other database says something that must not be guessed at.
    #[error("{0}; nothing was taken")]
    NotUnderstood(String),
    /// One of the databases.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes all that there is.
///
/// * `ours` – `None` for a dry run before our database is made
/// * `tell` – is given the report as it grows
///
/// # Errors
/// [`TakeoverError`]. After one of a database, what was written until then stays, and another run goes
/// on with the rest.
pub async fn take_over(
    theirs: &Indigo,
    ours: Option<&Store>,
    options: &TakeoverOptions,
    mut tell: impl FnMut(&Taken),
) -> Result<Taken, TakeoverError> {
    let mut taken = Taken::default();
    let hosts = hosts_of(theirs, options.dev, &mut taken).await?;
    let newest = theirs.newest_log_file().await?;
    let head = head::find(options.head, options.log_dir.as_deref(), newest.as_ref())
        .map_err(TakeoverError::NotUnderstood)?;
    look_through(theirs).await?;
    taken.first_seq = head.seq.saturating_add(1);
    if taken.first_seq > Seq::MAX.0 {
        let why = format!("the newest seq {} is larger than any that can be given out", head.seq);
        return Err(TakeoverError::NotUnderstood(why));
    }
    (taken.head, taken.head_found) = (head.seq, head.found);

    if let (Some(ours), false) = (ours, options.dry_run) {
        // First: whatever happens later, no number is given out twice.
        ours.raise_seq_floor(Seq(taken.first_seq)).await?;
    }
    let numbers = take_hosts(ours, &hosts, options, &mut taken).await?;
    take_bans(&theirs.domain_bans().await?, ours, options, &mut taken).await?;
    tell(&taken);
    let last = match ours {
        Some(ours) => ours.last_account_number().await?,
        None => AccountNo(0),
    };
    let account_numbers = Numbers::after(last);
    let mut after = 0;
    loop {
        let page = theirs.accounts_after(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(taken) };
        after = last.uid;
        let place = Page { numbers: &account_numbers, hosts: &numbers, dry_run: options.dry_run };
        place.take(ours, &page, &mut taken).await?;
        tell(&taken);
    }
}

async fn hosts_of(
    theirs: &Indigo,
    dev: bool,
    taken: &mut Taken,
) -> Result<Vec<HostToTake>, TakeoverError> {
    let mut hosts = Vec::new();
    for row in theirs.hosts().await? {
        match reading::host(&row, dev) {
            Ok(host) => hosts.push(host),
            Err(NotTaken::LeftOut(why)) => taken.leave_out(why),
            Err(NotTaken::NotUnderstood(why)) => return Err(TakeoverError::NotUnderstood(why)),
        }
    }
    Ok(hosts)
}

/// Reads all accounts before the first is taken: what is not understood stops everything.
async fn look_through(theirs: &Indigo) -> Result<(), TakeoverError> {
    let mut after = 0;
    loop {
        let page = theirs.accounts_after(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.uid;
        for row in &page {
            if let Err(NotTaken::NotUnderstood(why)) = reading::account(row) {
                return Err(TakeoverError::NotUnderstood(why));
            }
        }
    }
}

/// Gives our numbers of their hosts; of a dry run only those that are known.
async fn take_hosts(
    ours: Option<&Store>,
    hosts: &[HostToTake],
    options: &TakeoverOptions,
    taken: &mut Taken,
) -> Result<BTreeMap<i64, HostId>, TakeoverError> {
    let there = match ours {
        Some(ours) => ours.hosts().await?,
        None => Vec::new(),
    };
    let known: HashSet<String> = there.into_iter().map(|row| row.hostname).collect();
    for host in hosts {
        let is_known = known.contains(host.hostname.as_str());
        *if is_known { &mut taken.hosts_known } else { &mut taken.hosts_new } += 1;
        taken.cursors += u64::from(host.cursor.is_some());
        taken.hosts_banned += u64::from(host.status == HostStatus::Banned);
    }
    let Some(ours) = ours.filter(|_| !options.dry_run) else { return Ok(BTreeMap::new()) };
    let names: Vec<_> = hosts
        .iter()
        .map(|host| (host.hostname.as_str().to_owned(), host.hostname.is_secure()))
        .collect();
    let rows = ours.add_hosts(&names, options.now_ms).await?;
    let mut by_name: BTreeMap<String, _> =
        rows.into_iter().map(|row| (row.hostname.clone(), row)).collect();
    let (mut numbers, mut saved, mut cursors) = (BTreeMap::new(), Vec::new(), Vec::new());
    for host in hosts {
        let Some(row) = by_name.get_mut(host.hostname.as_str()) else { continue };
        numbers.insert(host.id, row.id);
        if !known.contains(host.hostname.as_str()) {
            become_as_there(row, host.status, options.now_ms);
            row.account_limit = host.account_limit;
            row.ever_connected = host.cursor.is_some();
            saved.push(row.clone());
        } else if host.status == HostStatus::Banned {
            become_as_there(row, host.status, options.now_ms);
            saved.push(row.clone());
        }
        cursors.extend(host.cursor.map(|cursor: HostSeq| (row.id, row.epoch, cursor)));
    }
    ours.save_hosts(&saved).await?;
    ours.save_cursors(&cursors).await?;
    Ok(numbers)
}

/// A page of accounts on its way.
struct Page<'a> {
    numbers: &'a Numbers,
    hosts: &'a BTreeMap<i64, HostId>,
    dry_run: bool,
}

impl Page<'_> {
    async fn take(
        &self,
        ours: Option<&Store>,
        rows: &[IndigoAccount],
        taken: &mut Taken,
    ) -> Result<(), TakeoverError> {
        let mut read = Vec::with_capacity(rows.len());
        for row in rows {
            match reading::account(row) {
                Ok(account) => read.push((row.host, account)),
                Err(NotTaken::LeftOut(why)) => taken.leave_out(why),
                Err(NotTaken::NotUnderstood(why)) => return Err(TakeoverError::NotUnderstood(why)),
            }
        }
        let dids: Vec<Did> = read.iter().map(|(_, account)| account.did.clone()).collect();
        let there = match ours {
            Some(ours) => ours.accounts(&dids).await?,
            None => Vec::new(),
        };
        let known: HashSet<Did> = there.into_iter().map(|account| account.did).collect();
        let mut new = Vec::new();
        let mut counts: BTreeMap<HostId, i64> = BTreeMap::new();
        for (host, account) in read {
            // What was decided here since then stands.
            if known.contains(&account.did) {
                taken.accounts_known += 1;
                continue;
            }
            taken.accounts_new += 1;
            match account.local {
                LocalStatus::Takendown => taken.takedowns += 1,
                LocalStatus::Suspended => taken.suspended += 1,
                LocalStatus::None | LocalStatus::Throttled => {}
            }
            taken.unthrottled += u64::from(account.was_throttled);
            taken.repos += u64::from(account.repo.is_some());
            let row = Account {
                number: self.numbers.next(),
                did: account.did,
                host: self.hosts.get(&host).copied().unwrap_or(NO_HOST),
                upstream: account.upstream,
                local: account.local,
                repo: account.repo,
                // Asked for with the first commit: what that relay believed is not written there.
                key: None,
                identity_checked_ms: 0,
                last: None,
                last_seq: Seq(0),
            };
            if let Some(host) = counted_at(&row) {
                *counts.entry(host).or_default() += 1;
            }
            new.push(row);
        }
        let Some(ours) = ours.filter(|_| !self.dry_run) else { return Ok(()) };
        let counts: Vec<_> = counts.into_iter().collect();
        // Decisions go with the rows and are not announced: the other relay did that.
        Ok(ours.take_accounts(&new, &counts).await?)
    }
}

fn become_as_there(row: &mut HostRow, status: HostStatus, now_ms: u64) {
    if status == HostStatus::Banned {
        row.status_reason = Some("banned at the relay whose place this one took".to_owned());
    }
    row.status = status;
    row.status_since_ms = now_ms;
}

/// Banned domains; a ban that is there already stays as it is.
async fn take_bans(
    bans: &[String],
    ours: Option<&Store>,
    options: &TakeoverOptions,
    taken: &mut Taken,
) -> Result<(), TakeoverError> {
    let there = match ours {
        Some(ours) => ours.domain_bans().await?,
        None => Vec::new(),
    };
    let known: HashSet<String> = there.into_iter().map(|ban| ban.domain).collect();
    for text in bans {
        let domain = match normalised_domain(text) {
            Ok(domain) => domain,
            Err(why) => {
                taken.leave_out(why);
                continue;
            }
        };
        taken.domain_bans += 1;
        let Some(ours) = ours.filter(|_| !options.dry_run && !known.contains(&domain)) else {
            continue;
        };
        let (at_ms, actor) = (options.now_ms, Actor::admin("import"));
        let note = "banned at the relay whose place this one took".to_owned();
        ours.ban_domain(&DomainBan { domain, at_ms, actor, note }).await?;
    }
    Ok(())
}
