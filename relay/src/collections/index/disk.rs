//! Words for what a disk does, and the few reads and writes that all files here share.

use std::{io, path::Path};

use super::IndexError;
use crate::eventlog::File;

/// A length in memory as one in a file.
pub(super) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Exactly so many bytes from an offset.
pub(super) fn read(file: &dyn File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    read_into(file, offset, bytes, &mut buffer)?;
    Ok(buffer)
}

/// The same into a buffer, which then holds nothing else.
pub(super) fn read_into(
    file: &dyn File,
    offset: u64,
    bytes: usize,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    buffer.resize(bytes, 0);
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + length(filled)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                buffer.clear();
                return Err(error);
            }
        }
    }
    if filled < bytes {
        buffer.clear();
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A file of the index is not what was written.
pub(super) fn damaged(path: &Path, what: &str) -> IndexError {
    IndexError::Damaged(format!(
        "the index of collections is damaged: {}: {what}. Look at the disk; move the directory away to \
         begin anew from the event log and the hosts",
        path.display()
    ))
}

/// A file of the index cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> IndexError {
    damaged(path, &format!("it cannot be read: {error}"))
}

/// A write failed.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> IndexError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if full || has_no_descriptor(error) {
        return no_room(path, error);
    }
    IndexError::Failed(format!(
        "the index of collections cannot write {}: {error}; look at the disk, then restart",
        path.display()
    ))
}

fn no_room(path: &Path, error: &io::Error) -> IndexError {
    IndexError::Full(format!(
        "the index of collections cannot write {}: {error}; it goes on when there is room",
        path.display()
    ))
}

/// True when nothing was attempted, because too many files are open.
fn has_no_descriptor(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|no| error.raw_os_error() == Some(no.raw_os_error()))
}

/// A sync failed: what is on the disk is not known, and another sync would not tell.
pub(super) fn unsynced(path: &Path, error: &io::Error) -> IndexError {
    if has_no_descriptor(error) {
        return no_room(path, error);
    }
    IndexError::Failed(format!(
        "the index of collections cannot sync {}: {error}; look at the disk, then restart",
        path.display()
    ))
}
