//! The index on disk: one writer, any number of readers, one thread that tidies up.
//!
//! ```text
//! apply ─► resolve ─► journal ─sync─► view, ledger        readers clone the view and go on with it
//!                                       │ full
//!                                       ▼
//!                                     frozen ─► segment ─► manifest      (upkeep, its own thread)
//! ```
//!
//! Locks, taken in this order and never the other way: writer, view, ledger. Only a batch holds the
//! writer while it waits for the disk; view and ledger are held for a few steps in memory.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Condvar, Mutex, RwLock};

use super::{
    Batch, Collection, CollectionCount, CollectionNo, Counts, IndexError, disk,
    journal::{Journal, Record},
    key::{self, Kind, Marks},
    ledger::{Ledger, Names},
    measures::Measures,
    resolve::{Proven, Resolved, Row, resolve},
    run::{Column, Run},
    upkeep::Frozen,
    view::View,
};
use crate::{domain::Seq, eventlog::Files};

/// Most changes of a batch, which is held in memory several times over.
const CHANGES_MAX: usize = 1 << 20;

/// Shares of the memory that the setting permits, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Of the rows that take new batches. As much is frozen at times, and as much is copied.
    pub(super) active: usize,
    /// Of the table of pairs that were proven last.
    pub(super) proven: usize,
    /// Of what is read at once of each segment when some become one.
    pub(super) ahead: usize,
}

impl Sizes {
    pub(super) fn of(memory_bytes: u64) -> Self {
        let memory = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        Self {
            active: memory / 8,
            proven: memory / 16,
            ahead: (memory / 256).clamp(4 << 10, 1 << 20),
        }
    }
}

/// What only the writer touches.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) journal: Journal,
    pub(super) marks: Marks,
    pub(super) proven: Proven,
    /// Names that the journal or the manifest holds.
    pub(super) names: usize,
    /// Why nothing is applied any more.
    pub(super) failed: Option<String>,
}

/// What the upkeep is to do, and how that went.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) frozen: Option<Frozen>,
    pub(super) stop: bool,
    /// There is nothing to do.
    pub(super) rests: bool,
    /// Why frozen rows are not on disk yet; cleared when they are.
    pub(super) trouble: Option<Trouble>,
}

/// What stands in the way of the upkeep.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// It tries again.
    Full(String),
    /// It has given up.
    Failed(String),
}

impl Trouble {
    pub(super) fn error(&self) -> IndexError {
        match self {
            Self::Full(why) => IndexError::Full(why.clone()),
            Self::Failed(why) => IndexError::Failed(why.clone()),
        }
    }
}

/// The open index.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) files: Arc<dyn Files>,
    pub(super) dir: PathBuf,
    pub(super) sizes: Sizes,
    pub(super) writer: Mutex<Writer>,
    view: RwLock<Arc<View>>,
    pub(super) ledger: RwLock<Ledger>,
    pub(super) names: RwLock<Names>,
    pub(super) work: Mutex<Work>,
    /// Told when there is work, when it is done, and at the end.
    pub(super) changed: Condvar,
    /// Why nothing is taken any more, for people.
    pub(super) stopped: Mutex<Option<String>>,
    pub(super) measures: Measures,
}

impl Store {
    pub(super) fn new(
        (files, dir): (Arc<dyn Files>, &Path),
        sizes: Sizes,
        writer: Writer,
        (view, ledger, names): (View, Ledger, Names),
    ) -> Self {
        let store = Self {
            files,
            dir: dir.to_path_buf(),
            sizes,
            writer: Mutex::new(writer),
            view: RwLock::new(Arc::new(view)),
            ledger: RwLock::new(ledger),
            names: RwLock::new(names),
            work: Mutex::new(Work::default()),
            changed: Condvar::new(),
            stopped: Mutex::default(),
            measures: Measures::new(sizes.active),
        };
        store.show();
        store
    }

