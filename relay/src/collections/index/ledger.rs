//! What is small and kept in memory as a whole: names, counts, notes, position.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use super::{
    Collection, CollectionCount, CollectionNo, Counts, Doubt, IndexError, disk,
    journal::{Note, Record},
    key::{self, BELIEVED, NONE, PROVEN, TAGS, UNSURE},
    resolve::Row,
};
use crate::domain::Seq;

/// Most collections; more than ten times what the network had when this was chosen. Anyone can
/// invent one.
const COLLECTIONS_MAX: usize = 1 << 18;
/// Longest NSID.
const NSID_BYTES_MAX: usize = 317;
/// Most bytes of all notes together.
const NOTES_BYTES_MAX: usize = 16 << 20;

/// NSIDs and their numbers. Grows only.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The first has the number [`key::FIRST`].
    known: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, CollectionNo>,
    sorted: BTreeMap<Arc<str>, CollectionNo>,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn number(&mut self, nsid: &str) -> Result<CollectionNo, IndexError> {
        if let Some(number) = self.find(nsid) {
            return Ok(number);
        }
        if self.known.len() >= COLLECTIONS_MAX || nsid.len() > NSID_BYTES_MAX {
            return Err(IndexError::Limit(format!(
                "the index of collections takes at most {COLLECTIONS_MAX} names of at most \
                 {NSID_BYTES_MAX} bytes"
            )));
        }
        Ok(self.push(nsid.into()))
    }

    fn push(&mut self, name: Arc<str>) -> CollectionNo {
        let place = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        let number = CollectionNo(place.saturating_add(key::FIRST));
        self.known.push(Arc::clone(&name));
        self.numbers.insert(Arc::clone(&name), number);
        self.sorted.insert(name, number);
        number
    }

    pub(super) fn find(&self, nsid: &str) -> Option<CollectionNo> {
        self.numbers.get(nsid).copied()
    }

    pub(super) fn nsid(&self, collection: CollectionNo) -> Option<Arc<str>> {
        let place = collection.0.checked_sub(key::FIRST)?;
        self.known.get(usize::try_from(place).ok()?).cloned()
    }

    /// The first so many names.
    pub(super) fn first(&self, count: usize) -> Vec<Arc<str>> {
        self.known.iter().take(count).map(Arc::clone).collect()
    }

    /// Names from this place on.
    pub(super) fn since(&self, place: usize) -> Vec<Arc<str>> {
        self.known.get(place..).unwrap_or_default().to_vec()
    }

    /// Names that a file holds. False when they do not follow what is here.
    pub(super) fn learn(&mut self, first: usize, names: &[Arc<str>]) -> bool {
        if first != self.known.len() {
            return false;
        }
        for name in names {
            self.push(Arc::clone(name));
        }
        self.numbers.len() == self.known.len()
    }

    /// By NSID.
    pub(super) fn listed(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(Arc<str>, CollectionNo)> {
        let first = from(prefix, after);
        let known = self.sorted.range::<str, _>((first, Bound::Unbounded));
        let known = known.take_while(|(nsid, _)| nsid.starts_with(prefix)).take(limit);
        known.map(|(nsid, number)| (Arc::clone(nsid), *number)).collect()
    }
}

/// Where a listing begins.
fn from<'a, T: Ord + ?Sized>(prefix: &'a T, after: Option<&'a T>) -> Bound<&'a T> {
    after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded)
}

/// What batches sum up to.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) position: Option<Seq>,
    /// By number; those of the marks count as proven.
    pub(super) counts: Vec<CollectionCount>,
    pub(super) totals: CollectionCount,
    /// Accounts marked [`super::Whole::Unsure`] by the tag of their doubt. No file holds these: whoever
    /// opens an index reads all marks anyway, and adds them up.
    doubts: [u64; TAGS as usize],
    pub(super) progress: BTreeMap<Vec<u8>, Vec<u8>>,
    notes_bytes: usize,
}

