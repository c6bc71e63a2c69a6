//! Opening the log: what a crash left is brought back to a state that is known to be on the disk.
//!
//! Sealed segments are taken by their trailers. The newest segment, if it has none, is read whole:
//!
//! 1. Records that a later record calls synced (`lead`) are on the disk. The others, of the last
//!    batch, may be only in the cache of a machine whose disk refused them: they are copied to a new
//!    file, which is synced and becomes the newest segment (DESIGN 10.9).
//! 2. Then the old file is cut behind the synced records and sealed.
//! 3. What follows the last whole record is cut (OUT-4), unless a record behind it calls synced what
//!    cannot be read: then the disk lost data, which is for a person to see (DESIGN 10.10).
//!
//! Any step may be the last one before the next crash: a segment that is not the newest and has no
//! trailer is sealed where the next one says that it ends.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    LogError, LogOptions,
    creation::{Body, Trouble, create, read_trailer, seal},
    files::{File, Files, length, read_up_to},
    index::{Index, Mark},
    segment::{
        CODEC_BLOCKS, CODEC_PLAIN, HEADER, Header, HeaderFault, INSTANCE_ID_BYTES_MAX, Trailer,
        base_of,
    },
    shared::{Extent, Footer, Marks, Segment},
    tail::{Scan, proof_of_loss, scan, scan_blocks},
};
use crate::crash::{self, Point};

/// The log as it was found and mended.
#[derive(Debug)]
pub(super) struct Recovered {
    /// Oldest first, without a gap; the last one is written.
    pub(super) segments: Vec<Arc<Segment>>,
    /// The last one, open for writing.
    pub(super) file: Arc<dyn File>,
    /// Files set aside now or earlier because they or a newer one were damaged.
    pub(super) set_aside: Vec<(PathBuf, u64)>,
}

/// A file that calls itself a segment.
#[derive(Debug)]
struct Found {
    base: u64,
    path: PathBuf,
    bytes: u64,
    header: Result<Header, HeaderFault>,
}

/// Opens what is in the directory, or begins a new log.
pub(super) fn recover(
    files: &dyn Files,
    options: &LogOptions,
    distance: u64,
    now_us: u64,
) -> Result<Recovered, LogError> {
    let dir = &options.dir;
    if options.instance_id.len() > INSTANCE_ID_BYTES_MAX {
        return Err(LogError::Fatal("the instance id of the event log is too long".to_owned()));
    }
    files.create_dir(dir).map_err(|error| unusable("create the directory", dir, &error))?;
    let (mut found, set_aside) = list(files, dir)?;
    check_instance(&found, options)?;
    let mut recovery = Recovery { files, options, distance, now_us, set_aside };

    let Some(newest) = found.pop() else {
        let header = recovery.new_header(options.initial_seq.0.max(1), 0);
        let (path, file) = create(files, dir, &header, None)?;
        let segment = fresh(&header, path, &file);
        return Ok(Recovered { segments: vec![segment], file, set_aside: recovery.set_aside });
    };
    let Mended { mut segments, file } = recovery.newest(&newest)?;
    // From the newest to the oldest, as far as each ends where the next one begins.
    let mut expected = segments.first().map_or(0, |first| first.previous);
    while let Some(older) = found.pop() {
        match recovery.older(&older, expected)? {
            Older::Whole(segment) => {
                expected = segment.previous;
                segments.insert(0, segment);
            }
            Older::Empty => recovery.remove(&older)?,
            Older::Damaged => {
                found.push(older);
                break;
            }
        }
    }
    for unreachable in found {
        recovery.set_aside(&unreachable)?;
    }
    Ok(Recovered { segments, file, set_aside: recovery.set_aside })
}

/// Segments by base, and files set aside earlier; removes what an interrupted creation left.
#[expect(clippy::type_complexity, reason = "two lists of one directory")]
fn list(files: &dyn Files, dir: &Path) -> Result<(Vec<Found>, Vec<(PathBuf, u64)>), LogError> {
    let (mut found, mut set_aside) = (Vec::new(), Vec::new());
    for (name, bytes) in files.list(dir).map_err(|error| unusable("list", dir, &error))? {
        let path = dir.join(&name);
        if let Some(base) = base_of(&name) {
            let header = files
                .open(&path, false)
                .and_then(|file| read_up_to(&*file, 0, HEADER))
                .map_err(|error| unusable("read", &path, &error))?;
            let header = Header::decode(&header).and_then(|header| {
                // What lies before a segment ends before it begins.
                let is_sound = header.base == base && header.previous < base;
                if is_sound { Ok(header) } else { Err(HeaderFault::Damaged) }
            });
            found.push(Found { base, path, bytes, header });
        } else if name.strip_suffix(".tmp").is_some() {
            files.remove(&path).map_err(|error| unusable("remove", &path, &error))?;
        } else if name.strip_suffix(".damaged").is_some() {
            set_aside.push((path, bytes));
        }
    }
    found.sort_by_key(|segment| segment.base);
    Ok((found, set_aside))
}

