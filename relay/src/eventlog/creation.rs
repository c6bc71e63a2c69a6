//! Making and sealing files of segments, each step durable before the next one relies on it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    LogError,
    files::{File, Files, has_no_descriptor, is_full, length, read_up_to},
    index::Index,
    segment::{HEADER, Header, TRAILER, Trailer, checksum, file_name},
};
use crate::{
    crash::{self, Point},
    domain::Seq,
};

/// Why the writer cannot go on.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No room on the disk: try again later (OUT-5).
    Full(String),
    /// Anything else: the process must stop (DESIGN 10.9).
    Fatal(String),
}

impl Trouble {
    /// * `what` – as in "cannot {what} {path}: {error}"
    pub(super) fn new(what: &str, path: &Path, error: &io::Error) -> Self {
        let sentence = format!("the event log cannot {what} {}: {error}", path.display());
        if is_full(error) { Self::Full(sentence) } else { Self::Fatal(sentence) }
    }

    /// A failed sync is fatal whatever the reason: what it should have kept may be gone already.
    pub(super) fn sync(path: &Path, error: &io::Error) -> Self {
        Self::Fatal(format!(
            "the event log cannot sync {}: {error}. Events since the last sync are not \
             acknowledged; check the disk, then start again",
            path.display()
        ))
    }
}

impl From<Trouble> for LogError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Fatal(why) => Self::Fatal(why),
            Trouble::Full(why) => Self::Fatal(format!("{why}. Make room, then start again")),
        }
    }
}

/// Bytes of another file that a new segment begins with.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) file: &'a dyn File,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Creates a segment under a temporary name, syncs it, then gives it its name: a name that ends in
/// `.log` always has a whole header. Replaces a segment of the same base.
pub(super) fn create(
    files: &dyn Files,
    dir: &Path,
    header: &Header,
    body: Option<&Body<'_>>,
) -> Result<(PathBuf, Arc<dyn File>), Trouble> {
    let path = dir.join(file_name(header.base));
    let temporary = path.with_extension("tmp");
    let written = write_new(files, &temporary, header, body);
    if let Err(Trouble::Full(_)) = &written
        && let Err(error) = files.remove(&temporary)
    {
        // It is emptied by the next attempt and removed by the next start.
        tracing::debug!(path = %temporary.display(), %error, "a temporary file stays");
    }
    let file = written?;
    crash::at(match body {
        Some(_) => Point::RecoveryBeforeRename,
        None => Point::CreateBeforeRename,
    });
    files.rename(&temporary, &path).map_err(|error| Trouble::new("rename", &temporary, &error))?;
    crash::at(Point::CreateAfterRename);
    match files.sync_dir(dir) {
        Ok(()) => Ok((path, file)),
        // The directory could not even be opened. What now has the name is whole, and is replaced by
        // the next attempt.
        Err(error) if has_no_descriptor(&error) => Err(Trouble::new("sync", dir, &error)),
        Err(error) => Err(Trouble::sync(dir, &error)),
    }
}

fn write_new(
    files: &dyn Files,
    path: &Path,
    header: &Header,
    body: Option<&Body<'_>>,
) -> Result<Arc<dyn File>, Trouble> {
    const COPY_BYTES: u64 = 1 << 20;
    let write = |error: io::Error| Trouble::new("write", path, &error);
    let file = files.create(path).map_err(|error| Trouble::new("create", path, &error))?;
    file.write_all_at(&header.encode(), 0).map_err(write)?;
    if let Some(body) = body {
        let (mut from, mut to) = (body.from, length(HEADER));
        while from < body.to {
            let bytes = usize::try_from((body.to - from).min(COPY_BYTES)).unwrap_or(1);
            let copied = read_up_to(body.file, from, bytes)
                .map_err(|error| Trouble::new("copy to", path, &error))?;
            if copied.is_empty() {
                let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(Trouble::new("copy to", path, &error));
            }
            file.write_all_at(&copied, to).map_err(write)?;
            from += length(copied.len());
            to += length(copied.len());
        }
        crash::at(Point::RecoveryTailCopied);
    }
    file.sync().map_err(|error| Trouble::sync(path, &error))?;
    Ok(file)
}

/// Writes and syncs the footer behind the records; gives the length of the file.
///
/// * `trailer` – with `marks` and `marks_sum` still open; they are filled in
pub(super) fn seal(
    file: &dyn File,
    path: &Path,
    salt: u32,
    trailer: &mut Trailer,
    index: &Index,
) -> Result<u64, Trouble> {
    let mut footer = index.encode();
    trailer.marks = u32::try_from(index.len()).unwrap_or(u32::MAX);
    trailer.marks_sum = checksum(salt, &footer);
    footer.extend(trailer.encode(salt));
    let sealing = |error: io::Error| Trouble::new("seal", path, &error);
    if let Err(error) = file.write_all_at(&footer, trailer.records_end) {
        file.set_len(trailer.records_end).map_err(sealing)?;
        return Err(sealing(error));
    }
    file.sync().map_err(|error| Trouble::sync(path, &error))?;
    Ok(trailer.records_end + length(footer.len()))
}

/// The trailer of a sealed file of this length, `None` when there is no whole one that fits.
pub(super) fn read_trailer(
    file: &dyn File,
    bytes: u64,
    header: &Header,
) -> io::Result<Option<Trailer>> {
    let Some(at) = bytes.checked_sub(length(TRAILER)).filter(|at| *at >= length(HEADER)) else {
        return Ok(None);
    };
    let read = read_up_to(file, at, TRAILER)?;
    Ok(Trailer::decode(&read, header.salt).filter(|trailer| {
        let marks = u64::from(trailer.marks) * length(super::index::MARK);
        trailer.base == header.base
            && (trailer.base..=Seq::MAX.0).contains(&trailer.last)
            && trailer.records_end.checked_add(marks) == Some(at)
    }))
}
