//! What the index promises to those that fill and read it.

mod crash;
mod damage;
mod kill;
mod limits;
mod model;
mod random;
mod support;

use super::*;

type Outcome = anyhow::Result<()>;

const ALICE: AccountNo = AccountNo(7);
const BOB: AccountNo = AccountNo(9);

struct Ground {
    index: Index,
    post: CollectionNo,
    like: CollectionNo,
    _dir: tempfile::TempDir,
}

fn ground() -> anyhow::Result<Ground> {
    let dir = tempfile::tempdir()?;
    let index = Index::open(dir.path(), Options { memory_bytes: 16 << 20 })?;
    let post = index.number("app.bsky.feed.post")?;
    let like = index.number("app.bsky.feed.like")?;
    Ok(Ground { index, post, like, _dir: dir })
}

fn present(account: AccountNo, collection: CollectionNo, state: PairState) -> Change {
    Change::Present { account, collection, state }
}

fn batch(changes: Vec<Change>) -> Batch {
    Batch { changes, ..Batch::default() }
}

/// A list that somebody else made neither lowers what a commit has proven, nor brings back what an
/// account no longer has.
#[test]
fn an_imported_pair_never_beats_a_proof() -> Outcome {
    let Ground { index, post, like, _dir } = ground()?;
    index.apply(&batch(vec![
        present(ALICE, post, PairState::Proven),
        Change::Mark { account: ALICE, whole: Whole::Complete },
        present(BOB, post, PairState::Proven),
    ]))?;

    index.apply(&batch(vec![
        present(ALICE, like, PairState::Believed),
        present(BOB, post, PairState::Believed),
        present(BOB, like, PairState::Believed),
    ]))?;

    assert_eq!(index.of_account(ALICE)?, (Whole::Complete, vec![(post, PairState::Proven)]));
    let bob = vec![(post, PairState::Proven), (like, PairState::Believed)];
    assert_eq!(index.of_account(BOB)?, (Whole::Unmarked, bob));
    assert_eq!(index.count(like), CollectionCount { proven: 0, believed: 1 });
    Ok(())
}

/// An account that is deleted leaves every list, and one that comes back is listed again, also when
/// both stand in one batch.
#[test]
fn changes_of_one_batch_are_applied_in_their_order() -> Outcome {
    let Ground { index, post, like, _dir } = ground()?;
    index.apply(&batch(vec![present(ALICE, post, PairState::Proven)]))?;

    index.apply(&batch(vec![
        present(ALICE, like, PairState::Proven),
        Change::Mark { account: ALICE, whole: Whole::Gone },
        present(ALICE, like, PairState::Believed),
        Change::Mark { account: ALICE, whole: Whole::Unsure(Doubt::Sync) },
        present(ALICE, like, PairState::Believed),
        Change::Replace { account: BOB, collections: vec![like, post] },
        Change::Absent { account: BOB, collection: post },
    ]))?;

    assert_eq!(index.page(post, None, 10)?, []);
    let liked = [(ALICE, PairState::Believed), (BOB, PairState::Proven)];
    assert_eq!(index.page(like, None, 10)?, liked);
    assert_eq!(index.page(like, Some(ALICE), 10)?, liked[1..]);
    assert_eq!(index.page(like, None, 1)?, liked[..1]);
    assert_eq!(index.unsure(None, 10)?, [(ALICE, Doubt::Sync)]);
    let counts = index.counts();
    assert_eq!((counts.proven, counts.believed), (1, 1));
    assert_eq!((counts.complete, counts.unsure, counts.gone), (1, 1, 0));
    Ok(())
}

/// How many accounts are unsure is known for each reason, also by the next process, which reads the marks
/// from files of which none holds the sums; who is only believed or not active is not uncertain.
#[test]
fn unsure_accounts_are_counted_by_their_reasons() -> Outcome {
    let dir = tempfile::tempdir()?;
    let options = Options { memory_bytes: 16 << 20 };
    let index = Index::open(dir.path(), options)?;
    let mark =
        |account, doubt| Change::Mark { account: AccountNo(account), whole: Whole::Unsure(doubt) };
    let all = Doubt::ALL.into_iter().zip(1..);
    let marks = all.flat_map(|(doubt, many)| (0..many).map(move |n| mark(many * 100 + n, doubt)));
    index.apply(&batch(marks.collect()))?;
    let complete = Change::Mark { account: ALICE, whole: Whole::Complete };
    index.apply(&batch(vec![complete, mark(100, Doubt::Sync)]))?;
    drop(index);

    for _ in 0..2 {
        // First from the journal, then from a segment.
        let counts = Index::open(dir.path(), options)?.counts();
        let expected = [0, 2, 4, 4, 5, 6, 7, 8, 9];
        assert_eq!(counts.doubts, expected, "{:?}", Doubt::ALL);
        assert_eq!(counts.doubted(Doubt::Sync), 4);
        assert_eq!((counts.unsure, counts.uncertain(), counts.to_ask()), (45, 32, 38));
        assert_eq!(counts.listable(), 39);
    }
    Ok(())
}

/// Who fills the index finds its notes again, and collections come by their names.
#[test]
fn notes_and_collections_are_listed_in_order() -> Outcome {
    let Ground { index, post, like, _dir } = ground()?;
    let note = |key: &str| (key.as_bytes().to_vec(), Some(b"1".to_vec()));
    let notes = vec![note("host/b"), note("host/a"), note("other")];
    index.apply(&Batch { position: Some(Seq(5)), changes: Vec::new(), progress: notes })?;
    index.apply(&Batch { progress: vec![(b"host/b".to_vec(), None)], ..Batch::default() })?;

    assert_eq!(index.position(), Some(Seq(5)));
    assert_eq!(index.progress(b"other"), Some(b"1".to_vec()));
    assert_eq!(index.progresses(b"host/", None, 9), [(b"host/a".to_vec(), b"1".to_vec())]);
    let names = |prefix, after| -> Vec<CollectionNo> {
        index.collections(prefix, after, 9).into_iter().map(|known| known.number).collect()
    };
    assert_eq!(names("app.bsky.", None), [like, post]);
    assert_eq!(names("app.bsky.", Some("app.bsky.feed.like")), [post]);
    assert_eq!(names("app.bsky.graph", None), []);
    assert_eq!(index.find("app.bsky.feed.post"), Some(post));
    assert_eq!(index.find("app.bsky.graph.block"), None);
    assert_eq!(index.nsid(like).as_deref(), Some("app.bsky.feed.like"));
    Ok(())
}

/// What a host said of an account counts only if nothing came of it meanwhile.
#[test]
fn a_batch_for_another_position_is_not_applied() -> Outcome {
    let Ground { index, post, .. } = &ground()?;
    let answer = batch(vec![Change::Replace { account: ALICE, collections: vec![*post] }]);
    index.apply(&Batch { position: Some(Seq(7)), ..Batch::default() })?;

    assert!(!index.apply_at(None, &answer)?);
    assert!(!index.apply_at(Some(Seq(6)), &answer)?);
    assert_eq!(index.page(*post, None, 9)?, []);
    assert!(index.apply_at(Some(Seq(7)), &answer)?);
    assert_eq!(index.page(*post, None, 9)?, [(ALICE, PairState::Proven)]);
    assert_eq!(index.position(), Some(Seq(7)));
    Ok(())
}
