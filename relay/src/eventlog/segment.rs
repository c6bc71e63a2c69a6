//! The bytes of a segment: header, records, footer. Pure.
//!
//! All numbers are little endian. A segment is one file, named `{base:020}.log`:
//!
//! ```text
//! segment  = header record* [footer]          the newest one has no footer yet
//!
//! header     offset size
//!                 0    8  "RELAYLOG"
//!                 8    2  format version, 1
//!                10    1  codec of the records: 0 = plain, 1 = in zstd blocks; see `block`
//!                11    1  length of the instance id
//!                12    4  salt of the checksums below, random per segment
//!                16    8  base: seq of the first record
//!                24    8  previous: last seq before this segment, 0 = none
//!                32    8  created, µs since 1970
//!                40   64  instance id, then zeros
//!               104   20  zeros
//!               124    4  CRC-32 of bytes 0..124
//!
//! record     offset size
//!                 0    4  CRC-32 of bytes 4..length, begun with the salt
//!                 4    4  length of the record, this header included
//!                 8    8  seq; one more than in the record before
//!                16    8  time of appending, µs since 1970; never less than before
//!                24    8  account number
//!                32    8  host seq
//!                40    4  host id
//!                44    4  epoch
//!                48    4  lead: seq minus the newest synced seq when this was written
//!                52    1  kind: 1 #commit, 2 #sync, 3 #identity, 4 #account
//!                53    1  length of the note
//!                54    2  zeros
//!                56    n  note
//!              56+n       output frame, to the end of the record
//!
//! footer   = mark* trailer
//!
//! mark       offset size  one for about every 128 KiB of records, the first at the first record
//!                 0    8  seq of a record
//!                 8    8  its time
//!                16    8  its offset in the file; with a codec, of the block that it begins
//!
//! trailer    offset size  the last 64 bytes of the file
//!                 0    8  "RELAYEND"
//!                 8    8  base
//!                16    8  last seq; the count is last - base + 1
//!                24    8  time of the first record
//!                32    8  time of the last record
//!                40    8  end of the records = offset of the marks
//!                48    4  number of marks
//!                52    4  CRC-32 of the marks, begun with the salt
//!                56    4  zeros
//!                60    4  CRC-32 of bytes 0..60, begun with the salt
//! ```
//!
//! Why a salt: a frame is written by strangers. Without it they could hide bytes in a frame that pass
//! for a record or a trailer when a damaged file is searched. Why `lead`: it proves what had been
//! synced, so that recovery can tell a torn end (to be cut) from lost data (fatal), DESIGN 10.10.
//! With codec 1 there are blocks in the place of the records, and one mark for each (DESIGN 10.11).

use bytes::Bytes;

use super::{Entry, Event};
use crate::domain::{AccountNo, Epoch, EventKind, HostId, HostSeq, Seq};

/// Length of the segment header, where the first record begins.
pub(super) const HEADER: usize = 128;
/// Length of a record without note and frame.
pub(super) const RECORD: usize = 56;
/// Length of the trailer.
pub(super) const TRAILER: usize = 64;
/// Longest record that is believed, so that a damaged length cannot ask for gigabytes. Chosen far
/// above the largest frame that a host may send (5 MiB).
pub(super) const RECORD_BYTES_MAX: usize = 16 << 20;
/// Longest instance id.
pub(super) const INSTANCE_ID_BYTES_MAX: usize = 64;

const MAGIC: &[u8; 8] = b"RELAYLOG";
const END_MAGIC: &[u8; 8] = b"RELAYEND";
const VERSION: u16 = 1;
/// Records as they were written.
pub(super) const CODEC_PLAIN: u8 = 0;
/// Records in zstd blocks, of a sealed segment only.
pub(super) const CODEC_BLOCKS: u8 = 1;

/// File name of the segment that begins with this seq.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.log")
}

/// The seq in a segment's file name, `None` for any other name.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) codec: u8,
    pub(super) salt: u32,
    pub(super) base: u64,
    pub(super) previous: u64,
    pub(super) created_us: u64,
    pub(super) instance_id: String,
}

