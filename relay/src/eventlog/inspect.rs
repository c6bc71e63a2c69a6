//! What is in the files of a log, read only: for a person who must decide (`relay log verify`).
//!
//! Every record of every file is read and verified; nothing is changed, no lock is taken, so a relay
//! may be running. What follows from the findings is decided in `repair`.

mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::Path,
};

use serde::Serialize;

use self::walk::Item;
pub(super) use self::walk::{Item as WalkItem, Walk};
use super::{
    creation::read_trailer,
    files::{File, Files, read_up_to},
    index::{Index, MARK},
    segment::{HEADER, Header, HeaderFault, Trailer, base_of},
};

/// Hosts that are named for a span; the others are counted.
const HOSTS_NAMED_MAX: usize = 20;

/// What can be wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It cannot be opened or read.
    Unreadable,
    /// Shorter than a header.
    Empty,
    /// The header is damaged: without its salt nothing behind it can be trusted.
    BadHeader,
    /// Of a format or codec of a later version.
    UnknownFormat,
    /// Of another instance than the rest of the log.
    ForeignInstance,
    /// It begins with another seq than its name says.
    Renamed,
    /// No whole trailer, though it is not the newest; made again at the next start.
    BadFooter,
    /// The marks are damaged; costs time only.
    BadIndex,
    /// A damaged record.
    BadRecord,
    /// A damaged compressed block.
    BadBlock,
    /// Synced events at its end are missing.
    CutShort,
    /// Its events are also, or by rights, in another file.
    Duplicate,
    /// The events before it are in no file.
    Gap,
}

/// A finding.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// Byte of the file, where there is one.
    pub offset: u64,
    /// In words.
    pub what: String,
}

/// Events in a row that can be read.
#[derive(Debug, Clone, Serialize)]
pub struct Span {
    /// Seq of the first.
    pub first: u64,
    /// Seq of the last.
    pub last: u64,
    /// Time of the first, µs since 1970.
    pub first_us: u64,
    /// Time of the last.
    pub last_us: u64,
    /// How many accounts they are of.
    pub accounts: usize,
    /// How many hosts they came from.
    pub hosts: usize,
    /// Numbers of those hosts, the first 20 of them.
    pub host_numbers: Vec<u32>,
    #[serde(skip)]
    seen: Seen,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    accounts: BTreeSet<u64>,
    hosts: BTreeSet<u32>,
}

/// A file and what is in it.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Seq of its first record, by the header or else by the name.
    pub base: u64,
    /// Its length.
    pub bytes: u64,
    /// Whether its records are compressed.
    pub compressed: bool,
    /// Whether it has a whole footer.
    pub sealed: bool,
    /// What can be read.
    pub spans: Vec<Span>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Bytes behind the last whole record of the newest file; cut at the next start.
    pub torn_bytes: u64,
    #[serde(skip)]
    pub(super) header: Option<Header>,
    #[serde(skip)]
    pub(super) trailer_last: Option<u64>,
}

impl FileReport {
    fn new(name: &str, base: u64, bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            base,
            bytes,
            compressed: false,
            sealed: false,
            spans: Vec::new(),
            faults: Vec::new(),
            torn_bytes: 0,
            header: None,
            trailer_last: None,
        }
    }

    /// Adds a finding.
    pub(super) fn blame(&mut self, kind: FaultKind, offset: u64, what: impl fmt::Display) {
        self.faults.push(Fault { kind, offset, what: what.to_string() });
    }

    pub(super) fn has(&self, kind: FaultKind) -> bool {
        self.faults.iter().any(|fault| fault.kind == kind)
    }

    /// Last seq before a span of it.
    pub(super) fn before(&self, span: &Span) -> u64 {
        match &self.header {
            Some(header) if span.first == self.base => header.previous,
            _ => span.first.saturating_sub(1),
        }
    }

    /// Highest seq that it is known to have held.
    pub(super) fn known_last(&self) -> u64 {
        let read = self.spans.last().map_or(0, |span| span.last);
        read.max(self.trailer_last.unwrap_or(0)).max(self.base.saturating_sub(1))
    }
}

