//! Files that are not what was written.

use std::{path::Path, sync::Arc};

use super::{
    Outcome,
    support::{Still, TINY, accounts, batch, collections, mixed, model_at, name_all},
};
use crate::{
    collections::index::{Index, IndexError, Options},
    eventlog::sim::Disk,
};

const DIR: &str = "/collections";
const BATCHES: u64 = 60;

/// A disk with segments, and batches that are in the journal only.
fn filled() -> Result<Disk, IndexError> {
    let disk = Disk::new();
    let mut still = Still::open(Arc::new(disk.clone()), Path::new(DIR), TINY)?;
    name_all(&still.index)?;
    for position in 1..=BATCHES {
        let (applied, upkeep) = still.apply(&batch(3, position));
        applied?;
        assert!(upkeep.is_none());
    }
    assert!(still.segments() > 0);
    Ok(disk)
}

/// Everything that can be asked. Answers that were read must be right.
fn read_all(index: &Index) -> Result<(), IndexError> {
    let position = index.position().map_or(0, |position| position.0);
    model_at(3, position).assert_equals(index, &accounts(), &collections())
}

/// DESIGN 10.10 for the index: one flipped bit anywhere gives an error that names the file and what to
/// do, or, at the very end of the journal, an earlier position. Never a wrong list, never a panic.
#[test]
fn a_flipped_bit_is_found() -> Outcome {
    let whole = filled()?;
    let paths = whole.paths();
    let (mut found, mut earlier) = (0, 0);
    for flip in 0..400 {
        let dice = mixed(flip);
        let path = &paths[usize::try_from(dice >> 8)? % paths.len()];
        let disk = Disk::new();
        for path in &paths {
            disk.put(path, whole.content(path));
        }
        disk.tamper(path, |bytes| {
            let place = usize::try_from(dice >> 20).unwrap_or_default() % (bytes.len() * 8);
            bytes[place / 8] ^= 1 << (place % 8);
        });
        let opened = Still::open(Arc::new(disk), Path::new(DIR), TINY);
        let outcome = opened.and_then(|still| {
            read_all(&still.index)?;
            Ok(still.index.position())
        });
        match outcome {
            Ok(position) => {
                assert!(path.to_string_lossy().contains("journal"), "{path:?} at {position:?}");
                earlier += 1;
            }
            Err(IndexError::Damaged(why)) => {
                assert!(why.contains(&*path.to_string_lossy()), "{why}, not {path:?}");
                assert!(why.contains("move the directory away"), "{why}");
                found += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(found > 300 && earlier > 0, "{found} found, {earlier} earlier");
    Ok(())
}

/// A file that somebody removed is missed, not taken for an empty index.
#[test]
fn a_missing_file_is_found() -> Outcome {
    let whole = filled()?;
    let paths = whole.paths();
    for missing in &paths {
        let disk = Disk::new();
        for path in paths.iter().filter(|path| *path != missing) {
            disk.put(path, whole.content(path));
        }
        let opened = Still::open(Arc::new(disk), Path::new(DIR), TINY).map(|_| ());
        assert!(matches!(opened, Err(IndexError::Damaged(_))), "without {missing:?}: {opened:?}");
    }
    Ok(())
}

/// A copy that was taken while the journal grew, cut at any byte, opens at the last whole batch.
#[test]
fn a_copy_of_the_directory_opens_at_its_last_whole_batch() -> Outcome {
    let whole = filled()?;
    let paths = whole.paths();
    let journal = paths.iter().rfind(|path| path.to_string_lossy().contains("journal"));
    let journal = journal.ok_or_else(|| anyhow::anyhow!("there is no journal"))?;
    let bytes = whole.content(journal).len();
    let mut positions = std::collections::BTreeSet::new();
    for length in (0..=bytes).rev().step_by((bytes / 150).max(1)) {
        let disk = Disk::new();
        for path in &paths {
            disk.put(path, whole.content(path));
        }
        disk.tamper(journal, |bytes| bytes.truncate(length));
        let still = Still::open(Arc::new(disk), Path::new(DIR), TINY)?;
        read_all(&still.index)?;
        positions.extend(still.index.position());
    }
    assert!(positions.len() > 2 && positions.last().is_some_and(|last| last.0 == BATCHES));
    Ok(())
}

/// A disk that cannot read a file any more is told apart from a slow one: by an error at once.
#[test]
fn an_unreadable_file_is_told() -> Outcome {
    let disk = filled()?;
    let still = Still::open(Arc::new(disk.clone()), Path::new(DIR), TINY)?;
    for path in disk.paths() {
        disk.make_unreadable(&path);
    }
    let page = still.index.page(collections()[0], None, 10);
    assert!(matches!(&page, Err(IndexError::Damaged(why)) if why.contains("cannot be read")));
    Ok(())
}

/// A damaged index does not keep a relay from starting: it is kept aside for who wants to look, and an
/// empty one is there to be filled. Twice in a row is more than chance, and a person has to look.
#[test]
fn a_damaged_index_is_set_aside_once() -> Outcome {
    let parent = tempfile::tempdir()?;
    let dir = parent.path().join("collections");
    let options = Options { memory_bytes: TINY };
    for is_first in [true, false] {
        let (index, loss) = Index::open_or_anew(&dir, options)?;
        assert_eq!(loss, None);
        name_all(&index)?;
        index.apply(&batch(3, 1))?;
        drop(index);
        std::fs::write(dir.join("manifest"), "rubbish")?;

        let opened = Index::open_or_anew(&dir, options);

        if is_first {
            let (index, loss) = opened?;
            assert!(loss.is_some_and(|loss| loss.contains("collections.damaged")));
            assert_eq!(index.position(), None);
            assert!(parent.path().join("collections.damaged/manifest").exists());
        } else {
            assert!(matches!(opened, Err(IndexError::Damaged(_))), "{opened:?}");
        }
    }
    Ok(())
}
