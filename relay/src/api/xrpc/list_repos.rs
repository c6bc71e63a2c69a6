//! `com.atproto.sync.listRepos`: all accounts with a known rev, in order of first sight.
//!
//! The store lags behind the shards by a checkpoint, so each page of it is overlaid with the rows that
//! the shards hold changed.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    json,
    page::{Rows, Source, page},
};
use crate::{
    api::{ApiState, error::Error, params::Params},
    domain::{Account, AccountNo, effective},
};

const LIMIT_USUAL: usize = 500;
const LIMIT_MAX: usize = 1000;

#[derive(Debug, Serialize)]
struct Repo {
    did: String,
    /// CID of the commit, not of the tree.
    head: String,
    rev: String,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
}

impl Repo {
    /// `None` for an account whose repository was never seen: head and rev are required.
    fn of(account: &Account) -> Option<Self> {
        let repo = account.repo?;
        let now = effective(&account.upstream, account.local);
        Some(Self {
            did: account.did.to_string(),
            head: repo.commit.to_string(),
            rev: repo.rev.to_string(),
            active: now.active,
            status: now.status.map(str::to_owned),
        })
    }
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    repos: Vec<Repo>,
}

/// Accounts as shards and store know them together.
struct Fresh<'a>(&'a ApiState);

impl Source for Fresh<'_> {
    type Item = Repo;

    async fn fetch(&self, after: u64, count: usize) -> Result<Rows<Repo>, Error> {
        let first = AccountNo(after);
        // The shards before the store: a row that a checkpoint moves meanwhile is then seen twice;
        // the other way round it would be seen not at all.
        let dirty = self.0.ingest.dirty_after(first, count).await;
        let limit = u32::try_from(count).unwrap_or(u32::MAX);
        let stored = self.0.store.accounts_after(first, limit).await?;
        let (accounts, more) = overlay(dirty, stored, count);
        let rows = accounts.iter().map(|account| (account.number.0, Repo::of(account))).collect();
        Ok(Rows { rows, more })
    }
}

/// Joins two lists in order of number, each cut after `count` rows; of two versions of a row that of the
/// shards counts. Gives whether there may be more.
fn overlay(dirty: Vec<Account>, stored: Vec<Account>, count: usize) -> (Vec<Account>, bool) {
    // Beyond the end of a list that was cut, a row or its newer version may be missing.
    let end_of = |list: &[Account]| {
        if list.len() < count { None } else { list.last().map(|account| account.number) }
    };
    let end = match (end_of(&dirty), end_of(&stored)) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let mut joined = BTreeMap::new();
    for account in dirty.into_iter().chain(stored) {
        if end.is_some_and(|end| account.number > end) {
            continue;
        }
        joined.entry(account.number).or_insert(account);
    }
    (joined.into_values().collect(), end.is_some())
}

/// The handler.
pub(super) async fn list_repos(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let limit = params.limit(LIMIT_USUAL, LIMIT_MAX)?;
    let (repos, cursor) = page(&Fresh(&state), params.cursor()?, limit).await?;
    json(&Answer { cursor, repos })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::xrpc::tests::account_with,
        domain::{LocalStatus, Seq, UpstreamStatus},
    };

    fn row(number: u64, last_seq: u64) -> Account {
        Account {
            number: AccountNo(number),
            last_seq: Seq(last_seq),
            ..account_with(UpstreamStatus::Active, LocalStatus::None)
        }
    }

    fn numbers(joined: &[Account]) -> Vec<(u64, u64)> {
        joined.iter().map(|account| (account.number.0, account.last_seq.0)).collect()
    }

    /// T23: what the shards know of an account counts, and new ones that only they know appear.
    #[test]
    fn rows_of_the_shards_lie_over_those_of_the_store() {
        let dirty = vec![row(2, 20), row(3, 7), row(5, 50)];
        let stored = vec![row(1, 1), row(2, 2), row(3, 30), row(4, 4)];
        let (joined, more) = overlay(dirty, stored, 10);
        assert_eq!(numbers(&joined), [(1, 1), (2, 20), (3, 7), (4, 4), (5, 50)]);
        assert!(!more);
    }

    /// A page ends where either list was cut: what lies beyond may be missing or old.
    #[test]
    fn a_page_ends_where_either_list_was_cut() {
        let dirty = vec![row(1, 1), row(9, 90)];
        let stored = vec![row(3, 3), row(4, 4)];
        let (joined, more) = overlay(dirty.clone(), stored.clone(), 2);
        assert_eq!(numbers(&joined), [(1, 1), (3, 3), (4, 4)]);
        assert!(more);

        let (joined, more) = overlay(vec![row(2, 2), row(3, 33)], vec![row(1, 1), row(8, 8)], 2);
        assert_eq!(numbers(&joined), [(1, 1), (2, 2), (3, 33)]);
        assert!(more);
        assert!(!overlay(dirty, stored, 3).1, "control: neither was cut");
    }

    #[test]
    fn an_account_without_a_rev_is_not_shown() {
        assert!(Repo::of(&row(1, 1)).is_none());
    }
}