/// Reads every file that is or calls itself a segment, oldest first.
pub(super) fn inspect(files: &dyn Files, dir: &Path) -> io::Result<Vec<FileReport>> {
    let mut names: Vec<(String, u64)> = files.list(dir)?;
    names.sort();
    let newest = names.iter().filter_map(|(name, _)| base_of(name)).max();
    let mut reports = Vec::new();
    for (name, bytes) in names {
        let mut report = file(files, dir, (&name, bytes), newest);
        if report.as_ref().is_some_and(|report| !report.faults.is_empty()) {
            // A running relay may have replaced or removed it meanwhile.
            let now = files.list(dir)?;
            report = match now.into_iter().find(|(other, _)| *other == name) {
                Some((_, now)) if now != bytes => file(files, dir, (&name, now), newest),
                Some(_) => report,
                None => None,
            };
        }
        reports.extend(report);
    }
    reports.sort_by(|a, b| (a.base, &a.name).cmp(&(b.base, &b.name)));
    check_instances(&mut reports);
    Ok(reports)
}

/// The id that most files have, or the newest of those.
pub(super) fn instance(reports: &[FileReport]) -> Option<String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let ids = || reports.iter().filter_map(|report| Some(&*report.header.as_ref()?.instance_id));
    for id in ids() {
        *count.entry(id).or_default() += 1;
    }
    let most = count.values().max().copied()?;
    ids().rfind(|id| count.get(id) == Some(&most)).map(ToOwned::to_owned)
}

fn check_instances(reports: &mut [FileReport]) {
    let Some(ours) = instance(reports) else { return };
    for report in reports {
        let id = report.header.as_ref().map(|header| header.instance_id.clone());
        if let Some(id) = id.filter(|id| *id != ours) {
            let what = format!("it belongs to instance {id}, the others to {ours}");
            report.blame(FaultKind::ForeignInstance, 40, what);
        }
    }
}

/// One file; `None` when it has nothing to do with the log.
fn file(
    files: &dyn Files,
    dir: &Path,
    (name, bytes): (&str, u64),
    newest: Option<u64>,
) -> Option<FileReport> {
    let named = base_of(name);
    if named.is_none() && [".damaged", ".tmp"].iter().any(|end| name.ends_with(end)) {
        return None;
    }
    let mut report = FileReport::new(name, named.unwrap_or(0), bytes);
    let opened = files.open(&dir.join(name), false);
    let read = opened.and_then(|file| Ok((read_up_to(&*file, 0, HEADER)?, file)));
    let (head, file) = match read {
        Ok(read) => read,
        Err(error) => {
            named?;
            report.blame(FaultKind::Unreadable, 0, format_args!("it cannot be read: {error}"));
            return Some(report);
        }
    };
    let header = match (Header::decode(&head), named) {
        (Ok(header), _) => header,
        (Err(_), None) => return None,
        (Err(HeaderFault::Damaged), _) if head.len() < HEADER => {
            report.blame(FaultKind::Empty, 0, "it is shorter than a header");
            return Some(report);
        }
        (Err(HeaderFault::Damaged), _) => {
            report.blame(FaultKind::BadHeader, 0, "the header is damaged");
            return Some(report);
        }
        (Err(HeaderFault::Unknown { version, codec }), _) => {
            let what = format!("it has format {version} with codec {codec}, of a later version");
            report.blame(FaultKind::UnknownFormat, 8, what);
            return Some(report);
        }
    };
    report.base = header.base;
    if named != Some(header.base) {
        report.blame(FaultKind::Renamed, 24, format_args!("it begins with seq {}", header.base));
    }
    let is_newest = newest == Some(header.base);
    if let Err(error) = read_records(&mut report, &*file, &header, is_newest) {
        report.blame(FaultKind::Unreadable, 0, format_args!("it cannot be read: {error}"));
    }
    report.header = Some(header);
    Some(report)
}

