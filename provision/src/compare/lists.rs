//! Two services side by side by what they list: accounts (`listRepos`), or the accounts of collections
//! (`listReposByCollection`).
//!
//! Both lists are read page by page at the same time. Limits: [`ACCOUNTS_MAX`] accounts of a list, after
//! which it is cut and says so; about 700 MB when two of them are.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use relay_protocol::{Did, Nsid};
use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::report::{Verdict, coverage};
use crate::feed::{self, Address};

/// Accounts of one list that are compared.
pub const ACCOUNTS_MAX: usize = 2_000_000;
/// Differences that are told by name.
const EXAMPLES_MAX: usize = 20;
/// Bytes of one page.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Entries of one page; services may give fewer.
const PAGE_LIMIT: usize = 1_000;
/// Tries of one page.
const TRIES_MAX: u32 = 4;
/// Pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// What a list says of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Listed {
    rev: Option<String>,
    is_active: bool,
}

/// Two lists of accounts compared.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The two services.
    pub names: [String; 2],
    /// Accounts of each.
    pub counts: [u64; 2],
    /// Accounts that both list.
    pub both: u64,
    /// Accounts that only one of them lists.
    pub only: [u64; 2],
    /// Accounts that are active at one of them alone, the one at its place.
    pub active_only: [u64; 2],
    /// Accounts whose newer revision one of them has, the one at its place.
    pub newer: [u64; 2],
    /// Lists that were cut.
    pub is_cut: [bool; 2],
    /// Some accounts by difference.
    pub examples: BTreeMap<&'static str, Vec<String>>,
    /// Share of all accounts that the first one lists.
    pub coverage: Option<f64>,
}

impl Difference {
    fn of(names: [String; 2], lists: [Listing; 2]) -> Self {
        let [left, right] = lists;
        let size = |list: &Listing| u64::try_from(list.accounts.len()).unwrap_or(u64::MAX);
        let mut found = Self {
            names,
            counts: [size(&left), size(&right)],
            is_cut: [left.is_cut, right.is_cut],
            ..Self::default()
        };
        let mut missing_left: Vec<_> =
            right.accounts.keys().filter(|did| !left.accounts.contains_key(*did)).collect();
        missing_left.sort_unstable();
        found.only[1] = u64::try_from(missing_left.len()).unwrap_or(u64::MAX);
        found.name("only in the second", missing_left.into_iter());
        let mut dids: Vec<_> = left.accounts.keys().collect();
        dids.sort_unstable();
        for did in dids {
            let here = left.accounts.get(did).cloned().unwrap_or_default();
            let Some(there) = right.accounts.get(did) else {
                found.only[0] += 1;
                found.name("only in the first", std::iter::once(did));
                continue;
            };
            found.both += 1;
            found.differ(did, &here, there);
        }
        let union = found.both + found.only[0] + found.only[1];
        found.coverage = coverage(found.counts[0], union);
        found
    }

    fn differ(&mut self, did: &String, here: &Listed, there: &Listed) {
        if here.is_active != there.is_active {
            self.active_only[usize::from(there.is_active)] += 1;
            self.name("active at one of them", std::iter::once(did));
        }
        if let (Some(left), Some(right)) = (&here.rev, &there.rev)
            && left != right
        {
            self.newer[usize::from(right > left)] += 1;
            let what = if right > left { "newer in the second" } else { "newer in the first" };
            self.name(what, std::iter::once(did));
        }
    }

    fn name(&mut self, what: &'static str, dids: impl Iterator<Item = impl AsRef<str>>) {
        let examples = self.examples.entry(what).or_default();
        let room = EXAMPLES_MAX.saturating_sub(examples.len());
        examples.extend(dids.take(room).map(|did| did.as_ref().to_owned()));
        if examples.is_empty() {
            self.examples.remove(what);
        }
    }

    /// What the first list is worth.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.counts[0], self.both + self.only[0] + self.only[1])
    }

    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let [first, second] = &self.names;
        let mut lines = vec![
            format!("{:>10}  accounts of {first}", self.counts[0]),
            format!("{:>10}  accounts of {second}", self.counts[1]),
            format!("{:>10}  in both", self.both),
            format!("{:>10}  only in {first}", self.only[0]),
            format!("{:>10}  only in {second}", self.only[1]),
            format!("{:>10}  active only in {first}", self.active_only[0]),
            format!("{:>10}  active only in {second}", self.active_only[1]),
            format!("{:>10}  newer in {first}", self.newer[0]),
            format!("{:>10}  newer in {second}", self.newer[1]),
        ];
        for (name, is_cut) in self.names.iter().zip(self.is_cut) {
            if is_cut {
                lines.push(format!("the list of {name} was cut at {ACCOUNTS_MAX} accounts"));
            }
        }
        for (what, dids) in &self.examples {
            lines.push(format!("{what}: {}", dids.join(" ")));
        }
        lines.push(self.verdict_line());
        lines.join("\n")
    }

    fn verdict_line(&self) -> String {
        let share = self.coverage.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0));
        format!("{} lists {share} of all: {}", self.names[0], self.verdict().word())
    }
}

