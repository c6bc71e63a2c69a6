//! Reading a block of whole records from a file, plain or compressed, and finding it sound.

use super::{
    block::{BLOCK, BlockHead},
    cache::{Key, Loaded, Unsound},
    files::{File, length, read_up_to},
    scan::{Block, Step},
    shared::{Layout, Place, Segment},
};

/// Most bytes of one read of a plain file.
pub(super) const READ_BYTES: usize = 1 << 20;

/// An open file of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) segment: &'a Segment,
    pub(super) file: &'a dyn File,
    pub(super) layout: Layout,
}

/// What a place is called in the cache.
pub(super) fn key(segment: &Segment, layout: Layout, offset: u64) -> Key {
    Key { base: segment.base, is_compressed: layout != Layout::Plain, offset }
}

impl Source<'_> {
    /// The records from a place on, to the end of their block. With [`Layout::Plain`] those that one
    /// read gives: each is verified, and what follows a damaged one is not given.
    pub(super) fn load(&self, place: Place) -> Result<Loaded, Unsound> {
        match self.layout {
            Layout::Plain => self.load_plain(place),
            Layout::Blocks(footer) => {
                load_block(self.file, self.segment.salt, (place.offset, footer.records_end))
            }
        }
    }

    fn load_plain(&self, Place { offset, next, .. }: Place) -> Result<Loaded, Unsound> {
        let end = self.segment.extent().records_end;
        let mut block = Block::read(self.file, self.segment.salt, (offset, end), READ_BYTES)?;
        let mut expected = next;
        let why = loop {
            match block.step() {
                Step::Record(_, record) if record.seq == expected => expected += 1,
                Step::Record(..) => {
                    block.unstep();
                    break "wrong seq";
                }
                Step::Bad(why) => break why,
                Step::End => break "the file is too short",
            }
        };
        // What was whole is given; the next read meets the damage first.
        if block.used() == 0 {
            return Err(Unsound::Damaged(why));
        }
        Ok(Loaded {
            bytes: block.whole(),
            first: next,
            last: expected - 1,
            after: offset + block.used(),
        })
    }
}

/// The block that begins at an offset.
pub(super) fn load_block(
    file: &dyn File,
    salt: u32,
    (offset, end): (u64, u64),
) -> Result<Loaded, Unsound> {
    let available = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    let head = read_up_to(file, offset, available.min(BLOCK))?;
    let Some(head) = BlockHead::decode(&head).filter(|head| head.length <= available) else {
        return Err(Unsound::Damaged("no block begins here"));
    };
    let block = read_up_to(file, offset, head.length)?;
    let records = head.decompress(&block, salt).map_err(Unsound::Damaged)?;
    Ok(Loaded {
        bytes: records.into(),
        first: head.first,
        last: head.last(),
        after: offset + length(head.length),
    })
}