/// Why bytes are no header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Too short, wrong first bytes or checksum.
    Damaged,
    /// Whole, but of a format or codec that this program does not know.
    Unknown { version: u16, codec: u8 },
}

impl Header {
    /// The bytes; an instance id longer than [`INSTANCE_ID_BYTES_MAX`] is cut, `open` refuses it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let id = self.instance_id.as_bytes();
        let id = id.get(..INSTANCE_ID_BYTES_MAX).unwrap_or(id);
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.push(self.codec);
        out.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&self.salt.to_le_bytes());
        for number in [self.base, self.previous, self.created_us] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(id);
        out.resize(HEADER - 4, 0);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Reads the first [`HEADER`] bytes of a file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let Some((body, sum)) = bytes.get(..HEADER).and_then(<[u8]>::split_last_chunk::<4>) else {
            return Err(HeaderFault::Damaged);
        };
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) || !body.starts_with(MAGIC) {
            return Err(HeaderFault::Damaged);
        }
        let mut fields = Fields(body);
        fields.skip(8);
        let (version, codec) = (fields.u16(), fields.u8());
        if version != VERSION || codec > CODEC_BLOCKS {
            return Err(HeaderFault::Unknown { version, codec });
        }
        let id_length = usize::from(fields.u8());
        let salt = fields.u32();
        let (base, previous, created_us) = (fields.u64(), fields.u64(), fields.u64());
        let instance_id = fields.0.get(..id_length).unwrap_or_default();
        let instance_id = String::from_utf8_lossy(instance_id).into_owned();
        Ok(Self { codec, salt, base, previous, created_us, instance_id })
    }
}

/// The fixed part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Of the whole record.
    pub(super) length: usize,
    pub(super) seq: u64,
    pub(super) time_us: u64,
    /// Newest synced seq when this record was written; below `seq`.
    pub(super) synced: u64,
    account: u64,
    host_seq: u64,
    host: u32,
    epoch: u32,
    kind: EventKind,
    note: usize,
}

/// Result of reading one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole one.
    Whole(Record),
    /// The bytes end before the record does; it takes this many.
    Short(usize),
    /// No record.
    Bad(&'static str),
}

/// Appends the record of `entry` to `out`.
///
/// * `synced` – newest synced seq, below `seq`
pub(super) fn encode_record(
    entry: &Entry,
    (seq, synced): (u64, u64),
    time_us: u64,
    salt: u32,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let lead = u32::try_from(seq.saturating_sub(synced)).unwrap_or(u32::MAX);
    let note = entry.note.get(..usize::from(u8::MAX)).unwrap_or(&entry.note);
    let mut head = [0; RECORD];
    put(&mut head, 8, &seq.to_le_bytes());
    put(&mut head, 16, &time_us.to_le_bytes());
    put(&mut head, 24, &entry.account.0.to_le_bytes());
    put(&mut head, 32, &entry.host_seq.0.to_le_bytes());
    put(&mut head, 40, &entry.host.0.to_le_bytes());
    put(&mut head, 44, &entry.epoch.0.to_le_bytes());
    put(&mut head, 48, &lead.to_le_bytes());
    put(&mut head, 52, &[entry.kind.code(), u8::try_from(note.len()).unwrap_or(u8::MAX)]);
    out.extend_from_slice(&head);
    out.extend_from_slice(note);
    entry.frame.write_with(seq, out);

    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    put(out, start + 4, &length.to_le_bytes());
    let sum = checksum(salt, out.get(start + 4..).unwrap_or_default());
    put(out, start, &sum.to_le_bytes());
}

/// Reads the record at the start of `bytes`; checks everything but that the seq is the expected one.
pub(super) fn parse_record(bytes: &[u8], salt: u32) -> Parsed {
    let parsed = parse_trusted(bytes);
    if let Parsed::Whole(record) = parsed {
        let body = bytes.get(4..record.length).unwrap_or_default();
        if Fields(bytes).u32() != checksum(salt, body) {
            return Parsed::Bad("wrong checksum");
        }
    }
    parsed
}

