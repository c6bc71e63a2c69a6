//! Going through one order of a segment.

use std::sync::Arc;

use super::{Segment, disk};
use crate::collections::index::{IndexError, block::Walk, key::Order};

/// A place between the rows of a segment; holds one block, or as much as it reads ahead.
#[derive(Debug)]
pub(in crate::collections::index) struct PartCursor {
    segment: Arc<Segment>,
    order: Order,
    /// Bytes that are read at once; less than a block reads one block.
    ahead: usize,
    /// Number of the block in which `walk` stands.
    place: usize,
    /// What was read of the file, and where it lay.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// The block within the buffer.
    block: std::ops::Range<usize>,
    walk: Option<Walk>,
    /// There are no more rows.
    ended: bool,
}

impl PartCursor {
    /// Stands nowhere until [`Self::seek`].
    pub(in crate::collections::index) fn new(
        segment: Arc<Segment>,
        order: Order,
        ahead: usize,
    ) -> Self {
        Self {
            segment,
            order,
            ahead,
            place: 0,
            buffer: Vec::new(),
            buffer_at: 0,
            block: 0..0,
            walk: None,
            ended: false,
        }
    }

    /// The row that it stands at, `None` at the end.
    pub(in crate::collections::index) fn row(&self) -> Option<(u64, u8)> {
        self.walk.map(|walk| walk.row())
    }

    /// Goes to the first row from `key` on, never back.
    pub(in crate::collections::index) fn seek(&mut self, key: u64) -> Result<(), IndexError> {
        if self.ended {
            return Ok(());
        }
        let segment = Arc::clone(&self.segment);
        let first_keys = &segment.part(self.order).first_keys;
        let stands = self.walk.is_some();
        let from = if stands { self.place + 1 } else { 0 };
        let rest = first_keys.get(from..).unwrap_or_default();
        let later = if rest.first().is_none_or(|first| *first > key) {
            0
        } else {
            rest.partition_point(|first| *first <= key)
        };
        if later > 0 || !stands {
            // The last block that begins at or before the key, or the first of all.
            self.load((from + later).saturating_sub(1))?;
        }
        while self.row().is_some_and(|(at, _)| at < key) {
            self.next()?;
        }
        Ok(())
    }

    /// Goes to the next row.
    #[inline]
    pub(in crate::collections::index) fn next(&mut self) -> Result<(), IndexError> {
        let Some(walk) = &mut self.walk else { return Ok(()) };
        match walk.next(self.buffer.get(self.block.clone()).unwrap_or_default()) {
            Some(true) => Ok(()),
            Some(false) => self.load(self.place + 1),
            None => Err(self.damaged()),
        }
    }

    fn damaged(&self) -> IndexError {
        let offset = self.segment.part(self.order).offsets.get(self.place).copied();
        let what = format!("its block at byte {} is damaged", offset.unwrap_or_default());
        disk::damaged(&self.segment.path, &what)
    }

    /// Stands at the first row of this block; at the end behind the last one.
    fn load(&mut self, place: usize) -> Result<(), IndexError> {
        self.place = place;
        self.walk = None;
        let part = self.segment.part(self.order);
        let (Some(start), Some(first)) = (part.offsets.get(place), part.first_keys.get(place))
        else {
            self.ended = true;
            return Ok(());
        };
        let (start, first) = (*start, *first);
        let end = part.offsets.get(place + 1).copied().unwrap_or(part.end);
        let (part_end, size) = (part.end, end.checked_sub(start));
        let size =
            size.and_then(|size| usize::try_from(size).ok()).ok_or_else(|| self.damaged())?;
        let within = start.checked_sub(self.buffer_at).and_then(|skip| usize::try_from(skip).ok());
        let held = within.filter(|skip| {
            skip.checked_add(size).is_some_and(|needed| needed <= self.buffer.len())
        });
        let skip = if let Some(skip) = held {
            skip
        } else {
            let rest = usize::try_from(part_end.saturating_sub(start)).unwrap_or(usize::MAX);
            disk::read_into(
                &*self.segment.file,
                start,
                size.max(self.ahead.min(rest)),
                &mut self.buffer,
            )
            .map_err(|error| disk::unreadable(&self.segment.path, &error))?;
            self.buffer_at = start;
            0
        };
        self.block = skip..skip + size;
        let block = self.buffer.get(self.block.clone());
        let walk = block.and_then(Walk::begin).filter(|walk| walk.row().0 == first);
        self.walk = Some(walk.ok_or_else(|| self.damaged())?);
        Ok(())
    }
}