/// Refuses logs of others and of later versions before anything is changed (DESIGN 10.18).
fn check_instance(found: &[Found], options: &LogOptions) -> Result<(), LogError> {
    for segment in found {
        match &segment.header {
            Ok(header) if header.instance_id != options.instance_id => {
                return Err(LogError::Fatal(format!(
                    "the event log in {} belongs to instance {}, the database to instance {}: one \
                     of the two was replaced or restored without the other. Set both to where they \
                     belong, or restore both from the same backup",
                    options.dir.display(),
                    header.instance_id,
                    options.instance_id,
                )));
            }
            Err(HeaderFault::Unknown { version, codec }) => {
                return Err(LogError::Fatal(format!(
                    "{} has format {version} with codec {codec}, which this version of the relay \
                     does not know: start the version that wrote it, or a later one",
                    segment.path.display()
                )));
            }
            Ok(_) | Err(HeaderFault::Damaged) => {}
        }
    }
    Ok(())
}

fn unusable(what: &str, path: &Path, error: &io::Error) -> LogError {
    LogError::Fatal(format!(
        "the event log cannot {what} {}: {error}. The relay must be able to read and write there; \
         check owner and mode, and that the disk is mounted",
        path.display()
    ))
}

fn fresh(header: &Header, path: PathBuf, file: &Arc<dyn File>) -> Arc<Segment> {
    let extent = Extent {
        last: header.base - 1,
        first_us: header.created_us,
        last_us: header.created_us,
        records_end: length(HEADER),
        bytes: length(HEADER),
        marks: Marks::Memory(Index::default()),
    };
    let seqs = (header.base, header.previous);
    Arc::new(Segment::new(seqs, header.salt, path, extent, Some(file)))
}

/// What became of the newest segment.
struct Mended {
    /// One or two; the last one is written.
    segments: Vec<Arc<Segment>>,
    /// Of the last one.
    file: Arc<dyn File>,
}

/// What a segment that is not the newest turned out to be.
enum Older {
    Whole(Arc<Segment>),
    /// Made and left without a record.
    Empty,
    Damaged,
}

struct Recovery<'a> {
    files: &'a dyn Files,
    options: &'a LogOptions,
    distance: u64,
    now_us: u64,
    set_aside: Vec<(PathBuf, u64)>,
}

