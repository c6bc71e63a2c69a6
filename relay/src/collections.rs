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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collections::index::{Batch, Change, PairState},
        domain::AccountNo,
    };

    const OPTIONS: Options = Options { memory_bytes: 16 << 20 };

    /// An index that was made from this history, and holds events up to 500.
    fn filled(dir: &Path) -> Result<(), IndexError> {
        let index = open(dir, OPTIONS, ("here", Seq(500)))?;
        let collection = index.number("com.example.one")?;
        let (account, state) = (AccountNo(1), PairState::Proven);
        index.apply(&Batch {
            position: Some(Seq(500)),
            changes: vec![Change::Present { account, collection, state }],
            progress: vec![(projection::HISTORY_KEY.to_vec(), Some(b"here".to_vec()))],
        })
    }

    /// Numbers of accounts mean what this database says, and nothing is known that this log does not
    /// hold: any other index is thrown away, with its names, and can be filled at once.
    #[test]
    fn an_index_of_another_history_or_ahead_of_the_log_is_thrown_away() {
        for (history, head, is_kept) in [
            ("here", 500, true),
            ("here", 9_000, true),
            ("here", 499, false),
            ("there", 500, false),
        ] {
            let parent = tempfile::tempdir().unwrap();
            let dir = parent.path().join("collections");
            filled(&dir).unwrap();

            let index = open(&dir, OPTIONS, (history, Seq(head))).unwrap();

            assert_eq!(index.position(), is_kept.then_some(Seq(500)), "{history} {head}");
            assert_eq!(index.counts().proven, u64::from(is_kept));
            assert_eq!(index.find("com.example.one").is_some(), is_kept);
            assert_eq!(index.progress(projection::HISTORY_KEY).is_some(), is_kept);
            index.apply(&Batch { position: Some(Seq(600)), ..Batch::default() }).unwrap();
        }
    }

    /// One that was begun and holds nothing yet belongs to whoever opens it.
    #[test]
    fn an_empty_index_is_nobodys() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("collections");
        for history in ["here", "there"] {
            let index = open(&dir, OPTIONS, (history, Seq(0))).unwrap();
            assert_eq!((index.position(), index.stopped()), (None, None));
        }
    }
}
