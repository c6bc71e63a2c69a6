//! Event stream frames: header, envelope, error and info frames (WS-4, UP-3, section 2.5).

use crate::{Invalid, Kind, Reader, Writer};

/// Bytes of one frame, header and payload (MSG-1).
pub const FRAME_BYTES_MAX: usize = 5_000_000;
/// The protocol keeps integers below 2^53, where every language is exact (ENC-5).
pub(crate) const SEQ_END: u64 = 1 << 53;

/// What a frame is, read from its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// `#commit`
    Commit,
    /// `#sync`
    Sync,
    /// `#identity`
    Identity,
    /// `#account`
    Account,
    /// `#info`
    Info,
    /// `op` -1
    Error,
    /// Unknown `op` or `t`: to be ignored (UP-3), also `#handle`, `#migrate`, `#tombstone`.
    Unknown,
}

/// The least that routing needs; borrows the frame, allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Kind.
    pub kind: FrameKind,
    /// `repo` or `did`; `None` if absent, not text, or another kind.
    pub did: Option<&'a str>,
    /// `seq` if present and an integer in 0..2^53.
    pub host_seq: Option<u64>,
}

impl<'a> Envelope<'a> {
    /// Reads header and the two payload fields, and checks all other bytes to be canonical.
    ///
    /// An error means wrong framing or CBOR, or more than 5,000,000 bytes: the connection is to be
    /// dropped (UP-3, ENC-9). A field that is absent or of a wrong type is no such error; it makes
    /// [`crate::Message::decode`] fail, which costs only the message (MSG-4).
    pub fn peek(frame: &'a [u8]) -> Result<Self, Invalid> {
        let (kind, mut reader) = read_header(frame)?;
        let mut envelope = Self { kind, did: None, host_seq: None };
        if kind == FrameKind::Unknown {
            reader.skip_value()?;
        } else {
            envelope.read_payload(&mut reader)?;
        }
        reader.expect_end()?;
        Ok(envelope)
    }

    fn read_payload(&mut self, reader: &mut Reader<'a>) -> Result<(), Invalid> {
        let did_key = match self.kind {
            FrameKind::Commit => Some(b"repo".as_slice()),
            FrameKind::Sync | FrameKind::Identity | FrameKind::Account => Some(b"did".as_slice()),
            // Not even the empty key.
            FrameKind::Info | FrameKind::Error | FrameKind::Unknown => None,
        };
        let mut entries = read_payload_head(reader)?;
        while let Some(key) = entries.next_key_bytes(reader)? {
            if key == b"seq" && reader.kind() == Some(Kind::Uint) {
                self.host_seq = Some(reader.uint()?).filter(|seq| *seq < SEQ_END);
            } else if Some(key) == did_key && reader.kind() == Some(Kind::Text) {
                self.did = Some(reader.text()?);
            } else {
                reader.skip_value()?;
            }
        }
        Ok(())
    }
}

/// Canonical headers of the messages, the frequent ones first.
const HEADERS: [(&[u8], FrameKind); 4] = [
    (b"\xa2\x61t\x67#commit\x62op\x01", FrameKind::Commit),
    (b"\xa2\x61t\x69#identity\x62op\x01", FrameKind::Identity),
    (b"\xa2\x61t\x68#account\x62op\x01", FrameKind::Account),
    (b"\xa2\x61t\x65#sync\x62op\x01", FrameKind::Sync),
];

/// Reads the header of a frame and gives a reader that stands at the payload.
pub(crate) fn read_header(frame: &[u8]) -> Result<(FrameKind, Reader<'_>), Invalid> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(Invalid::new("a frame exceeds 5,000,000 bytes"));
    }
    let mut reader = Reader::new(frame);
    // A header has one canonical form, so comparing replaces reading (measured: 40 ns a frame).
    for (header, kind) in HEADERS {
        if reader.skip_prefix(header) {
            return Ok((kind, reader));
        }
    }
    let kind = read_unusual_header(&mut reader)?;
    Ok((kind, reader))
}

fn read_unusual_header(reader: &mut Reader<'_>) -> Result<FrameKind, Invalid> {
    if reader.kind() != Some(Kind::Map) {
        return Err(Invalid::new("a frame does not start with a header map"));
    }
    let mut entries = reader.map()?;
    let (mut op, mut name) = (None, None);
    while let Some(key) = entries.next_key_bytes(reader)? {
        match key {
            b"op" => op = Some(reader.int()?),
            b"t" => name = Some(reader.text()?),
            _ => reader.skip_value()?,
        }
    }
    Ok(match (op.ok_or(Invalid::new("a frame header has no op"))?, name) {
        (1, Some("#commit")) => FrameKind::Commit,
        (1, Some("#sync")) => FrameKind::Sync,
        (1, Some("#identity")) => FrameKind::Identity,
        (1, Some("#account")) => FrameKind::Account,
        (1, Some("#info")) => FrameKind::Info,
        (1, None) => return Err(Invalid::new("a frame header with op 1 has no t")),
        (-1, _) => FrameKind::Error,
        _ => FrameKind::Unknown,
    })
}

/// Reads the head of a payload, which is always a map (WS-4).
pub(crate) fn read_payload_head<'a>(
    reader: &mut Reader<'a>,
) -> Result<crate::MapEntries<'a>, Invalid> {
    if reader.kind() != Some(Kind::Map) {
        return Err(Invalid::new("the payload of a frame is not a map"));
    }
    reader.map()
}

/// An error frame: `{op: -1} {error, message?}`.
pub fn error_frame(name: &str, message: Option<&str>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.map(1).text("op").int(-1);
    name_and_message(&mut writer, "error", name, message);
    writer.into_bytes()
}

/// An info frame: `{t: "#info", op: 1} {name, message?}`.
pub fn info_frame(name: &str, message: Option<&str>) -> Vec<u8> {
    let mut writer = Writer::new();
    write_header(&mut writer, "#info");
    name_and_message(&mut writer, "name", name, message);
    writer.into_bytes()
}

/// Writes the header of a message.
pub(crate) fn write_header(writer: &mut Writer, kind: &str) {
    writer.map(2).text("t").text(kind).text("op").int(1);
}

fn name_and_message(writer: &mut Writer, key: &str, name: &str, message: Option<&str>) {
    writer.map(if message.is_some() { 2 } else { 1 }).text(key).text(name);
    if let Some(message) = message {
        writer.text("message").text(message);
    }
}
