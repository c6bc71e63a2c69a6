//! Reads the lists of another relay or directory of collections, page by page, from where each was left.
//!
//! Which collections: those that an operator names; else all that this index knows and those that the
//! source names itself. At the end of the list it is looked whether more became known meanwhile.

use std::{collections::BTreeSet, time::Duration};

use relay_protocol::{Did, Hostname, Nsid};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::{
    answers,
    taking::{Taking, apply},
};
use crate::{
    clock::Clock,
    collections::index::{Batch, Index},
    discovery::Page,
    net::{Answer, Net},
};

/// Accounts of a page; others refuse more.
const PAGE: usize = 1_000;

/// Bytes of a page: a thousand entries of the longest DIDs, and room for fields that we do not read.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Pages of names that a directory gives; 500 each.
const NAME_PAGES_MAX: usize = 200;

/// Collections of one import.
pub(super) const COLLECTIONS_MAX: usize = 100_000;

/// Attempts for one page.
const ATTEMPTS: u32 = 5;

/// First pause between two attempts; doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest pause that a source may ask for.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Names that are kept of a kind, for people to read.
const NAMED_MAX: usize = 100;

/// How far an import is; kept in the index, in one step with what was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImportRow {
    /// The source, `host` or `host:port`.
    pub source: String,
    /// Whether TLS is used.
    pub secure: bool,
    /// An operator named the collections: no others are added.
    pub only_named: bool,
    /// Collections that are read to their end.
    pub done: usize,
    /// Collections in all.
    pub collections: usize,
    /// The one that is being read.
    pub current: Option<String>,
    /// What to ask its next page with; `None` for the first.
    pub next_page: Option<String>,
    /// Pages so far.
    pub pages: u64,
    /// Pairs so far.
    pub pairs: u64,
    /// Accounts that were not known before.
    pub new: u64,
    /// Entries whose accounts are of hosts that this relay does not know, or of none.
    pub unknown: u64,
    /// Entries that are no accounts.
    pub strange: u64,
    /// Collections that the source would not list, some of them.
    pub refused: Vec<String>,
    /// Known collections without any row at the end, some of them.
    pub without_rows: Vec<String>,
    /// When it began, ms since 1970.
    pub started_ms: u64,
    /// When it ended; `None` while there are pages left.
    pub finished_ms: Option<u64>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// Keys of an import in the index.
const PREFIX: &str = "backfill/import/";

impl ImportRow {
    fn key(&self) -> Vec<u8> {
        format!("{PREFIX}{}", self.source).into_bytes()
    }

    /// Beside the row, so that not every page writes it.
    fn names_key(&self) -> Vec<u8> {
        format!("backfill/names/{}", self.source).into_bytes()
    }

    fn note(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        // A row of texts and numbers is always JSON.
        (self.key(), serde_json::to_vec(self).ok())
    }

    pub(super) fn all(index: &Index) -> Vec<Self> {
        let notes = index.progresses(PREFIX.as_bytes(), None, 1_000);
        // What cannot be read was not written by this program: it begins anew when it is asked for.
        notes.iter().filter_map(|(_, note)| serde_json::from_slice(note).ok()).collect()
    }

    fn names(&self, index: &Index) -> Vec<String> {
        let note = index.progress(&self.names_key()).unwrap_or_default();
        String::from_utf8_lossy(&note).lines().map(ToOwned::to_owned).collect()
    }
}

/// What an import works with.
#[derive(Debug, Clone)]
pub(super) struct Importer {
    pub(super) net: Net,
    pub(super) clock: Clock,
    pub(super) taking: Taking,
}

impl Importer {
    /// A run from the first page, noted.
    ///
    /// * `named` – the collections; empty for all
    pub(super) async fn begin(
        &self,
        source: &Hostname,
        named: &[String],
    ) -> Result<ImportRow, String> {
        let row = ImportRow {
            source: source.as_str().to_owned(),
            secure: source.is_secure(),
            only_named: !named.is_empty(),
            started_ms: self.clock.now_ms(),
            collections: named.len(),
            ..ImportRow::default()
        };
        let list = (row.names_key(), Some(named.join("\n").into_bytes()));
        let progress = vec![list, row.note()];
        apply(&self.taking.index, Batch { progress, ..Batch::default() }).await?;
        Ok(row)
    }

    /// Reads pages until the last, or until something is wrong, which is in the row then. What was read
    /// is durable after each page.
    ///
    /// * `tell` – is given the row after each page
    ///
    /// Cancel safety: the page that was not finished is read again.
    pub(super) async fn run(
        &self,
        mut row: ImportRow,
        mut tell: impl FnMut(&ImportRow),
    ) -> ImportRow {
        row.last_error = None;
        let mut names = row.names(&self.taking.index);
        while row.finished_ms.is_none() {
            let went = match names.get(row.done).cloned() {
                Some(nsid) => self.page(&mut row, &nsid).await,
                None => self.extend(&mut row, &mut names).await,
            };
            if let Err(why) = went {
                row.last_error = Some(why);
                let noted = Batch { progress: vec![row.note()], ..Batch::default() };
                if let Err(error) = apply(&self.taking.index, noted).await {
                    tracing::warn!(%error, "how far an import is was not noted");
                }
                tell(&row);
                return row;
            }
            tell(&row);
        }
        row
    }

