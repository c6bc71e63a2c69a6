//! Decoding one node (MST-2, MST-3, MST-6).

use super::{KEY_BYTES_MAX, NODE_ENTRIES_MAX};
use crate::{Invalid, Reader};

/// Where a key lies in a buffer of keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// The key.
    pub(crate) fn of(self, keys: &[u8]) -> &[u8] {
        keys.get(self.start..self.end).unwrap_or_default()
    }
}

/// One entry of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) key: Span,
    pub(crate) value: &'a [u8; 32],
    /// The subtree between this key and the next one.
    pub(crate) right: Option<&'a [u8; 32]>,
}

/// Decodes a node `{e: [{k, p, t, v}…], l}`; appends its entries to `entries` and their full keys to
/// `keys`, and returns the subtree before the first key.
///
/// Checks what the block alone can show: canonical encoding, all fields present and no others, keys
/// ascending with maximal prefixes, the caps of MST-6.
pub(crate) fn decode<'a>(
    block: &'a [u8],
    keys: &mut Vec<u8>,
    entries: &mut Vec<Entry<'a>>,
) -> Result<Option<&'a [u8; 32]>, Invalid> {
    let mut reader = Reader::new(block);
    literal(&mut reader, b"\xa2\x61e", NODE_FIELDS)?;
    let count = reader.array_len()?;
    if count > NODE_ENTRIES_MAX {
        return Err(Invalid::new("a node has too many entries"));
    }
    let mut previous = None;
    for _ in 0..count {
        let entry = decode_entry(&mut reader, keys, previous)?;
        previous = Some(entry.key);
        entries.push(entry);
    }
    literal(&mut reader, b"\x61l", NODE_FIELDS)?;
    let left = subtree(&mut reader)?;
    reader.expect_end()?;
    Ok(left)
}

fn decode_entry<'a>(
    reader: &mut Reader<'a>,
    keys: &mut Vec<u8>,
    previous: Option<Span>,
) -> Result<Entry<'a>, Invalid> {
    literal(reader, b"\xa4\x61k", ENTRY_FIELDS)?;
    let suffix = reader.bytes()?;
    literal(reader, b"\x61p", ENTRY_FIELDS)?;
    let prefix = usize::try_from(reader.uint()?).unwrap_or(usize::MAX);
    literal(reader, b"\x61t", ENTRY_FIELDS)?;
    let right = subtree(reader)?;
    literal(reader, b"\x61v", ENTRY_FIELDS)?;
    let value = reader.block_link()?;
    let key = append_key(keys, previous, prefix, suffix)?;
    Ok(Entry { key, value, right })
}

/// Appends the key made of the first `prefix` bytes of `previous` and of `suffix`.
fn append_key(
    keys: &mut Vec<u8>,
    previous: Option<Span>,
    prefix: usize,
    suffix: &[u8],
) -> Result<Span, Invalid> {
    let before = previous.map_or_else(Default::default, |key| key.of(keys));
    if prefix > before.len() {
        return Err(Invalid::new("a key's prefix is longer than the key before it"));
    }
    let Some(first) = suffix.first() else {
        return Err(Invalid::new("a key is empty or not after the one before it"));
    };
    // The first byte that is not shared decides the order, and must be another one.
    match before.get(prefix) {
        Some(other) if first == other => {
            return Err(Invalid::new("a key's prefix is not maximal"));
        }
        Some(other) if first < other => {
            return Err(Invalid::new("the keys of a node are not in order"));
        }
        _ => {}
    }
    if prefix.saturating_add(suffix.len()) > KEY_BYTES_MAX {
        return Err(Invalid::new("a key is too long"));
    }
    let start = keys.len();
    if let Some(Span { start: from, .. }) = previous {
        keys.extend_from_within(from..from.saturating_add(prefix));
    }
    keys.extend_from_slice(suffix);
    Ok(Span { start, end: keys.len() })
}

const NODE_FIELDS: Invalid = Invalid::new("a node is not a map of e and l");
const ENTRY_FIELDS: Invalid = Invalid::new("a node's entry is not a map of k, p, t and v");

/// Reads the head of a map or the name of a field: all of them are there and in one order, so each
/// can only be these bytes.
fn literal<const N: usize>(
    reader: &mut Reader<'_>,
    encoded: &[u8; N],
    refusal: Invalid,
) -> Result<(), Invalid> {
    if reader.take_literal(encoded) { Ok(()) } else { Err(refusal) }
}

fn subtree<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8; 32]>, Invalid> {
    if reader.take_null() { Ok(None) } else { reader.block_link().map(Some) }
}