    /// Notes why nothing is taken any more, the first reason.
    pub(super) fn stop(&self, why: &str) {
        self.stopped.lock().get_or_insert_with(|| why.to_owned());
        self.measures.stopped();
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    /// Puts a changed view in the place of the present one.
    pub(super) fn set_view(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write();
        let mut next = View::clone(&view);
        change(&mut next);
        *view = Arc::new(next);
    }

    pub(super) fn apply(&self, batch: &Batch) -> Result<(), IndexError> {
        self.apply_as(&mut self.writer.lock(), batch)
    }

    pub(super) fn apply_at(
        &self,
        position: Option<Seq>,
        batch: &Batch,
    ) -> Result<bool, IndexError> {
        let mut writer = self.writer.lock();
        // Only who holds the writer moves it.
        if self.ledger.read().position != position {
            return Ok(false);
        }
        self.apply_as(&mut writer, batch).map(|()| true)
    }

    fn apply_as(&self, writer: &mut Writer, batch: &Batch) -> Result<(), IndexError> {
        if batch.changes.len() > CHANGES_MAX {
            return Err(IndexError::Limit(format!(
                "a batch for the index of collections has at most {CHANGES_MAX} changes"
            )));
        }
        if let Some(why) = &writer.failed {
            return Err(IndexError::Failed(why.clone()));
        }
        self.make_room(writer)?;
        let Writer { marks, proven, .. } = &mut *writer;
        let resolved = resolve(batch, &self.view(), marks, proven)?;
        self.ledger.read().check(&batch.progress)?;
        self.commit(writer, batch, resolved)
    }

    /// Journal first, then what readers see.
    fn commit(
        &self,
        writer: &mut Writer,
        batch: &Batch,
        resolved: Resolved,
    ) -> Result<(), IndexError> {
        let names = (writer.names, self.names.read().since(writer.names));
        let progress = batch.progress.clone();
        let record = Record { position: batch.position, names, progress, rows: resolved.rows };
        if record == (Record { names: record.names.clone(), ..Record::default() }) {
            resolved.proven.into_iter().for_each(|key| writer.proven.learn(key));
            return Ok(());
        }
        if let Err(error) = writer.journal.append(&record) {
            if let IndexError::Failed(why) = &error {
                self.fail(writer, why);
            }
            return Err(error);
        }
        self.measures.journaled(writer.journal.end);
        writer.names += record.names.1.len();
        learn_marks(&mut writer.marks, &record.rows);
        self.set_view(|view| push(&mut view.active, run_of(&record.rows)));
        resolved.proven.into_iter().for_each(|key| writer.proven.learn(key));
        if !self.ledger.write().add(&record) {
            let what = "a count would fall below nothing";
            let error = disk::damaged(&self.dir, what);
            self.fail(writer, &error.to_string());
            return Err(error);
        }
        self.show();
        Ok(())
    }

    fn fail(&self, writer: &mut Writer, why: &str) {
        writer.failed = Some(why.to_owned());
        self.stop(why);
        tracing::error!("{why}");
    }

    /// Hands the active rows over when there are enough of them; waits while others are on their way.
    fn make_room(&self, writer: &mut Writer) -> Result<(), IndexError> {
        let active: usize = self.view().active.iter().map(|run| run.bytes()).sum();
        self.measures.active(active);
        if active < self.sizes.active {
            return Ok(());
        }
        let mut work = self.work.lock();
        while work.frozen.is_some() || work.trouble.is_some() {
            if let Some(trouble) = &work.trouble {
                return Err(trouble.error());
            }
            self.changed.wait(&mut work);
        }
        // Batches from here on are in a journal that outlives the one whose rows are written now.
        let journal = Journal::create(&*self.files, &self.dir, writer.journal.number + 1)?;
        let ledger = self.ledger.read().clone();
        self.set_view(|view| view.frozen = std::mem::take(&mut view.active));
        writer.journal = journal;
        work.rests = false;
        work.frozen = Some(Frozen { journal: writer.journal.number, names: writer.names, ledger });
        drop(work);
        self.changed.notify_all();
        Ok(())
    }

    pub(super) fn rest(&self) -> Result<(), IndexError> {
        let mut work = self.work.lock();
        while !work.rests {
            if let Some(trouble) = &work.trouble {
                return Err(trouble.error());
            }
            self.changed.wait(&mut work);
        }
        Ok(())
    }

    /// Tells the metrics what there is.
    pub(super) fn show(&self) {
        let view = self.view();
        self.measures.counts(self.counts());
        self.measures.segments(&view.segments);
    }

    pub(super) fn counts(&self) -> Counts {
        let names = self.names.read().len();
        self.ledger.read().counts(names)
    }

    pub(super) fn count(&self, collection: CollectionNo) -> CollectionCount {
        let collection = key::collection(collection);
        collection.map_or_else(CollectionCount::default, |known| self.ledger.read().count(known))
    }

    pub(super) fn collections(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<Collection> {
        let known = self.names.read().listed(prefix, after, limit);
        self.ledger.read().counted(known)
    }
}

/// The marks that rows bring or take.
pub(super) fn learn_marks(marks: &mut Marks, rows: &[Row]) {
    for row in rows {
        let (collection, account) = key::parts(row.key);
        // Marks have the lowest numbers, and rows come by number.
        let Some(kind) = Kind::of_row(collection) else { return };
        marks.row(kind, account, row.new);
    }
}

/// The rows of a batch as readers see them.
pub(super) fn run_of(rows: &[Row]) -> Run {
    let mut column = Column::with_capacity(rows.len());
    for row in rows {
        column.push(row.key, row.new);
    }
    Run::new(column)
}

/// Adds the newest rows, joined with those before them that are not much more, so that there are
/// few runs and each row is copied a few times only.
pub(super) fn push(active: &mut Vec<Arc<Run>>, run: Run) {
    if run.rows() == 0 {
        return;
    }
    let mut newest = run;
    while let Some(before) = active.pop_if(|before| before.rows() <= newest.rows() * 2) {
        newest = Run::merged(&newest, &before);
    }
    active.push(Arc::new(newest));
}
