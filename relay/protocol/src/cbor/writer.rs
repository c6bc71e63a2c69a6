//! Writing canonical DAG-CBOR (ENC-10).

use super::{ARRAY, BYTES, FALSE, LINK_PREFIX, MAP, NEGATIVE, NULL, TEXT, TRUE, UINT};
use crate::Cid;

/// Writes canonical DAG-CBOR. The caller writes as many values as a head announced, and map keys
/// in canonical order.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Starts with nothing written.
    pub const fn new() -> Self {
        Self { out: Vec::new() }
    }

    /// Starts with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity) }
    }

    /// Starts a map of `entries` entries.
    pub fn map(&mut self, entries: usize) -> &mut Self {
        self.head(MAP, wide(entries))
    }

    /// Starts an array of `items` items.
    pub fn array(&mut self, items: usize) -> &mut Self {
        self.head(ARRAY, wide(items))
    }

    /// Writes a text string.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, wide(text.len())).raw(text.as_bytes())
    }

    /// Writes a byte string.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, wide(bytes.len())).raw(bytes)
    }

    /// Writes an integer from 0 on.
    #[inline]
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(UINT, value)
    }

    /// Writes an integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.head(UINT, value),
            Err(_negative) => self.head(NEGATIVE, (!value).unsigned_abs()),
        }
    }

    /// Writes `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(&[if value { TRUE } else { FALSE }])
    }

    /// Writes `null`.
    pub fn null(&mut self) -> &mut Self {
        self.raw(&[NULL])
    }

    /// Writes a link.
    pub fn link(&mut self, cid: &Cid) -> &mut Self {
        self.raw(&LINK_PREFIX).raw(&cid.to_bytes())
    }

    /// Writes a link to a dag-cbor block.
    pub fn block_link(&mut self, digest: &[u8; 32]) -> &mut Self {
        self.raw(&LINK_PREFIX).raw(&[0x01, 0x71, 0x12, 0x20]).raw(digest)
    }

    /// Copies bytes that are CBOR already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// Number of bytes written so far.
    pub const fn position(&self) -> usize {
        self.out.len()
    }

    /// Puts `before` and the head of an array in front of its items, at the end of the `room` that was
    /// left for them at `start`; gives the bytes from there on.
    pub(crate) fn with_head<const N: usize>(
        &mut self,
        start: usize,
        room: usize,
        before: &[u8; N],
        items: usize,
    ) -> &[u8] {
        let head = head(ARRAY, wide(items));
        let items_start = start.saturating_add(room);
        let head_start = items_start.saturating_sub(head.len());
        let from = head_start.saturating_sub(N);
        if let Some(place) = self.out.get_mut(from..head_start) {
            place.copy_from_slice(before);
        }
        if let Some(place) = self.out.get_mut(head_start..items_start) {
            place.copy_from_slice(head.as_slice());
        }
        self.out.get(from..).unwrap_or_default()
    }

    /// Forgets what was written after the first `position` bytes.
    pub fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    #[inline]
    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let head = head(major, argument);
        self.raw(head.as_slice())
    }
}

/// The bytes of one CBOR integer, 1 to 9 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UintBytes {
    bytes: [u8; 9],
    length: usize,
}

impl UintBytes {
    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Their number.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.length
    }
}

/// Encodes an unsigned integer without allocating.
pub const fn encode_uint(value: u64) -> UintBytes {
    head(UINT, value)
}

#[inline]
const fn head(major: u8, argument: u64) -> UintBytes {
    let major = major << 5;
    let [b7, b6, b5, b4, b3, b2, b1, b0] = argument.to_be_bytes();
    let (bytes, length) = match argument {
        0..24 => ([major | b0, 0, 0, 0, 0, 0, 0, 0, 0], 1),
        24..0x100 => ([major | 0x18, b0, 0, 0, 0, 0, 0, 0, 0], 2),
        0x100..0x1_0000 => ([major | 0x19, b1, b0, 0, 0, 0, 0, 0, 0], 3),
        0x1_0000..0x1_0000_0000 => ([major | 0x1a, b3, b2, b1, b0, 0, 0, 0, 0], 5),
        _ => ([major | 0x1b, b7, b6, b5, b4, b3, b2, b1, b0], 9),
    };
    UintBytes { bytes, length }
}

/// A length as CBOR has it; `usize` is never wider than 64 bits.
#[inline]
fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
