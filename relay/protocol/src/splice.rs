//! Patching frames without rewriting them (DESIGN 10.2, ENC-10, MSG-3).

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    Invalid, Kind, Reader, Writer,
    cbor::{encode_uint, sorts_before},
    frame::{read_header, read_payload_head, write_header},
};

const NO_SEQ: Invalid = Invalid::new("the payload has no integer seq");

/// A change of one top-level field of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Sets or inserts a text field.
    Text(&'a str, &'a str),
    /// Sets or inserts a bool field.
    Bool(&'a str, bool),
    /// Sets or inserts `[]`.
    EmptyArray(&'a str),
    /// Removes a field if it is there.
    Remove(&'a str),
    /// In each map of an array field, removes the second field where it is null.
    RemoveNulls(&'a str, &'a str),
}

impl<'a> Edit<'a> {
    const fn key(&self) -> &'a str {
        match *self {
            Self::Text(key, _)
            | Self::Bool(key, _)
            | Self::EmptyArray(key)
            | Self::Remove(key)
            | Self::RemoveNulls(key, _) => key,
        }
    }

    /// The new value, `None` when there is none without an old one.
    fn value(&self) -> Option<Vec<u8>> {
        let mut writer = Writer::new();
        match *self {
            Self::Text(_, text) => writer.text(text),
            Self::Bool(_, value) => writer.bool(value),
            Self::EmptyArray(_) => writer.array(0),
            Self::Remove(_) | Self::RemoveNulls(..) => return None,
        };
        Some(writer.into_bytes())
    }
}

/// An output frame without its seq: the frame is `before ‖ cbor(seq) ‖ after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsequenced {
    /// Bytes before the number.
    pub before: Bytes,
    /// Bytes after the number.
    pub after: Bytes,
}

impl Unsequenced {
    /// Length with this seq.
    pub fn len_with(&self, seq: u64) -> usize {
        self.before.len().saturating_add(encode_uint(seq).len()).saturating_add(self.after.len())
    }

    /// Appends the whole frame with this seq to `out`.
    pub fn write_with(&self, seq: u64, out: &mut Vec<u8>) {
        out.reserve(self.len_with(seq));
        out.extend_from_slice(&self.before);
        out.extend_from_slice(encode_uint(seq).as_slice());
        out.extend_from_slice(&self.after);
    }

    /// The whole frame.
    pub fn with_seq(&self, seq: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_with(seq, &mut out);
        out
    }
}

/// Cuts `seq` out of a frame's payload and applies `edits`, keeping all other bytes and the
/// canonical order. With no edits this shares `frame` and copies nothing.
///
/// Of several edits of one field the last counts. Unknown fields survive (MSG-3). The caller has
/// had the frame checked by [`crate::Envelope::peek`]: what lies behind the last byte that is needed
/// is not looked at again.
///
/// # Errors
/// The frame is malformed as far as it was read, its payload has no integer `seq`, or an edit names `seq`.
pub fn unsequence(frame: &Bytes, edits: &[Edit<'_>]) -> Result<Unsequenced, Invalid> {
    if edits.is_empty() {
        let (from, to) = find_seq(frame)?;
        // The bounds come from a reader over this frame, so both cuts are inside it.
        return Ok(Unsequenced { before: frame.slice(..from), after: frame.slice(to..) });
    }
    if edits.iter().any(|edit| edit.key() == "seq") {
        return Err(Invalid::new("seq is not to be edited"));
    }
    let (_, mut reader) = read_header(frame)?;
    let header = frame.get(..reader.position()).unwrap_or_default();
    let patched = Patched::read(&mut reader, edits)?;
    reader.expect_end()?;
    let seq_at = patched.seq_at.ok_or(NO_SEQ)?;

    let mut before = Writer::with_capacity(header.len().saturating_add(seq_at).saturating_add(9));
    let body = Bytes::from(patched.body.into_bytes());
    before.raw(header).map(patched.entries).raw(body.get(..seq_at).unwrap_or_default());
    Ok(Unsequenced { before: before.into_bytes().into(), after: body.slice(seq_at..) })
}

/// Where the value of `seq` begins and ends. Looks no further: what follows is copied, not read.
fn find_seq(frame: &[u8]) -> Result<(usize, usize), Invalid> {
    let (_, mut reader) = read_header(frame)?;
    let mut entries = read_payload_head(&mut reader)?;
    while let Some(key) = entries.next_key_bytes(&mut reader)? {
        if key == b"seq" {
            let from = reader.position();
            reader.uint().or(Err(NO_SEQ))?;
            return Ok((from, reader.position()));
        }
        reader.skip_value()?;
    }
    Err(NO_SEQ)
}

/// The entries of a payload after the edits, without the map's head and without the number of seq.
struct Patched {
    body: Writer,
    entries: usize,
    /// Where the number belongs in `body`.
    seq_at: Option<usize>,
}

impl Patched {
    /// Merges two sorted lists: the entries that are there and the edits.
    fn read(reader: &mut Reader<'_>, edits: &[Edit<'_>]) -> Result<Self, Invalid> {
        let edits = sorted(edits);
        let mut edits = edits.iter().peekable();
        let mut patched =
            Self { body: Writer::with_capacity(reader.rest().len()), entries: 0, seq_at: None };
        let mut entries = read_payload_head(reader)?;
        while let Some(key) = entries.next_key(reader)? {
            while let Some(edit) =
                edits.next_if(|edit| sorts_before(edit.key().as_bytes(), key.as_bytes()))
            {
                patched.insert(edit);
            }
            let is_uint = reader.kind() == Some(Kind::Uint);
            let value = reader.value_bytes()?;
            if let Some(edit) = edits.next_if(|edit| edit.key() == key) {
                match *edit {
                    Edit::RemoveNulls(_, field) => patched.push(key, &without_nulls(value, field)?),
                    _ => patched.insert(edit),
                }
            } else if key == "seq" && is_uint {
                patched.push(key, &[]);
                patched.seq_at = Some(patched.body.position());
            } else {
                patched.push(key, value);
            }
        }
        edits.for_each(|edit| patched.insert(edit));
        Ok(patched)
    }

    fn insert(&mut self, edit: &Edit<'_>) {
        if let Some(value) = edit.value() {
            self.push(edit.key(), &value);
        }
    }

    fn push(&mut self, key: &str, value: &[u8]) {
        self.entries = self.entries.saturating_add(1);
        self.body.text(key).raw(value);
    }
}

