//! Which account has records in which collection, deletions included.
//!
//! ```text
//! eventlog ──► projection ──┐
//!                           ├─ Batch ──► index ──► pages, counts
//! hosts, relays ─► backfill ┘
//! ```
//!
//! `projection` follows our own stream; [`index`] is the embedded store of it. It holds what is known of
//! records alone; whether an account is listed (taken down, inactive, its host away) is asked where the
//! list is made.

pub mod index;
mod projection;

use std::{fs, io, path::Path};

use crate::domain::Seq;
use index::{Index, IndexError, Options};

pub use projection::Projection;

/// Opens the index in `dir`. One that was not made from this event log and database, whose numbers of
/// accounts mean others, is thrown away: all of it can be had again.
///
/// * `history` – id that log and database share
/// * `head` – newest event of the log
///
/// # Errors
/// As [`Index::open`].
pub fn open(
    dir: &Path,
    options: Options,
    (history, head): (&str, Seq),
) -> Result<Index, IndexError> {
    let index = open_any(dir, options)?;
    let Some(position) = index.position() else { return Ok(index) };
    let made_from = index.progress(projection::HISTORY_KEY).unwrap_or_default();
    let is_foreign = made_from != history.as_bytes();
    if !is_foreign && position <= head {
        return Ok(index);
    }
    tracing::error!(
        dir = %dir.display(),
        position = position.0,
        head = head.0,
        is_foreign,
        "the index of collections does not belong to this event log and database: it is thrown away \
         and filled anew"
    );
    drop(index);
    remove(dir).map_err(|error| {
        let dir = dir.display();
        IndexError::Failed(format!("{dir} cannot be removed: {error}; remove it"))
    })?;
    open_any(dir, options)
}

fn open_any(dir: &Path, options: Options) -> Result<Index, IndexError> {
    let (index, loss) = Index::open_or_anew(dir, options)?;
    if let Some(loss) = loss {
        tracing::error!("{loss}");
    }
    Ok(index)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
