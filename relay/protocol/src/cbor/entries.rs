//! The entries of a map and their order (ENC-2).

use super::{Reader, utf8};
use crate::Invalid;

/// The entries of a map that is being read: gives the keys and checks that they are text, sorted
/// length first and then bytewise, and unique (ENC-2).
///
/// ```
/// # fn main() -> Result<(), relay_protocol::Invalid> {
/// let mut reader = relay_protocol::Reader::new(b"\xa2\x61t\x67#commit\x62op\x01");
/// let mut entries = reader.map()?;
/// let mut op = None;
/// while let Some(key) = entries.next_key(&mut reader)? {
///     match key {
///         "op" => op = Some(reader.int()?),
///         _ => reader.skip_value()?,
///     }
/// }
/// assert_eq!(op, Some(1));
/// reader.expect_end()
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MapEntries<'a> {
    left: usize,
    last: Option<&'a [u8]>,
}

impl<'a> MapEntries<'a> {
    /// Entries that a head announced.
    pub(super) const fn new(left: usize) -> Self {
        Self { left, last: None }
    }

    /// Reads the next key, `None` after the last. The caller must have read or skipped the value of
    /// the key before.
    pub fn next_key(&mut self, reader: &mut Reader<'a>) -> Result<Option<&'a str>, Invalid> {
        self.next_key_bytes(reader)?.map(utf8).transpose()
    }

    /// As [`Self::next_key`]. The bytes are UTF-8; a `match` over byte strings compiles to a tree
    /// of comparisons, one over `str` to a row of calls (measured: half the time of a frame).
    #[inline]
    pub(crate) fn next_key_bytes(
        &mut self,
        reader: &mut Reader<'a>,
    ) -> Result<Option<&'a [u8]>, Invalid> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let key = reader.key()?;
        if let Some(last) = self.last
            && !sorts_before(last, key)
        {
            return Err(Invalid::new(if last == key {
                "a map key occurs twice"
            } else {
                "map keys are not sorted"
            }));
        }
        self.last = Some(key);
        Ok(Some(key))
    }

    /// Entries not given yet.
    pub const fn remaining(&self) -> usize {
        self.left
    }
}

/// The canonical order of map keys: length first, then bytewise (ENC-2).
#[inline]
pub(crate) fn sorts_before(left: &[u8], right: &[u8]) -> bool {
    left.len() < right.len() || (left.len() == right.len() && left < right)
}