fn read_records(
    report: &mut FileReport,
    file: &dyn File,
    header: &Header,
    is_newest: bool,
) -> io::Result<()> {
    let trailer = read_trailer(file, report.bytes, header)?;
    report.compressed = header.codec != 0;
    report.sealed = trailer.is_some();
    report.trailer_last = trailer.map(|trailer| trailer.last);
    let (marks, end) = match &trailer {
        Some(trailer) => (marks(report, file, header, trailer)?, trailer.records_end),
        None => (Index::default(), report.bytes),
    };
    let mut walk = Walk::new(file, header, end, marks);
    let mut ended_by = None;
    while let Some(item) = walk.next() {
        match item {
            Item::Sound { records, .. } => {
                report.faults.extend(ended_by.take());
                for (_, record) in records {
                    add(&mut report.spans, (record.seq, record.time_us), record.source());
                }
            }
            Item::Fault { offset, in_block, why, suspect } => {
                report.faults.extend(ended_by.take());
                let kind = if in_block { FaultKind::BadBlock } else { FaultKind::BadRecord };
                let of = suspect.map(|record| {
                    let (account, host) = record.source();
                    format!(
                        "; by its damaged words event {} of account {account}, host {host}",
                        record.seq
                    )
                });
                let what = format!("{why}{}", of.unwrap_or_default());
                ended_by = Some(Fault { kind, offset, what });
            }
        }
    }
    for span in &mut report.spans {
        let seen = std::mem::take(&mut span.seen);
        (span.accounts, span.hosts) = (seen.accounts.len(), seen.hosts.len());
        span.host_numbers = seen.hosts.into_iter().take(HOSTS_NAMED_MAX).collect();
    }
    judge_end(report, (header, is_newest), ended_by, end);
    Ok(())
}

/// What the end of the records says: a torn end of the newest file is no damage.
fn judge_end(
    report: &mut FileReport,
    (header, is_newest): (&Header, bool),
    ended_by: Option<Fault>,
    end: u64,
) {
    let read = report.spans.last().map_or(header.base - 1, |span| span.last);
    match report.trailer_last {
        Some(last) => {
            let is_explained = ended_by.is_some();
            report.faults.extend(ended_by);
            if read < last && !is_explained {
                let what = format!("its events end at {read}, by its trailer at {last}");
                report.blame(FaultKind::CutShort, end, what);
            }
        }
        None if is_newest && !report.compressed => {
            report.torn_bytes = ended_by.map_or(0, |fault| end.saturating_sub(fault.offset));
        }
        None => {
            // Whether events are missing, the next file says.
            let offset = ended_by.map_or(end, |fault| fault.offset);
            report.blame(FaultKind::BadFooter, offset, "it has no whole trailer");
        }
    }
}

fn marks(
    report: &mut FileReport,
    file: &dyn File,
    header: &Header,
    trailer: &Trailer,
) -> io::Result<Index> {
    let bytes = usize::try_from(trailer.marks).unwrap_or(0).saturating_mul(MARK);
    let read = read_up_to(file, trailer.records_end, bytes)?;
    let marks = Index::decode(&read, header.salt, trailer.marks_sum);
    if marks.is_none() {
        report.blame(FaultKind::BadIndex, trailer.records_end, "the marks are damaged");
    }
    Ok(marks.unwrap_or_default())
}

/// Adds an event to the last span, or begins another one.
fn add(spans: &mut Vec<Span>, (seq, time_us): (u64, u64), (account, host): (u64, u32)) {
    if spans.last().is_none_or(|last| last.last + 1 != seq) {
        spans.push(Span {
            first: seq,
            last: seq,
            first_us: time_us,
            last_us: time_us,
            accounts: 0,
            hosts: 0,
            host_numbers: Vec::new(),
            seen: Seen::default(),
        });
    }
    if let Some(span) = spans.last_mut() {
        (span.last, span.last_us) = (seq, time_us);
        span.seen.accounts.insert(account);
        span.seen.hosts.insert(host);
    }
}

/// Number of events of spans.
pub(super) fn events(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.last - span.first + 1).sum()
}