impl Ledger {
    pub(super) fn from_parts(
        position: Option<Seq>,
        counts: Vec<CollectionCount>,
        progress: BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Self {
        let notes_bytes = progress.iter().map(|(key, value)| key.len() + value.len()).sum();
        let first = usize::try_from(key::FIRST).unwrap_or_default();
        let totals = counts.iter().skip(first).fold(CollectionCount::default(), |sum, count| {
            CollectionCount {
                proven: sum.proven.saturating_add(count.proven),
                believed: sum.believed.saturating_add(count.believed),
            }
        });
        Self { position, counts, totals, doubts: Default::default(), progress, notes_bytes }
    }

    /// A row of the files with the mark of an account that is unsure.
    pub(super) fn found_unsure(&mut self, tag: u8) {
        if let Some(accounts) = self.doubts.get_mut(usize::from(tag)) {
            *accounts = accounts.saturating_add(1);
        }
    }

    /// Whether these notes still fit.
    pub(super) fn check(&self, notes: &[Note]) -> Result<(), IndexError> {
        let more: usize =
            notes.iter().filter_map(|(key, value)| Some(key.len() + value.as_ref()?.len())).sum();
        if self.notes_bytes + more > NOTES_BYTES_MAX {
            return Err(IndexError::Limit(format!(
                "notes on the progress of filling the index of collections take more than \
                 {NOTES_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    /// Takes over what a batch came to. Returns false when that cannot be: a count would fall below
    /// nothing.
    pub(super) fn add(&mut self, record: &Record) -> bool {
        if record.position.is_some() {
            self.position = record.position;
        }
        for (key, value) in &record.progress {
            let old = match value {
                Some(value) => {
                    self.notes_bytes += key.len() + value.len();
                    self.progress.insert(key.clone(), value.clone())
                }
                None => self.progress.remove(key),
            };
            let freed = old.map_or(0, |old| key.len() + old.len());
            self.notes_bytes = self.notes_bytes.saturating_sub(freed);
        }
        record.rows.iter().all(|row| self.count_row(row).is_some())
    }

    fn count_row(&mut self, row: &Row) -> Option<()> {
        let (collection, _) = key::parts(row.key);
        let place = usize::try_from(collection).ok()?;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, CollectionCount::default());
        }
        let is_mark = collection < key::FIRST;
        if collection == UNSURE {
            self.count_doubt(row)?;
        }
        let count = self.counts.get_mut(place)?;
        moved(count, row, is_mark)?;
        if is_mark { Some(()) } else { moved(&mut self.totals, row, false) }
    }

    fn count_doubt(&mut self, row: &Row) -> Option<()> {
        if row.old != NONE {
            let before = self.doubts.get_mut(usize::from(row.old))?;
            *before = before.checked_sub(1)?;
        }
        if row.new != NONE {
            let after = self.doubts.get_mut(usize::from(row.new))?;
            *after = after.checked_add(1)?;
        }
        Some(())
    }

    /// Of one collection.
    pub(super) fn count(&self, collection: u32) -> CollectionCount {
        let place = usize::try_from(collection).unwrap_or(usize::MAX);
        self.counts.get(place).copied().unwrap_or_default()
    }

    pub(super) fn counts(&self, names: usize) -> Counts {
        Counts {
            collections: disk::length(names),
            proven: self.totals.proven,
            believed: self.totals.believed,
            complete: self.count(key::COMPLETE).proven,
            unsure: self.count(UNSURE).proven,
            doubts: Doubt::ALL.map(|doubt| self.doubted(doubt)),
            gone: self.count(key::GONE).proven,
        }
    }

    fn doubted(&self, doubt: Doubt) -> u64 {
        self.doubts.get(usize::from(key::doubt_tag(doubt))).copied().unwrap_or_default()
    }

    pub(super) fn notes(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let notes = self.progress.range::<[u8], _>((from(prefix, after), Bound::Unbounded));
        let notes = notes.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        notes.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Collections with their rows.
    pub(super) fn counted(&self, known: Vec<(Arc<str>, CollectionNo)>) -> Vec<Collection> {
        let known = known.into_iter();
        known
            .map(|(nsid, number)| Collection { number, nsid, count: self.count(number.0) })
            .collect()
    }
}

/// Moves a row from one count to another; marks of any tag count as proven.
fn moved(count: &mut CollectionCount, row: &Row, is_mark: bool) -> Option<()> {
    let which = |tag| if is_mark && tag != NONE { PROVEN } else { tag };
    match which(row.old) {
        PROVEN => count.proven = count.proven.checked_sub(1)?,
        BELIEVED => count.believed = count.believed.checked_sub(1)?,
        _ => {}
    }
    match which(row.new) {
        PROVEN => count.proven = count.proven.checked_add(1)?,
        BELIEVED => count.believed = count.believed.checked_add(1)?,
        _ => {}
    }
    Some(())
}
