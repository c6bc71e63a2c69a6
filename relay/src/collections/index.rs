//! The embedded index of (account, collection) pairs: atomic batches in, pages and counts out.
//!
//! Accounts are numbers of the account table, collections are numbers of this index, which keeps
//! their NSIDs. What is known of an account as a whole is its mark ([`Whole`]). The position in the
//! event log that the index has reached is part of each batch, so that after a crash it goes on
//! exactly there.
//!
//! All calls are synchronous. Reads see whole batches only, never wait for a batch that is being
//! applied, and may read a few blocks of files; [`Index::apply`] syncs a file. Call both where
//! blocking is permitted.

use std::{path::Path, sync::Arc};

use self::store::{Sizes, Store};
use crate::{
    domain::{AccountNo, Seq},
    eventlog::{Files, Machine},
};

mod block;
mod disk;
mod journal;
mod key;
mod known;
mod ledger;
mod manifest;
mod measures;
mod merge;
mod opening;
mod resolve;
mod run;
mod segment;
mod store;
mod upkeep;
mod view;

pub use known::{CollectionCount, Counts, Doubt, PairState, Whole};

/// Number of a collection in this index, given in order of first sight; never reused.
///
/// Numbers of two indexes do not mean the same, so what leaves the index carries NSIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionNo(pub u32);

/// One step of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The account has records in the collection.
    ///
    /// A believed pair never lowers a proven one, and changes nothing at an account that is
    /// [`Whole::Complete`] or [`Whole::Gone`], because more is known of it than a list can say.
    Present {
        /// Who.
        account: AccountNo,
        /// What.
        collection: CollectionNo,
        /// How that is known.
        state: PairState,
    },
    /// The account has no records in the collection (any more); no row is left.
    Absent {
        /// Who.
        account: AccountNo,
        /// What.
        collection: CollectionNo,
    },
    /// The account has records in exactly these collections, in any order, all proven; it becomes
    /// [`Whole::Complete`].
    Replace {
        /// Who.
        account: AccountNo,
        /// All that it has.
        collections: Vec<CollectionNo>,
    },
    /// Somebody else's list names the account: it is [`Whole::Unsure`], unless something was said about it
    /// before.
    Doubt {
        /// Who.
        account: AccountNo,
        /// Why.
        doubt: Doubt,
    },
    /// What is known of the account as a whole. [`Whole::Gone`] removes all its pairs; the others
    /// leave them as they are.
    Mark {
        /// Who.
        account: AccountNo,
        /// What is known from now on.
        whole: Whole,
    },
}

/// Changes that become durable and visible together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Newest event of the log that is covered by this batch and all before it; `None` leaves the
    /// position where it is.
    pub position: Option<Seq>,
    /// In order: a later one of the same account sees what an earlier one did.
    pub changes: Vec<Change>,
    /// Small notes of who fills the index, kept under a key; `None` removes one.
    pub progress: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A collection with its NSID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its number here.
    pub number: CollectionNo,
    /// Its NSID.
    pub nsid: Arc<str>,
    /// Its rows.
    pub count: CollectionCount,
}

/// How the index is kept.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes of memory that it may take (`RELAY_COLLECTIONS_MEMORY`).
    pub memory_bytes: u64,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The disk is full. Nothing of the batch was applied; the same batch may be tried again, reads
    /// go on.
    #[error("{0}")]
    Full(String),
    /// A write or a sync failed, now or earlier: this process applies nothing any more, reads go on.
    #[error("{0}")]
    Failed(String),
    /// A file of the index is damaged or cannot be read; the sentence says which and what to do.
    #[error("{0}")]
    Damaged(String),
    /// The batch, a name or a number is beyond a limit. Nothing was applied.
    #[error("{0}")]
    Limit(String),
}

/// The index; cheap to clone, clones are the same one. The files are closed with the last.
#[derive(Debug, Clone)]
pub struct Index(Arc<Handle>);

/// Ends the thread with the last user of the index.
#[derive(Debug)]
struct Handle {
    store: Arc<Store>,
    upkeep: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.store.work.lock().stop = true;
        self.store.changed.notify_all();
        let ended = self.upkeep.take().map(std::thread::JoinHandle::join);
        if let Some(Err(_panic)) = ended {
            tracing::error!("the upkeep of the index of collections panicked; this is a bug");
        }
    }
}

impl Index {
    /// Opens the index in this directory, created if missing, as the last applied batch left it.
    ///
    /// One process at a time may have it open.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] when its files are not sound, [`IndexError::Full`] when there is no room
    /// to begin, [`IndexError::Failed`] when the directory cannot be used.
    pub fn open(dir: &Path, options: Options) -> Result<Self, IndexError> {
        Self::open_on(Arc::new(Machine), dir, options)
    }

