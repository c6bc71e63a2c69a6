//! From files to an open index.
//!
//! Batches that only journals hold are written to a segment of their own at once: what could be read
//! of a journal is not for that durable, because an earlier sync may have failed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    IndexError, disk,
    journal::{self, Journal, Record},
    key::{self, Kind, Marks, Order},
    ledger::{Ledger, Names},
    manifest::{self, Manifest},
    merge::Cursor,
    resolve::Proven,
    segment::{self, Segment},
    store::{self, Sizes, Store, Writer},
    upkeep::{self, Upkeep},
    view::View,
};
use crate::eventlog::{Files, Machine};

/// Opens what is in the directory, or begins anew in an empty one.
pub(super) fn open(
    files: Arc<dyn Files>,
    dir: &Path,
    sizes: Sizes,
) -> Result<(Store, Upkeep), IndexError> {
    files.create_dir(dir).map_err(|error| disk::unwritable(dir, &error))?;
    let listed = list(&*files, dir)?;
    let manifest = match listed.iter().find(|(name, _)| name == manifest::NAME) {
        Some((_, bytes)) => Manifest::load(&*files, dir, *bytes)?,
        None => begin(&*files, dir, &listed)?,
    };
    let mut opening = Opening::new(&*files, dir, &manifest)?;
    opening.replay(&manifest, &list(&*files, dir)?)?;
    let (journal, upkeep) = opening.settle(manifest)?;
    let Opening { view, marks, names, ledger, .. } = opening;
    let known = names.len();
    let proven = Proven::new(sizes.proven);
    let writer = Writer { journal, marks, proven, names: known, failed: None };
    Ok((Store::new((files, dir), sizes, writer, (view, ledger, names)), upkeep))
}

/// Moves a damaged index out of the way. Refuses when there is one from before: a disk that spoils two is
/// for a person to look at.
pub(super) fn set_aside(dir: &Path, why: &str) -> Result<PathBuf, IndexError> {
    let aside = dir.with_extension("damaged");
    if aside.exists() {
        return Err(IndexError::Damaged(format!("{why}. {} is from before", aside.display())));
    }
    Machine.rename(dir, &aside).map_err(|error| disk::unwritable(&aside, &error))?;
    if let Some(parent) = dir.parent() {
        Machine.sync_dir(parent).map_err(|error| disk::unsynced(parent, &error))?;
    }
    Ok(aside)
}

fn list(files: &dyn Files, dir: &Path) -> Result<Vec<(String, u64)>, IndexError> {
    files.list(dir).map_err(|error| disk::unreadable(dir, &error))
}

/// The number in a name such as `journal-000000000007`.
fn number(name: &str, kind: &str) -> Option<u64> {
    name.strip_prefix(kind)?.strip_prefix('-')?.parse().ok()
}

/// An empty index. Files that only an index with a manifest has say that it was lost.
fn begin(files: &dyn Files, dir: &Path, listed: &[(String, u64)]) -> Result<Manifest, IndexError> {
    let lost = || disk::damaged(&dir.join(manifest::NAME), "it is missing");
    for (name, bytes) in listed {
        if number(name, "segment").is_some() {
            return Err(lost());
        }
        if let Some(number) = number(name, "journal") {
            journal::replay(files, (dir, number, *bytes), true, |_record| Err(lost()))?;
        }
    }
    let manifest = Manifest { journal: 1, ..Manifest::default() };
    Journal::create(files, dir, manifest.journal)?;
    manifest.store(files, dir)?;
    Ok(manifest)
}

struct Opening<'a> {
    files: &'a dyn Files,
    dir: &'a Path,
    view: View,
    marks: Marks,
    names: Names,
    ledger: Ledger,
    last_journal: u64,
}

