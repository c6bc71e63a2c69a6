//! Doing what the plan says, each step durable before the next. A crash between two leaves a log of
//! which `repair` makes the same: what is set aside was copied or is not needed before.

use std::{io, path::Path, sync::Arc};

use super::{LogReport, Step};
use crate::eventlog::{
    LogError,
    creation::{create, read_trailer, seal},
    files::{File, Files, length, read_up_to},
    index::{Index, Mark},
    inspect::{Walk, WalkItem},
    segment::{CODEC_PLAIN, HEADER, Header, Trailer, file_name},
};

/// Bytes of records between two marks of a file that is written again.
const DISTANCE: u64 = crate::eventlog::index::DISTANCE;
/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Takes all steps of the plan.
///
/// * `now_us` – for the header of a new file
pub(in crate::eventlog) fn act(
    files: &dyn Files,
    dir: &Path,
    report: &LogReport,
    now_us: u64,
) -> Result<(), LogError> {
    for step in &report.steps {
        let done = match step {
            Step::Rename { name, to } => rename(files, dir, (name, to)),
            Step::SetAside { name } => {
                free_name(files, dir, name).and_then(|to| rename(files, dir, (name, &to)))
            }
            Step::Salvage { name, first, last, previous } => {
                salvage(files, dir, name, (*first, *last, *previous))?;
                Ok(())
            }
            Step::Begin { base, instance } => {
                let header = Header {
                    codec: CODEC_PLAIN,
                    salt: rand::random(),
                    base: *base,
                    previous: base - 1,
                    created_us: now_us,
                    instance_id: instance.clone(),
                };
                create(files, dir, &header, None)?;
                Ok(())
            }
        };
        done.map_err(|error| failed(dir, &error))?;
    }
    Ok(())
}

fn failed(dir: &Path, error: &io::Error) -> LogError {
    LogError::Fatal(format!(
        "the log in {} could not be repaired: {error}. What was done so far is sound; say `relay \
         log repair` again when the reason is gone",
        dir.display()
    ))
}

fn rename(files: &dyn Files, dir: &Path, (name, to): (&str, &str)) -> io::Result<()> {
    files.rename(&dir.join(name), &dir.join(to))?;
    files.sync_dir(dir)
}

/// A name for a damaged file that no other has.
fn free_name(files: &dyn Files, dir: &Path, name: &str) -> io::Result<String> {
    let taken: Vec<String> = files.list(dir)?.into_iter().map(|(name, _)| name).collect();
    let stem = name.strip_suffix(".log").unwrap_or(name);
    let names = (0..).map(|number| match number {
        0 => format!("{stem}.damaged"),
        _ => format!("{stem}.{number}.damaged"),
    });
    let mut free = names.filter(|name| !taken.contains(name));
    free.next().ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

/// Writes events of a damaged file into a sound one and sets the damaged one aside.
fn salvage(
    files: &dyn Files,
    dir: &Path,
    name: &str,
    (first, last, previous): (u64, u64, u64),
) -> Result<(), LogError> {
    let wrong = |error: io::Error| failed(dir, &error);
    let aside = free_name(files, dir, name).map_err(wrong)?;
    let source = files.open(&dir.join(name), false).map_err(wrong)?;
    let bytes = files.list(dir).map_err(wrong)?;
    let bytes = bytes.into_iter().find(|(other, _)| other == name).map_or(0, |(_, bytes)| bytes);
    let right = file_name(first);
    let temporary = dir.join(&right).with_extension("tmp");
    let target = files.create(&temporary).map_err(wrong)?;
    let seqs = (first, last, previous);
    let (header, mut trailer, index) = copy(&*source, bytes, &*target, seqs).map_err(wrong)?;
    seal(&*target, &temporary, header.salt, &mut trailer, &index)?;
    if right == name {
        // The name changes hands at one blow, so the damaged bytes are copied before.
        keep(files, &source, &dir.join(&aside), bytes).map_err(wrong)?;
        files.sync_dir(dir).map_err(wrong)?;
        files.rename(&temporary, &dir.join(&right)).map_err(wrong)?;
        return files.sync_dir(dir).map_err(wrong);
    }
    files.rename(&temporary, &dir.join(&right)).map_err(wrong)?;
    files.sync_dir(dir).map_err(wrong)?;
    rename(files, dir, (name, &aside)).map_err(wrong)
}

fn keep(files: &dyn Files, source: &Arc<dyn File>, to: &Path, bytes: u64) -> io::Result<()> {
    let target = files.create(to)?;
    let mut at = 0;
    while at < bytes {
        let some = match read_up_to(&**source, at, COPY_BYTES) {
            Ok(some) if !some.is_empty() => some,
            // A part that the disk no longer gives cannot be kept; the rest is.
            Ok(_) | Err(_) => vec![0; COPY_BYTES.min(usize::try_from(bytes - at).unwrap_or(1))],
        };
        target.write_all_at(&some, at)?;
        at += length(some.len());
    }
    target.sync()
}

/// Header and the events `first..=last`, byte for byte.
fn copy(
    source: &dyn File,
    bytes: u64,
    target: &dyn File,
    (first, last, previous): (u64, u64, u64),
) -> io::Result<(Header, Trailer, Index)> {
    let head = read_up_to(source, 0, HEADER)?;
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let old = Header::decode(&head).map_err(|_fault| invalid("the header has changed"))?;
    let end = read_trailer(source, bytes, &old)?.map_or(bytes, |trailer| trailer.records_end);
    let header = Header { codec: CODEC_PLAIN, base: first, previous, ..old.clone() };
    target.write_all_at(&header.encode(), 0)?;
    let (mut to, mut index, mut next) = (length(HEADER), Index::default(), first);
    let (mut first_us, mut last_us) = (0, 0);
    let mut walk = Walk::new(source, &old, end, Index::default());
    while let Some(item) = walk.next() {
        let WalkItem::Sound { bytes, records } = item else { continue };
        for (at, record) in records {
            if record.seq != next || next > last {
                continue;
            }
            let whole = bytes.get(at..at + record.length).unwrap_or_default();
            target.write_all_at(whole, to)?;
            index.note(Mark { seq: next, time_us: record.time_us, offset: to }, DISTANCE);
            first_us = if next == first { record.time_us } else { first_us };
            (last_us, to, next) = (record.time_us, to + length(record.length), next + 1);
        }
    }
    if next != last + 1 {
        return Err(invalid("the file has changed since it was looked at"));
    }
    let trailer =
        Trailer { base: first, last, first_us, last_us, records_end: to, marks: 0, marks_sum: 0 };
    Ok((header, trailer, index))
}
