//! What a disk really does: synced appends as the event log makes them, and bytes in a row.
//!
//! Both are bounded in bytes and in time, on a file without a name that vanishes with the process.

use std::{
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use crate::moment;

/// Bytes of one append: an event of the real network with its record header.
const APPEND_BYTES: usize = 5_000;
const APPENDS_MAX: u64 = 500;
const SYNCING_MAX: Duration = Duration::from_secs(1);
const BLOCK_BYTES: usize = 1 << 20;
const WRITING_BYTES_MAX: u64 = 256 << 20;
const WRITING_MAX: Duration = Duration::from_secs(2);
/// A disk that is nearly full is not filled by measuring it.
const SHARE_OF_FREE: u64 = 20;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    pub(super) syncs_per_s: u64,
    pub(super) write_bytes_per_s: u64,
}

/// Measures in this directory. Blocks for some three seconds.
pub(super) fn measure(dir: &Path, free_bytes: u64) -> io::Result<Speed> {
    let mut file = tempfile::tempfile_in(dir)?;
    let block = noise();
    let syncs_per_s = syncs(&mut file, &block)?;
    let bytes_max = WRITING_BYTES_MAX.min(free_bytes / SHARE_OF_FREE);
    let (mut written, began) = (0, moment::timer());
    while written < bytes_max && began.elapsed() < WRITING_MAX {
        file.write_all(&block)?;
        written += BLOCK_BYTES as u64;
    }
    // Only what has reached the disk counts.
    file.sync_data()?;
    Ok(Speed { syncs_per_s, write_bytes_per_s: per_second(written, began.elapsed()) })
}

fn syncs(file: &mut std::fs::File, block: &[u8]) -> io::Result<u64> {
    let append = block.get(..APPEND_BYTES).unwrap_or(block);
    let (mut count, began) = (0, moment::timer());
    while count < APPENDS_MAX && began.elapsed() < SYNCING_MAX {
        file.write_all(append)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(per_second(count, began.elapsed()))
}

fn per_second(count: u64, took: Duration) -> u64 {
    let micros = took.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// Bytes that neither a file system nor a disk can compress.
fn noise() -> Vec<u8> {
    std::iter::repeat_with(rand::random::<[u8; 8]>).take(BLOCK_BYTES / 8).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measuring leaves nothing behind, and what it says has happened.
    #[test]
    fn measuring_leaves_the_directory_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let speed = measure(dir.path(), 40 << 20).unwrap();
        assert!(speed.syncs_per_s > 0 && speed.write_bytes_per_s > 0, "{speed:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        assert!(measure(Path::new("/proc"), 1 << 30).is_err());
    }
}
