//! Why the first relay did not give an event, as it says itself; and whose accounts they are.
//!
//! The relay is asked through its admin API when there is a password. Without one, the hosts of some
//! accounts come from the PLC directory. Both are asked one after the other, a bounded number of times.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use relay_protocol::{DOCUMENT_BYTES_MAX, Did, DidDocument};
use serde_json::Value;

use super::{
    Found,
    tally::{Miss, OfAccount},
};
use crate::feed;

/// Bytes of one answer of the admin API.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Whom to ask.
#[derive(Debug, Clone)]
pub enum Witness {
    /// The admin API of the first relay: its address and password.
    Admin {
        /// Such as `http://127.0.0.1:2472`.
        url: String,
        /// Opens it.
        password: String,
    },
    /// The PLC directory, such as `https://plc.directory`.
    Directory(String),
}

/// What was learned.
#[derive(Debug, Default)]
pub struct Explained {
    hosts: BTreeMap<String, String>,
    /// What the relay says of an account.
    said: BTreeMap<String, Value>,
    /// Drops before this moment are of an earlier time, RFC 3339.
    since: String,
}

impl Explained {
    /// Asks about at most so many accounts: first those that an event is missing of, then those with
    /// most events.
    ///
    /// * `since` – when the streams were opened, RFC 3339
    ///
    /// # Errors
    /// When the admin API does not answer or the password is wrong. A directory that does not answer is
    /// no error: then the host is not known.
    pub async fn ask(
        found: &Found,
        witness: &Witness,
        accounts_max: usize,
        since: String,
    ) -> Result<Self> {
        let mut explained = Self { since, ..Self::default() };
        let client = feed::client()?;
        for did in interesting(found, accounts_max) {
            match witness {
                Witness::Admin { url, password } => {
                    let said = admin(&client, url, password, did).await?;
                    // Of an account that it does not take, it knows who sent the events.
                    let host = said["account"]["host"].as_str();
                    if let Some(host) = host.or(said["drops"][0]["host"].as_str()) {
                        explained.hosts.insert(did.to_owned(), host.to_owned());
                    }
                    explained.said.insert(did.to_owned(), said);
                }
                Witness::Directory(url) => {
                    if let Ok(host) = directory(&client, url, did).await {
                        explained.hosts.insert(did.to_owned(), host);
                    }
                }
            }
        }
        Ok(explained)
    }

    /// Label and words for an event that the first relay did not give; `None` when it was not asked.
    #[must_use]
    pub fn reason(&self, miss: &Miss) -> Option<(String, String)> {
        let said = self.said.get(&miss.did)?;
        let account = &said["account"];
        let drops = said["drops"].as_array().into_iter().flatten();
        let kind = &miss.revision.kind;
        let dropped = drops
            .filter(|drop| drop["time"].as_str().is_some_and(|time| time >= self.since.as_str()))
            .find(|drop| {
                drop["kind"].as_str().is_none_or(|of| of.trim_start_matches('#') == *kind)
            });
        if let Some(dropped) = dropped {
            let text = |field: &str| dropped[field].as_str().unwrap_or_default().to_owned();
            return Some((text("reason"), format!("{} {}", text("words"), text("detail"))));
        }
        let own = |label: &str, words: &str| Some((label.to_owned(), words.to_owned()));
        if account.is_null() {
            return own("unknown_account", "It does not know the account: does it read its host?");
        }
        if account["active"] == false {
            let status = account["status"].as_str().unwrap_or("no status").to_owned();
            return Some(("inactive".to_owned(), format!("The account is {status} there.")));
        }
        if account["rev"].as_str().is_some_and(|rev| rev >= miss.revision.rev.as_str()) {
            return own(
                "had_it",
                "It has this revision or a newer one; it gave it at another time.",
            );
        }
        own("not_received", "It knows the account, and its host did not send it the event.")
    }

    /// The host of an account, if it is known.
    #[must_use]
    pub fn host(&self, did: &str) -> Option<&str> {
        self.hosts.get(did).map(String::as_str)
    }

    /// Accounts and their hosts.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.hosts.iter().map(|(did, host)| (did.as_str(), host.as_str()))
    }

    /// How many hosts of accounts are known.
    #[must_use]
    pub fn hosts_known(&self) -> u64 {
        u64::try_from(self.hosts.len()).unwrap_or(u64::MAX)
    }
}

/// The accounts to ask about.
fn interesting(found: &Found, accounts_max: usize) -> Vec<&str> {
    let mut by_misses: BTreeMap<&str, u64> = BTreeMap::new();
    for miss in found.tally.misses() {
        *by_misses.entry(&miss.did).or_default() += 1;
    }
    let mut all: Vec<(&str, &OfAccount)> =
        found.tally.accounts().iter().map(|(did, account)| (did.as_str(), account)).collect();
    all.sort_by_key(|(did, account)| {
        let missing = by_misses.get(did).copied().unwrap_or_default();
        (u64::MAX - missing, u32::MAX - account.events, *did)
    });
    all.into_iter().take(accounts_max).map(|(did, _)| did).collect()
}

async fn admin(client: &reqwest::Client, url: &str, password: &str, did: &str) -> Result<Value> {
    let url = format!("{}/admin/v1/why", url.trim_end_matches('/'));
    let whole = feed::with_query(&url, &[("did", did)])?;
    let asked = client.get(whole).bearer_auth(password).send().await;
    let asked = asked.with_context(|| format!("ask {url}"))?;
    let status = asked.status();
    ensure!(
        status != reqwest::StatusCode::UNAUTHORIZED,
        "{url} does not take the password; it is the relay's RELAY_ADMIN_PASSWORD"
    );
    ensure!(status.is_success(), "{url} answered {status}");
    let body = feed::body(asked, &url, ANSWER_BYTES_MAX).await?;
    serde_json::from_slice(&body).with_context(|| format!("read the answer of {url}"))
}

async fn directory(client: &reqwest::Client, url: &str, did: &str) -> Result<String> {
    let parsed = Did::parse(did).context("read the DID")?;
    let url = match parsed.web_host() {
        Some(host) => format!("https://{host}/.well-known/did.json"),
        None => format!("{}/{did}", url.trim_end_matches('/')),
    };
    let document = feed::bytes(client, &url, DOCUMENT_BYTES_MAX).await?;
    let document = DidDocument::parse(&document, &parsed, true).context("read the document")?;
    Ok(document.pds.context("the document names no host")?.host.to_string())
}
