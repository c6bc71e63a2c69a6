//! Events in a file, made ahead of time so that making them costs nothing while a relay is measured.
//!
//! All numbers are little endian.
//!
//! | bytes | header |
//! |---|---|
//! | 16 | `simnet frames 1\n` |
//! | 8 | number of events; 0 while the file is being written |
//! | 4 | length of the plan |
//! | … | the [`Plan`] as JSON |
//!
//! | bytes | each event |
//! |---|---|
//! | 4 | length of the frame |
//! | 4, 4 | account, host |
//! | 8 | number on the host's stream |
//! | 1 | kind: commit, sync, identity, account |
//! | 1 | fault: 0 for none, else one above its place in [`crate::COMMIT_FAULTS`] |
//! | 1 | what has to become of it: pass, faulty, stale, foreign |
//! | 1 | unused |
//! | 8, 32 | rev and digest of the commit block |
//! | 8 | digest of the payload that a relay sends |
//! | … | the frame |

use super::{
    Plan,
    event::{Event, Expect, KINDS},
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

const MAGIC: &[u8; 16] = b"simnet frames 1\n";

/// Bytes of an event before its frame.
const HEAD: usize = 72;

/// Longest frame that a file may hold, above what a relay accepts (MSG-1).
const FRAME_BYTES_MAX: u32 = 8_000_000;

/// Longest plan in a header.
const PLAN_BYTES_MAX: u32 = 1 << 16;

const BUFFER_BYTES: usize = 1 << 20;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Events.
    pub events: u64,
    /// Bytes of all frames.
    pub frame_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

/// Writes events to a new file; `progress` is called after every event with what is written.
///
/// # Errors
/// When the file cannot be written, or an event cannot be made.
pub fn write(
    plan: &Plan,
    events: impl Iterator<Item = Result<Event>>,
    path: &Path,
    mut progress: impl FnMut(&Written),
) -> Result<Written> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let header = serde_json::to_vec(plan)?;
    out.write_all(MAGIC)?;
    out.write_all(&0_u64.to_le_bytes())?;
    out.write_all(&u32::try_from(header.len())?.to_le_bytes())?;
    out.write_all(&header)?;
    let mut written = Written { file_bytes: 28 + header.len() as u64, ..Written::default() };
    for event in events {
        let event = event?;
        out.write_all(&head(&event)?)?;
        out.write_all(&event.frame)?;
        written.events += 1;
        written.frame_bytes += event.frame.len() as u64;
        written.file_bytes += (HEAD + event.frame.len()) as u64;
        progress(&written);
    }
    out.seek(SeekFrom::Start(16))?;
    out.write_all(&written.events.to_le_bytes())?;
    out.flush()?;
    Ok(written)
}

fn head(event: &Event) -> Result<[u8; HEAD]> {
    let mut head = [0; HEAD];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        for (to, from) in head.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
        at += bytes.len();
    };
    let kind = KINDS.iter().position(|kind| *kind == event.kind).context("a kind")?;
    let expect = Expect::ALL.iter().position(|expect| *expect == event.expect);
    put(&u32::try_from(event.frame.len())?.to_le_bytes());
    put(&event.account.to_le_bytes());
    put(&event.host.to_le_bytes());
    put(&event.number.to_le_bytes());
    put(&[u8::try_from(kind)?, Event::fault_number(event.fault)]);
    put(&[u8::try_from(expect.context("an expectation")?)?, 0]);
    put(&event.rev.to_le_bytes());
    put(&event.commit);
    put(&event.digest.to_le_bytes());
    Ok(head)
}

/// Reads the events of a file in order.
#[derive(Debug)]
pub struct Reader {
    plan: Plan,
    file: BufReader<File>,
    left: u64,
}

impl Reader {
    /// Opens a finished file.
    ///
    /// # Errors
    /// When it is not a file of frames, or was not finished.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut start = [0; 28];
        file.read_exact(&mut start)?;
        let mut fields = Fields(&start);
        ensure!(fields.take::<16>()? == *MAGIC, "{} is no file of frames", path.display());
        let left = u64::from_le_bytes(fields.take()?);
        ensure!(left > 0, "{} was not finished", path.display());
        let length = u32::from_le_bytes(fields.take()?);
        ensure!(length <= PLAN_BYTES_MAX, "the plan has {length} bytes");
        let mut plan = vec![0; usize::try_from(length)?];
        file.read_exact(&mut plan)?;
        let plan = serde_json::from_slice(&plan).context("the plan of the file")?;
        Ok(Self { plan, file, left })
    }

    /// The plan by which the file was made.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Events left.
    pub fn left(&self) -> u64 {
        self.left
    }

    fn read(&mut self) -> Result<Event> {
        let mut head = [0; HEAD];
        self.file.read_exact(&mut head).context("the file ends inside an event")?;
        let mut fields = Fields(&head);
        let length = u32::from_le_bytes(fields.take()?);
        ensure!(length <= FRAME_BYTES_MAX, "a frame has {length} bytes");
        let account = u32::from_le_bytes(fields.take()?);
        let host = u32::from_le_bytes(fields.take()?);
        let number = u64::from_le_bytes(fields.take()?);
        let [kind, fault, expect, _] = fields.take()?;
        let rev = u64::from_le_bytes(fields.take()?);
        let commit = fields.take()?;
        let digest = u64::from_le_bytes(fields.take()?);
        let mut frame = vec![0; usize::try_from(length)?];
        self.file.read_exact(&mut frame).context("the file ends inside a frame")?;
        Ok(Event {
            account,
            host,
            number,
            kind: KINDS.get(usize::from(kind)).copied().context("an unknown kind")?,
            fault: Event::fault_of(fault),
            expect: Expect::ALL.get(usize::from(expect)).copied().context("what to expect")?,
            rev,
            commit,
            digest,
            frame: Bytes::from(frame),
        })
    }
}

impl Iterator for Reader {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.read())
    }
}

/// Takes fields of fixed length from the front of bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>().context("too short")?;
        self.0 = rest;
        Ok(*field)
    }
}