    /// One page of a collection.
    async fn page(&self, row: &mut ImportRow, nsid: &str) -> Result<(), String> {
        let page = match self.ask(row, nsid).await? {
            Ok(page) => page,
            Err(refusal) => {
                tracing::warn!(source = row.source, nsid, refusal, "a collection is not listed");
                if row.refused.len() < NAMED_MAX {
                    row.refused.push(nsid.to_owned());
                }
                Page::default()
            }
        };
        if page.next.is_some() && page.next == row.next_page {
            return Err(format!("its list of {nsid} gives the same page again and again"));
        }
        if page.next.is_some() && page.entries.is_empty() && page.strange == 0 {
            return Err(format!("its list of {nsid} gives an empty page that is not the last"));
        }
        let mut next = row.clone();
        next.strange += page.strange;
        next.pages += 1;
        next.current = Some(nsid.to_owned());
        next.next_page.clone_from(&page.next);
        if page.next.is_none() {
            (next.done, next.current) = (next.done + 1, None);
        }
        let named = |did| (did, vec![nsid.to_owned()]);
        let entries: Vec<_> = page.entries.into_iter().map(named).collect();
        let noted = &mut next;
        let took = self.taking.take(&entries, |taken| {
            noted.pairs += taken.pairs;
            noted.new += taken.new;
            noted.unknown += taken.unknown;
            vec![noted.note()]
        });
        took.await?;
        *row = next;
        Ok(())
    }

    /// All names were read: are there more by now? If not, it is the end.
    async fn extend(&self, row: &mut ImportRow, names: &mut Vec<String>) -> Result<(), String> {
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut more = BTreeSet::new();
        if !row.only_named {
            let mut found = own_names(&self.taking.index);
            // Once: what it learns later is also in our stream.
            if names.is_empty() {
                found.extend(self.names_of(row).await?);
            }
            let room = COLLECTIONS_MAX.saturating_sub(names.len());
            let new = found.into_iter().filter(|name| !known.contains(name.as_str()));
            more.extend(new.take(room));
        }
        if more.is_empty() {
            let rows = |nsid: &&String| {
                let number = self.taking.index.find(nsid);
                number.is_none_or(|number| self.taking.index.count(number).rows() == 0)
            };
            row.without_rows = names.iter().filter(rows).take(NAMED_MAX).cloned().collect();
            row.finished_ms = Some(self.clock.now_ms());
        } else {
            names.extend(more);
        }
        row.collections = names.len();
        let list = (row.names_key(), Some(names.join("\n").into_bytes()));
        let progress = vec![list, row.note()];
        apply(&self.taking.index, Batch { progress, ..Batch::default() }).await
    }

    /// Collections that the source names, if it is a directory that does.
    async fn names_of(&self, row: &ImportRow) -> Result<BTreeSet<String>, String> {
        let mut found = BTreeSet::new();
        let mut cursor: Option<String> = None;
        for _ in 0..NAME_PAGES_MAX {
            let url = url(row, "/v1/listCollections", (&[("limit", "1000")], cursor.as_deref()));
            let Ok(body) = self.patiently(&url).await? else { return Ok(found) };
            // A source that answers something else has no such list.
            let Ok((names, next)) = answers::names(&body) else { return Ok(found) };
            let before = found.len();
            found.extend(names);
            if next.is_none() || next == cursor || found.len() == before {
                return Ok(found);
            }
            cursor = next;
        }
        Ok(found)
    }

    /// A page; the inner error is a refusal that waiting does not change.
    async fn ask(&self, row: &ImportRow, nsid: &str) -> Result<Result<Page<Did>, String>, String> {
        let limit = PAGE.to_string();
        let query = [("collection", nsid), ("limit", limit.as_str())];
        let method = "/xrpc/com.atproto.sync.listReposByCollection";
        match self.patiently(&url(row, method, (&query, row.next_page.as_deref()))).await? {
            Ok(body) => answers::page(&body).map(Ok),
            Err(refusal) if refusal.starts_with("it answered 501") => {
                Err("it has no lists by collection (501)".to_owned())
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Asks until there is an answer or enough attempts were made.
    async fn patiently(&self, url: &str) -> Result<Result<bytes::Bytes, String>, String> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            // An operator named it: it may be on a private address.
            let (why, wait) = match self.net.get_configured(url, PAGE_BYTES_MAX).await {
                Ok(Answer { status: 200, body, .. }) => return Ok(Ok(body)),
                Ok(Answer { status: 429, retry_after, .. }) => {
                    ("it asks us to wait (429)".to_owned(), retry_after)
                }
                Ok(Answer { status, body, .. }) if status < 500 || status == 501 => {
                    let name = answers::error_name(&body);
                    return Ok(Err(format!("it answered {status} {name}").trim_end().to_owned()));
                }
                Ok(Answer { status, .. }) => (format!("it answered {status}"), None),
                Err(error) => (error.to_string(), None),
            };
            if attempt >= ATTEMPTS {
                return Err(why);
            }
            attempt += 1;
            tokio::time::sleep(wait.unwrap_or(pause).min(PAUSE_MAX)).await;
            pause = pause.saturating_mul(2);
        }
    }
}

/// Collections that the stream, hosts and lists have shown so far.
pub(super) fn own_names(index: &Index) -> BTreeSet<String> {
    let known = index.collections("", None, COLLECTIONS_MAX);
    let names = known.into_iter().map(|known| known.nsid.as_ref().to_owned());
    names.filter(|name| Nsid::parse(name).is_ok()).collect()
}

fn url(row: &ImportRow, path: &str, (query, cursor): (&[(&str, &str)], Option<&str>)) -> String {
    let scheme = if row.secure { "https" } else { "http" };
    let cursor = cursor.map(|cursor| ("cursor", cursor));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query.iter().copied().chain(cursor))
        .finish();
    format!("{scheme}://{}{path}?{query}", row.source)
}