/// As [`parse_record`] without the checksum, for memory that never left the process.
pub(super) fn parse_trusted(bytes: &[u8]) -> Parsed {
    let Some(head) = bytes.get(..RECORD) else { return Parsed::Short(RECORD) };
    let mut fields = Fields(head);
    fields.skip(4);
    let length = usize::try_from(fields.u32()).unwrap_or(usize::MAX);
    let (seq, time_us) = (fields.u64(), fields.u64());
    let (account, host_seq) = (fields.u64(), fields.u64());
    let (host, epoch, lead) = (fields.u32(), fields.u32(), fields.u32());
    let (kind, note, rest) = (fields.u8(), usize::from(fields.u8()), fields.u16());
    if length < RECORD + note || length > RECORD_BYTES_MAX {
        return Parsed::Bad("impossible length");
    }
    let Some(kind) = EventKind::from_code(kind) else { return Parsed::Bad("unknown kind") };
    let Some(synced) = seq.checked_sub(u64::from(lead)).filter(|_| lead > 0 && rest == 0) else {
        return Parsed::Bad("impossible fields");
    };
    if bytes.len() < length {
        return Parsed::Short(length);
    }
    Parsed::Whole(Record {
        length,
        seq,
        time_us,
        synced,
        account,
        host_seq,
        host,
        epoch,
        kind,
        note,
    })
}

impl Record {
    /// Numbers of account and host.
    pub(super) fn source(&self) -> (u64, u32) {
        (self.account, self.host)
    }

    /// The event of this record, which begins at `at` in `bytes` and shares their memory.
    pub(super) fn event(&self, bytes: &Bytes, at: usize) -> Event {
        let frame_at = at + RECORD + self.note;
        // An empty slice would hold the whole block for nothing.
        let note = if self.note == 0 { Bytes::new() } else { bytes.slice(at + RECORD..frame_at) };
        Event {
            seq: Seq(self.seq),
            time_us: self.time_us,
            kind: self.kind,
            account: AccountNo(self.account),
            host: HostId(self.host),
            epoch: Epoch(self.epoch),
            host_seq: HostSeq(self.host_seq),
            note,
            frame: bytes.slice(frame_at..at + self.length),
        }
    }
}

/// The end of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) base: u64,
    pub(super) last: u64,
    pub(super) first_us: u64,
    pub(super) last_us: u64,
    pub(super) records_end: u64,
    pub(super) marks: u32,
    pub(super) marks_sum: u32,
}

impl Trailer {
    /// The bytes.
    pub(super) fn encode(&self, salt: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER);
        out.extend_from_slice(END_MAGIC);
        for number in [self.base, self.last, self.first_us, self.last_us, self.records_end] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.marks, self.marks_sum, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&checksum(salt, &out).to_le_bytes());
        out
    }

    /// Reads the last [`TRAILER`] bytes of a file; `None` when they are no whole trailer.
    pub(super) fn decode(bytes: &[u8], salt: u32) -> Option<Self> {
        let (body, sum) = bytes.get(..TRAILER)?.split_last_chunk::<4>()?;
        if !body.starts_with(END_MAGIC) || checksum(salt, body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut fields = Fields(body);
        fields.skip(8);
        Some(Self {
            base: fields.u64(),
            last: fields.u64(),
            first_us: fields.u64(),
            last_us: fields.u64(),
            records_end: fields.u64(),
            marks: fields.u32(),
            marks_sum: fields.u32(),
        })
    }
}

/// CRC-32 begun with the salt of the segment.
pub(super) fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// Overwrites bytes that are known to be there.
fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Reads numbers one after the other; past the end they are 0, the callers have checked the length.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((first, rest)) = self.0.split_first_chunk::<N>() else { return [0; N] };
        self.0 = rest;
        *first
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests;