    /// The same, but a damaged index is set aside, as `NAME.damaged`, and an empty one takes its place: it
    /// can be filled again, and the relay has more to do than this. Gives the sentence that says so.
    ///
    /// # Errors
    /// As [`Self::open`]; also [`IndexError::Damaged`] when one was set aside before and is still there.
    pub fn open_or_anew(
        dir: &Path,
        options: Options,
    ) -> Result<(Self, Option<String>), IndexError> {
        match Self::open(dir, options) {
            Err(IndexError::Damaged(why)) => {
                let aside = opening::set_aside(dir, &why)?;
                let story =
                    format!("{why}. It is kept as {}; an empty one is filled", aside.display());
                Ok((Self::open(dir, options)?, Some(story)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// The same as [`Self::open`] on other files than the machine's.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(
        files: Arc<dyn Files>,
        dir: &Path,
        options: Options,
    ) -> Result<Self, IndexError> {
        let (store, upkeep) = opening::open(files, dir, Sizes::of(options.memory_bytes))?;
        let store = Arc::new(store);
        let for_thread = Arc::clone(&store);
        let thread = std::thread::Builder::new()
            .name("collections".to_owned())
            .spawn(move || upkeep.run(&for_thread))
            .map_err(|error| {
                IndexError::Failed(format!("the index of collections cannot start: {error}"))
            })?;
        Ok(Self(Arc::new(Handle { store, upkeep: Some(thread) })))
    }

    /// Newest event of the log that is applied durably; `None` before the first.
    pub fn position(&self) -> Option<Seq> {
        self.0.store.ledger.read().position
    }

    /// Applies a batch as a whole, durably.
    ///
    /// # Errors
    /// [`IndexError`]; nothing of the batch is visible then.
    pub fn apply(&self, batch: &Batch) -> Result<(), IndexError> {
        self.0.store.apply(batch)
    }

    /// As [`Self::apply`], but only while the position is still this one: for what was found out beside
    /// the log, and counts only if the log has not gone on meanwhile. Gives whether it was applied.
    ///
    /// # Errors
    /// [`IndexError`]; nothing of the batch is visible then.
    pub fn apply_at(&self, position: Option<Seq>, batch: &Batch) -> Result<bool, IndexError> {
        self.0.store.apply_at(position, batch)
    }

    /// Waits until the files need no more work: what batches left for later is done.
    ///
    /// # Errors
    /// [`IndexError`] when that work cannot be done.
    pub fn rest(&self) -> Result<(), IndexError> {
        self.0.store.rest()
    }

    /// The number of this collection, a new one if it is not known. It becomes durable with the next
    /// batch that is applied.
    ///
    /// * `nsid` – valid; not checked here
    ///
    /// # Errors
    /// [`IndexError::Limit`] when there are too many collections, or the name is too long.
    pub fn number(&self, nsid: &str) -> Result<CollectionNo, IndexError> {
        // Nearly always it is known, and readers do not wait for each other.
        if let Some(known) = self.find(nsid) {
            return Ok(known);
        }
        self.0.store.names.write().number(nsid)
    }

    /// The number of this collection if it is known.
    pub fn find(&self, nsid: &str) -> Option<CollectionNo> {
        self.0.store.names.read().find(nsid)
    }

    /// The NSID of a collection.
    pub fn nsid(&self, collection: CollectionNo) -> Option<Arc<str>> {
        self.0.store.names.read().nsid(collection)
    }

    /// Accounts that have the collection, by number, those after `after`; at most `limit`.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn page(
        &self,
        collection: CollectionNo,
        after: Option<AccountNo>,
        limit: usize,
    ) -> Result<Vec<(AccountNo, PairState)>, IndexError> {
        self.0.store.view().page(collection, after, limit)
    }

    /// What is known of an account: the whole, and its collections by number.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn of_account(
        &self,
        account: AccountNo,
    ) -> Result<(Whole, Vec<(CollectionNo, PairState)>), IndexError> {
        let view = self.0.store.view();
        let Some(account) = key::account(account) else { return Ok((Whole::Unmarked, Vec::new())) };
        let rows = view.collections(account)?.into_iter();
        let rows = rows.filter_map(|(number, tag)| Some((CollectionNo(number), key::state(tag)?)));
        Ok((view.whole(account)?, rows.collect()))
    }

    /// Accounts marked [`Whole::Unsure`], by number, those after `after`; at most `limit`.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn unsure(
        &self,
        after: Option<AccountNo>,
        limit: usize,
    ) -> Result<Vec<(AccountNo, Doubt)>, IndexError> {
        self.0.store.view().unsure(after, limit)
    }

    /// Why nothing is taken any more until the process begins anew, and what to do about it; `None` while
    /// all is well. Reads go on.
    pub fn stopped(&self) -> Option<String> {
        self.0.store.stopped.lock().clone()
    }

    /// Says that nobody will fill the index any more; a reason that is known already stays.
    pub fn stop(&self, why: &str) {
        self.0.store.stop(why);
    }

    /// Totals.
    pub fn counts(&self) -> Counts {
        self.0.store.counts()
    }

    /// Rows of one collection.
    pub fn count(&self, collection: CollectionNo) -> CollectionCount {
        self.0.store.count(collection)
    }

    /// Collections whose NSID begins with `prefix`, by NSID, those after `after`; at most `limit`.
    /// Those without rows are included.
    pub fn collections(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Collection> {
        self.0.store.collections(prefix, after, limit)
    }

    /// The note under this key.
    pub fn progress(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.store.ledger.read().progress.get(key).cloned()
    }

    /// Notes whose key begins with `prefix`, by key, those after `after`; at most `limit`.
    pub fn progresses(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.store.ledger.read().notes(prefix, after, limit)
    }
}

#[cfg(test)]
mod tests;
