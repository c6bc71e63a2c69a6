//! A CAR that arrives in pieces: no more than one section of it is held (ENC-14).

use super::uvarint;
use crate::Invalid;

/// Bytes of one section. The largest block of a repository is a node of 1,024 entries whose keys have
/// 1,024 bytes each (MST-6): with its links some 1.2 MB.
const SECTION_BYTES_MAX: u64 = 2 << 20;

/// Splits off sections as soon as they are whole.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    /// What has arrived; never more than a section and a piece.
    buffer: Vec<u8>,
    /// How much of it was given.
    start: usize,
}

impl Sections {
    /// Takes the next bytes; all sections that were whole before must have been taken.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next section without its length; `None` when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Invalid> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((length, after)) = uvarint(rest)? else { return Ok(None) };
        if length > SECTION_BYTES_MAX {
            return Err(Invalid::new("too large: a CAR section has more than 2 MiB"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((section, left)) = after.split_at_checked(length) else { return Ok(None) };
        self.start = self.buffer.len().saturating_sub(left.len());
        Ok(Some(section))
    }

    /// Whether nothing is left that was not given.
    pub(crate) fn is_empty(&self) -> bool {
        self.start >= self.buffer.len()
    }
}