impl Recovery<'_> {
    fn new_header(&self, base: u64, previous: u64) -> Header {
        Header {
            codec: CODEC_PLAIN,
            salt: rand::random(),
            base,
            previous,
            created_us: self.now_us,
            instance_id: self.options.instance_id.clone(),
        }
    }

    /// Mends the newest segment; gives it sealed, if anything of it stays, and the one to write.
    fn newest(&self, found: &Found) -> Result<Mended, LogError> {
        let Ok(header) = &found.header else {
            return Err(LogError::Fatal(format!(
                "{} is damaged at byte 0 (no whole header) and it is the newest part of the event \
                 log: the disk has lost synced data. `relay log repair` says what can be kept; \
                 or restore the log from a backup",
                found.path.display()
            )));
        };
        let file = self
            .files
            .open(&found.path, true)
            .map_err(|error| unusable("open", &found.path, &error))?;
        let unreadable = |error: io::Error| unusable("read", &found.path, &error);
        if let Some(trailer) = read_trailer(&*file, found.bytes, header).map_err(unreadable)? {
            let next = self.new_header(trailer.last + 1, trailer.last);
            let (path, new) = create(self.files, &self.options.dir, &next, None)?;
            let sealed = sealed(header, found, &trailer, found.bytes);
            return Ok(Mended { segments: vec![sealed, fresh(&next, path, &new)], file: new });
        }
        if header.codec == CODEC_BLOCKS {
            // It had its trailer before it had its name.
            return Err(LogError::Fatal(format!(
                "{} is damaged at its end (no whole trailer) and it is the newest part of the event \
                 log: the disk has lost synced data. `relay log repair` says what can be kept; or \
                 restore the log from a backup",
                found.path.display()
            )));
        }
        let scan =
            scan(&*file, header, found.bytes, u64::MAX, self.distance).map_err(unreadable)?;
        let proof = proof_of_loss(&*file, header, found.bytes, &scan).map_err(unreadable)?;
        if let Some(later) = proof {
            return Err(LogError::Fatal(format!(
                "{} is damaged at byte {}: event {} was synced and cannot be read, while event \
                 {later} behind it can. The disk or its file system has lost data. `relay log repair` \
                 says what can be kept; or restore the log from a backup",
                found.path.display(),
                scan.end,
                scan.last + 1,
            )));
        }
        self.copy_tail(found, header, &file, scan)
    }

    /// Steps 1 and 2 of the module's text.
    fn copy_tail(
        &self,
        found: &Found,
        header: &Header,
        file: &Arc<dyn File>,
        mut scan: Scan,
    ) -> Result<Mended, LogError> {
        let stays = scan.synced >= header.base;
        let (base, previous) =
            if stays { (scan.synced + 1, scan.synced) } else { (header.base, header.previous) };
        let next = Header { base, previous, ..header.clone() };
        let body = Body { file: &**file, from: scan.synced_end, to: scan.end };
        let (path, new) = create(self.files, &self.options.dir, &next, Some(&body))?;

        let moved = scan.synced_end - length(HEADER);
        let mut index = Index::default();
        for mark in &scan.unsynced {
            index.note(Mark { offset: mark.offset - moved, ..*mark }, self.distance);
        }
        let records_end = scan.end - moved;
        let extent = Extent {
            last: scan.last.max(base - 1),
            first_us: scan.unsynced.front().map_or(scan.last_us, |mark| mark.time_us),
            last_us: scan.last_us,
            records_end,
            bytes: records_end,
            marks: Marks::Memory(index),
        };
        let segment = Arc::new(Segment::new((base, previous), next.salt, path, extent, Some(&new)));
        if !stays {
            return Ok(Mended { segments: vec![segment], file: new });
        }
        scan.index.cut(scan.synced);
        crash::at(Point::RecoveryBeforeCut);
        let old = seal_at(found, header, &**file, &scan)?;
        Ok(Mended { segments: vec![old, segment], file: new })
    }

    /// Takes an older segment, sealing it if its trailer is missing.
    ///
    /// * `expected` – its last seq, as the next segment says
    fn older(&self, found: &Found, expected: u64) -> Result<Older, LogError> {
        if found.base > expected {
            let is_empty = found.bytes <= length(HEADER);
            return Ok(if is_empty { Older::Empty } else { Older::Damaged });
        }
        let Ok(header) = &found.header else { return Ok(Older::Damaged) };
        let file = self
            .files
            .open(&found.path, true)
            .map_err(|error| unusable("open", &found.path, &error))?;
        let unreadable = |error: io::Error| unusable("read", &found.path, &error);
        match read_trailer(&*file, found.bytes, header).map_err(unreadable)? {
            Some(trailer) if trailer.last == expected => {
                return Ok(Older::Whole(sealed(header, found, &trailer, found.bytes)));
            }
            Some(_) => return Ok(Older::Damaged),
            None => {}
        }
        tracing::info!(path = %found.path.display(), "sealing a part of the event log again");
        let scan = match header.codec {
            CODEC_BLOCKS => scan_blocks(&*file, header, found.bytes, expected),
            _ => scan(&*file, header, found.bytes, expected, self.distance),
        };
        let scan = scan.map_err(unreadable)?;
        if scan.last != expected {
            tracing::error!(path = %found.path.display(), offset = scan.end,
                "a part of the event log is damaged");
            return Ok(Older::Damaged);
        }
        let scan = scan.all_synced();
        Ok(Older::Whole(seal_at(found, header, &*file, &scan)?))
    }

    fn remove(&self, found: &Found) -> Result<(), LogError> {
        self.files
            .remove(&found.path)
            .and_then(|()| self.files.sync_dir(&self.options.dir))
            .map_err(|error| unusable("remove", &found.path, &error))
    }

    /// Renames a segment that can no longer be served, so that a person can look at it.
    fn set_aside(&mut self, found: &Found) -> Result<(), LogError> {
        let to = found.path.with_extension("damaged");
        self.files
            .rename(&found.path, &to)
            .and_then(|()| self.files.sync_dir(&self.options.dir))
            .map_err(|error| unusable("rename", &found.path, &error))?;
        self.set_aside.push((to, found.bytes));
        Ok(())
    }
}

/// Cuts a file behind its synced records and seals it.
fn seal_at(
    found: &Found,
    header: &Header,
    file: &dyn File,
    scan: &Scan,
) -> Result<Arc<Segment>, LogError> {
    file.set_len(scan.synced_end).map_err(|error| Trouble::new("cut", &found.path, &error))?;
    crash::at(Point::RecoveryAfterCut);
    let mut trailer = Trailer {
        base: header.base,
        last: scan.synced,
        first_us: scan.first_us,
        last_us: scan.synced_us,
        records_end: scan.synced_end,
        marks: 0,
        marks_sum: 0,
    };
    let bytes = seal(file, &found.path, header.salt, &mut trailer, &scan.index)?;
    Ok(sealed(header, found, &trailer, bytes))
}

fn sealed(header: &Header, found: &Found, trailer: &Trailer, bytes: u64) -> Arc<Segment> {
    let extent = Extent {
        last: trailer.last,
        first_us: trailer.first_us,
        last_us: trailer.last_us,
        records_end: trailer.records_end,
        bytes,
        marks: Marks::Footer { count: trailer.marks, sum: trailer.marks_sum },
    };
    let seqs = (header.base, header.previous);
    let segment = Segment::new(seqs, header.salt, found.path.clone(), extent, None);
    let footer = Footer {
        records_end: trailer.records_end,
        marks: trailer.marks,
        marks_sum: trailer.marks_sum,
    };
    Arc::new(if header.codec == CODEC_BLOCKS { segment.in_blocks(footer) } else { segment })
}
