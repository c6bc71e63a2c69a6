//! What the index takes at most.

use super::{
    Batch, Change, CollectionNo, IndexError, Options, Outcome, PairState, batch, present,
    support::{Still, mixed},
};
use crate::{
    collections::index::{Index, key},
    domain::AccountNo,
    eventlog::Machine,
};

/// A number or a name that cannot be kept is refused with the whole batch, and the index goes on.
#[test]
fn what_is_too_large_is_refused_as_a_whole() -> Outcome {
    let super::Ground { index, post, like, _dir } = super::ground()?;
    let wrong = [
        present(AccountNo(1 << 40), post, PairState::Proven),
        present(AccountNo(1), CollectionNo(0), PairState::Proven),
        present(AccountNo(1), CollectionNo(u32::MAX), PairState::Proven),
        Change::Replace { account: AccountNo(u64::MAX), collections: vec![post] },
    ];
    for wrong in wrong {
        let right = present(AccountNo(1), like, PairState::Proven);
        let refused = index.apply(&batch(vec![right, wrong.clone()]));
        assert!(matches!(refused, Err(IndexError::Limit(_))), "{wrong:?}: {refused:?}");
    }
    assert_eq!(index.page(like, None, 9)?, []);
    assert!(matches!(index.number(&"x".repeat(318)), Err(IndexError::Limit(_))));
    let large = vec![(vec![1], Some(vec![0; 17 << 20]))];
    let refused = index.apply(&Batch { progress: large, ..Batch::default() });
    assert!(matches!(refused, Err(IndexError::Limit(_))), "{refused:?}");
    let many = vec![Change::Absent { account: AccountNo(1), collection: post }; (1 << 20) + 1];
    assert!(matches!(index.apply(&batch(many)), Err(IndexError::Limit(_))));

    index.apply(&batch(vec![present(AccountNo(1), like, PairState::Proven)]))?;
    assert_eq!(index.page(like, None, 9)?, [(AccountNo(1), PairState::Proven)]);
    Ok(())
}

/// However much is applied, rows in memory stay within the setting, and files stay few.
#[test]
fn memory_and_the_number_of_files_stay_bounded() -> Outcome {
    const MEMORY: u64 = 1 << 20;
    let dir = tempfile::tempdir()?;
    let mut still = Still::open(std::sync::Arc::new(Machine), dir.path(), MEMORY)?;
    let collection = still.index.number("org.example.kind")?;
    for round in 0..200 {
        let account = |place: u64| AccountNo(mixed(round * 1_000 + place) % (1 << 30));
        let changes = (0..1_000).map(|n| present(account(n), collection, PairState::Proven));
        let (applied, upkeep) = still.apply(&batch(changes.collect()));
        applied?;
        assert!(upkeep.is_none());

        let (rows, lists) = still.memory();
        assert!(rows as u64 <= MEMORY / 8 + 18_000, "{rows} bytes of rows");
        assert!(lists as u64 <= MEMORY / 64, "{lists} bytes of lists");
        assert!(still.segments() <= 6, "{} segments", still.segments());
        // The journal, the next one, the manifest.
        assert!(std::fs::read_dir(dir.path())?.count() <= still.segments() + 3);
    }
    assert!(still.segments() > 1);
    assert_eq!(still.index.counts().proven, still.index.count(collection).proven);
    Ok(())
}

/// A list is read while a large batch is applied: the reader gets the state before or after it.
#[test]
fn a_reader_sees_whole_batches_only() -> Outcome {
    let dir = tempfile::tempdir()?;
    let index = Index::open(dir.path(), Options { memory_bytes: 1 << 20 })?;
    let collection = index.number("org.example.kind")?;
    let whole = |state: bool| {
        let changes = (0..5_000).map(AccountNo).map(|account| {
            if state {
                present(account, collection, PairState::Proven)
            } else {
                Change::Absent { account, collection }
            }
        });
        batch(changes.collect())
    };
    std::thread::scope(|scope| -> Outcome {
        let writer = scope.spawn(|| -> Result<(), IndexError> {
            for round in 0..40 {
                index.apply(&whole(round % 2 == 0))?;
            }
            Ok(())
        });
        let mut seen = std::collections::BTreeSet::new();
        while !writer.is_finished() {
            seen.insert(index.page(collection, None, usize::MAX)?.len());
        }
        writer.join().map_err(|_panic| anyhow::anyhow!("the writer panicked"))??;
        assert!(seen.iter().all(|rows| [0, 5_000].contains(rows)), "{seen:?}");
        assert_eq!(seen.len(), 2);
        Ok(())
    })?;
    assert_eq!(collection, CollectionNo(key::FIRST));
    Ok(())
}