/// An array of maps without the fields of this name that are null.
fn without_nulls(array: &[u8], field: &str) -> Result<Vec<u8>, Invalid> {
    let mut reader = Reader::new(array);
    let items = reader.array_len()?;
    let mut out = Writer::with_capacity(array.len());
    out.array(items);
    for _ in 0..items {
        let mut kept = Writer::new();
        let mut count = 0_usize;
        let mut entries = reader.map()?;
        while let Some(key) = entries.next_key(&mut reader)? {
            let is_null = reader.is_null();
            let value = reader.value_bytes()?;
            if !(is_null && key == field) {
                kept.text(key).raw(value);
                count = count.saturating_add(1);
            }
        }
        out.map(count).raw(kept.as_bytes());
    }
    Ok(out.into_bytes())
}

/// The edits in canonical order, one per field: the last.
fn sorted<'e, 'a>(edits: &'e [Edit<'a>]) -> Cow<'e, [Edit<'a>]> {
    if edits.is_sorted_by(|left, right| sorts_before(left.key().as_bytes(), right.key().as_bytes()))
    {
        return Cow::Borrowed(edits);
    }
    let mut list: Vec<_> = edits.iter().rev().copied().collect();
    list.sort_by_key(|edit| (edit.key().len(), edit.key()));
    list.dedup_by_key(|edit| edit.key());
    Cow::Owned(list)
}

/// An `#account` frame of our own making.
pub fn account_frame(did: &str, time: &str, active: bool, status: Option<&str>) -> Unsequenced {
    let mut after = Writer::new();
    after.text("time").text(time).text("active").bool(active);
    if let Some(status) = status {
        after.text("status").text(status);
    }
    own_frame("#account", if status.is_some() { 5 } else { 4 }, did, after)
}

/// An `#identity` frame of our own making.
pub fn identity_frame(did: &str, time: &str, handle: Option<&str>) -> Unsequenced {
    let mut after = Writer::new();
    after.text("time").text(time);
    if let Some(handle) = handle {
        after.text("handle").text(handle);
    }
    own_frame("#identity", if handle.is_some() { 4 } else { 3 }, did, after)
}

/// A frame whose payload is `did`, `seq` and then `after`.
fn own_frame(kind: &str, entries: usize, did: &str, after: Writer) -> Unsequenced {
    let mut before = Writer::new();
    write_header(&mut before, kind);
    before.map(entries).text("did").text(did).text("seq");
    Unsequenced { before: before.into_bytes().into(), after: after.into_bytes().into() }
}