impl<'a> Opening<'a> {
    /// As the manifest says.
    fn new(files: &'a dyn Files, dir: &'a Path, manifest: &Manifest) -> Result<Self, IndexError> {
        let mut view = View::default();
        for number in &manifest.segments {
            view.segments.push(Arc::new(Segment::open(files, dir, *number)?));
        }
        let mut names = Names::default();
        if !names.learn(0, &manifest.names) {
            return Err(disk::damaged(&dir.join(manifest::NAME), "it holds a name twice"));
        }
        let (mut marks, mut ledger) = (Marks::default(), manifest.ledger.clone());
        for kind in [Kind::Unsure, Kind::Complete, Kind::Gone] {
            let range = kind.row().and_then(|row| key::collection_range(row, None));
            let Some(range) = range else { continue };
            let mut rows = view.scan(Order::Collection, range)?;
            while let Some((at, tag)) = rows.next_present()? {
                marks.row(kind, key::parts(at).1, tag);
                if kind == Kind::Unsure {
                    ledger.found_unsure(tag);
                }
            }
        }
        Ok(Self { files, dir, view, marks, names, ledger, last_journal: manifest.journal })
    }

    /// Batches that came after the manifest.
    fn replay(&mut self, manifest: &Manifest, listed: &[(String, u64)]) -> Result<(), IndexError> {
        let journals = listed.iter().filter_map(|(name, bytes)| {
            Some((number(name, "journal")?, *bytes)).filter(|(found, _)| *found >= manifest.journal)
        });
        let mut journals: Vec<(u64, u64)> = journals.collect();
        journals.sort_unstable();
        let mut expected = manifest.journal;
        for (place, (number, bytes)) in journals.iter().enumerate() {
            if *number != expected {
                break;
            }
            let is_last = place + 1 == journals.len();
            let (files, dir) = (self.files, self.dir);
            journal::replay(files, (dir, *number, *bytes), is_last, |record| {
                self.record(&record).ok_or_else(|| {
                    let path = dir.join(journal::name(*number));
                    disk::damaged(&path, "it does not follow what is before it")
                })
            })?;
            self.last_journal = *number;
            expected += 1;
        }
        if journals.last().is_none_or(|(last, _)| *last != self.last_journal) {
            return Err(disk::damaged(&self.dir.join(journal::name(expected)), "it is missing"));
        }
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Option<()> {
        let (first, names) = &record.names;
        let follows = names.is_empty() || self.names.learn(*first, names);
        if !follows || !self.ledger.add(record) {
            return None;
        }
        store::learn_marks(&mut self.marks, &record.rows);
        store::push(&mut self.view.active, store::run_of(&record.rows));
        Some(())
    }

    /// Makes all that was replayed durable once more, and begins a new journal.
    fn settle(&mut self, mut manifest: Manifest) -> Result<(Journal, Upkeep), IndexError> {
        let (files, dir) = (self.files, self.dir);
        let mut next_segment = manifest.segments.iter().max().map_or(1, |newest| newest + 1);
        let journal = Journal::create(files, dir, self.last_journal + 1)?;
        let runs = std::mem::take(&mut self.view.active);
        if !runs.is_empty() {
            let sources = |order| runs.iter().rev().map(|run| Cursor::of_run(run, order)).collect();
            let is_oldest = manifest.segments.is_empty();
            upkeep::write((files, dir), (next_segment, is_oldest), sources, || false)?;
            manifest.segments.insert(0, next_segment);
            self.view.segments.insert(0, Arc::new(Segment::open(files, dir, next_segment)?));
            next_segment += 1;
        }
        manifest.journal = journal.number;
        manifest.names = self.names.first(self.names.len());
        manifest.ledger = self.ledger.clone();
        manifest.store(files, dir)?;
        self.tidy(&manifest)?;
        Ok((journal, Upkeep { manifest, next_segment }))
    }

    /// Removes files of steps that a crash has ended halfway.
    fn tidy(&self, manifest: &Manifest) -> Result<(), IndexError> {
        upkeep::remove_journals(self.files, self.dir, manifest.journal)?;
        for (name, _) in list(self.files, self.dir)? {
            let is_left = number(&name, "segment").is_some_and(|found| {
                name == segment::name(found) && !manifest.segments.contains(&found)
            });
            if is_left || name == manifest::NEW_NAME {
                upkeep::remove(self.files, &self.dir.join(name));
            }
        }
        Ok(())
    }
}