/// A list as far as it was read.
#[derive(Debug, Default)]
struct Listing {
    accounts: HashMap<String, Listed>,
    is_cut: bool,
}

/// Compares what two services list as accounts.
///
/// # Errors
/// When one of them does not answer, or not in the form of the protocol.
pub async fn repos(first: &Address, second: &Address) -> Result<Difference> {
    let method = "com.atproto.sync.listRepos";
    let client = feed::client()?;
    let (left, right) =
        tokio::try_join!(list(&client, first, method, &[]), list(&client, second, method, &[]))?;
    Ok(Difference::of([first.name().to_owned(), second.name().to_owned()], [left, right]))
}

/// Compares what two services list as accounts of one collection.
///
/// # Errors
/// As [`repos`], and when this is no collection.
pub async fn collection(first: &Address, second: &Address, nsid: &str) -> Result<Difference> {
    if let Err(invalid) = Nsid::parse(nsid) {
        bail!("`{nsid}` is no collection: {invalid}");
    }
    let method = "com.atproto.sync.listReposByCollection";
    let client = feed::client()?;
    let query = [("collection", nsid)];
    let (left, right) = tokio::try_join!(
        list(&client, first, method, &query),
        list(&client, second, method, &query)
    )?;
    Ok(Difference::of([first.name().to_owned(), second.name().to_owned()], [left, right]))
}

/// Reads a list to its end.
async fn list(
    client: &reqwest::Client,
    address: &Address,
    method: &str,
    query: &[(&str, &str)],
) -> Result<Listing> {
    let url = address.http(&format!("/xrpc/{method}"));
    let mut listing = Listing::default();
    let mut cursor: Option<String> = None;
    loop {
        let limit = PAGE_LIMIT.to_string();
        let place = cursor.as_deref().map(|cursor| ("cursor", cursor));
        let query = [query, &[("limit", limit.as_str())], place.as_slice()].concat();
        let page = page(client, &feed::with_query(&url, &query)?).await?;
        let entries = page["repos"].as_array();
        let entries = entries.with_context(|| format!("{url} gives no list of repos"))?;
        for entry in entries {
            let did = entry["did"].as_str().and_then(|did| Did::parse(did).ok());
            let did = did.with_context(|| format!("{url} lists something without a DID"))?;
            let rev = entry["rev"].as_str().map(str::to_owned);
            let is_active = entry["active"].as_bool().unwrap_or(true);
            listing.accounts.insert(did.as_str().to_owned(), Listed { rev, is_active });
        }
        if listing.accounts.len() >= ACCOUNTS_MAX {
            listing.is_cut = true;
            return Ok(listing);
        }
        let next = page["cursor"].as_str().filter(|next| !next.is_empty()).map(str::to_owned);
        ensure!(next.is_none() || next != cursor, "{url} gives the same cursor again and again");
        if next.is_none() {
            return Ok(listing);
        }
        cursor = next;
    }
}

/// Reads a page, several times if the service is busy.
async fn page(client: &reqwest::Client, url: &str) -> Result<Value> {
    let mut pause = PAUSE;
    for last in (0..TRIES_MAX).map(|number| number + 1 == TRIES_MAX) {
        let asked = client.get(url).send().await;
        let why = match asked {
            Ok(answer) if answer.status().is_success() => {
                let body = feed::body(answer, url, PAGE_BYTES_MAX).await?;
                return serde_json::from_slice(&body).with_context(|| format!("read {url}"));
            }
            Ok(answer) => {
                let status = answer.status();
                let is_busy = status.is_server_error() && status != 501 || status == 429;
                ensure!(is_busy, "{url} answered {status}");
                format!("{url} answered {status}")
            }
            Err(error) => format!("ask {url}: {:#}", anyhow::Error::from(error)),
        };
        ensure!(!last, "{why}, {TRIES_MAX} times");
        sleep(pause).await;
        pause = pause.saturating_mul(2);
    }
    bail!("{url} was not asked")
}
