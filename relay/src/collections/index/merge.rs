//! Several sorted sources as one: of two rows with one key, the newer source has the word.

use std::sync::Arc;

use super::{
    IndexError,
    key::{NONE, Order},
    run::Run,
    segment::{PartCursor, Segment},
};

/// A place in a source.
#[derive(Debug)]
pub(super) enum Cursor {
    Run { run: Arc<Run>, order: Order, place: usize },
    Segment(Box<PartCursor>),
}

impl Cursor {
    pub(super) fn of_run(run: &Arc<Run>, order: Order) -> Self {
        Self::Run { run: Arc::clone(run), order, place: 0 }
    }

    /// * `ahead` – bytes that are read at once
    pub(super) fn of_segment(segment: &Arc<Segment>, order: Order, ahead: usize) -> Self {
        Self::Segment(Box::new(PartCursor::new(Arc::clone(segment), order, ahead)))
    }

    /// Goes to the first row from `key` on, never back.
    pub(super) fn seek(&mut self, key: u64) -> Result<(), IndexError> {
        match self {
            Self::Run { run, order, place } => {
                *place = run.column(*order).seek(key, *place);
                Ok(())
            }
            Self::Segment(cursor) => cursor.seek(key),
        }
    }

    #[inline]
    pub(super) fn row(&self) -> Option<(u64, u8)> {
        match self {
            Self::Run { run, order, place } => run.column(*order).row(*place),
            Self::Segment(cursor) => cursor.row(),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<(), IndexError> {
        match self {
            Self::Run { place, .. } => {
                *place += 1;
                Ok(())
            }
            Self::Segment(cursor) => cursor.next(),
        }
    }
}

/// Rows of all sources between two keys.
#[derive(Debug)]
pub(super) struct Merge {
    /// The newest first, each with the row that it stands at.
    sources: Vec<(Cursor, u64, u8)>,
    last: u64,
}

/// Stands for a source that has no more rows.
const END: u64 = u64::MAX;

impl Merge {
    /// * `sources` – the newest first
    pub(super) fn new(sources: Vec<Cursor>, (first, last): (u64, u64)) -> Result<Self, IndexError> {
        let mut placed = Vec::with_capacity(sources.len());
        for mut cursor in sources {
            cursor.seek(first)?;
            let (key, tag) = cursor.row().unwrap_or((END, NONE));
            placed.push((cursor, key, tag));
        }
        Ok(Self { sources: placed, last })
    }

    /// The next row, also one that only says that there is none.
    pub(super) fn next(&mut self) -> Result<Option<(u64, u8)>, IndexError> {
        let (mut key, mut tag) = (END, NONE);
        for (_, at, its) in &self.sources {
            if *at < key {
                (key, tag) = (*at, *its);
            }
        }
        if key > self.last || key == END {
            return Ok(None);
        }
        for (cursor, at, its) in &mut self.sources {
            if *at == key {
                cursor.next()?;
                (*at, *its) = cursor.row().unwrap_or((END, NONE));
            }
        }
        Ok(Some((key, tag)))
    }

    /// The next row that is there.
    pub(super) fn next_present(&mut self) -> Result<Option<(u64, u8)>, IndexError> {
        loop {
            match self.next()? {
                Some((_, NONE)) => {}
                found => return Ok(found),
            }
        }
    }
}

/// Looks single keys up, in ascending order.
#[derive(Debug)]
pub(super) struct Prober(Vec<Cursor>);

impl Prober {
    /// * `sources` – the newest first
    pub(super) fn new(sources: Vec<Cursor>) -> Self {
        Self(sources)
    }

    /// The tag of the key, [`NONE`] when it is nowhere.
    pub(super) fn tag(&mut self, key: u64) -> Result<u8, IndexError> {
        for cursor in &mut self.0 {
            cursor.seek(key)?;
            if let Some((_, tag)) = cursor.row().filter(|(found, _)| *found == key) {
                return Ok(tag);
            }
        }
        Ok(NONE)
    }
}
