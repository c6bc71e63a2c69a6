//! What the proof of a commit shows of the account's collections.

use std::collections::{BTreeMap, BTreeSet};

use relay_protocol::{Inversion, OpAction};
use relay_simnet::{block::cid_of_nothing, mst::Tree};

use crate::change::{Change, OwnedOp, tree_of};

fn collection(path: &str) -> &str {
    path.split_once('/').unwrap().0
}

/// The true collections of one repository beside those that its commits have shown since its first.
#[derive(Debug, Default)]
pub(crate) struct Known {
    records: BTreeMap<String, u64>,
    learned: BTreeSet<String>,
    emptied: usize,
    kept: usize,
    whole: usize,
}

impl Known {
    /// Takes a commit that is right.
    pub(crate) fn follow(&mut self, change: &Change, undone: usize) {
        for op in &change.ops {
            let records = self.records.entry(collection(&op.path).to_owned()).or_default();
            match op.action {
                OpAction::Create => *records += 1,
                OpAction::Delete => *records -= 1,
                OpAction::Update => {}
            }
        }
        self.records.retain(|_, records| *records > 0);
        let (inversion, (present, absent, whole)) = change.learn(|learned| {
            let owned = |name: &str| name.to_owned();
            let present: Vec<_> = learned.present().map(owned).collect();
            let absent: Vec<_> = learned.absent().map(owned).collect();
            (present, absent, learned.is_whole())
        });
        assert_eq!(inversion, Inversion::Ok, "after {undone} operations");
        assert!(present.is_sorted_by(|one, next| one < next), "after {undone}: {present:?}");
        assert!(absent.is_sorted_by(|one, next| one < next), "after {undone}: {absent:?}");
        for op in &change.ops {
            let name = collection(&op.path).to_owned();
            let is_there = self.records.contains_key(&name);
            let shown = (present.contains(&name), absent.contains(&name));
            assert_eq!(shown, (is_there, !is_there), "after {undone} operations: {op:?}");
            if op.action == OpAction::Delete {
                self.kept += usize::from(is_there);
            }
        }
        self.emptied += absent.len();
        for name in &absent {
            self.learned.remove(name);
        }
        if whole {
            self.whole += 1;
            assert!(present.iter().eq(self.records.keys()), "after {undone}: {present:?}");
        }
        self.learned.extend(present);
        assert!(self.learned.iter().eq(self.records.keys()), "after {undone} operations");
    }

    /// That all kinds of facts were met.
    ///
    /// * `sparse` – a collection has a record or two, so that it is often emptied
    pub(crate) fn check_variety(&self, sparse: bool) {
        let Self { emptied, kept, whole, .. } = self;
        let often = if sparse { *emptied } else { *kept };
        assert!(often > 20 && *whole > 0, "{emptied} emptied, {kept} kept, {whole} whole");
    }
}

/// Changes a tree of these keys and gives `(present, absent)` of each proof, the least and the whole.
fn shown(keys: &[&str], changes: &[(OpAction, &str)]) -> [(Vec<String>, Vec<String>, bool); 2] {
    let before = tree_of(keys.iter().copied());
    let mut after = before.clone();
    let ops: Vec<OwnedOp> = changes
        .iter()
        .map(|(action, path)| match action {
            OpAction::Create => {
                after.insert(*path, cid_of_nothing(99));
                OwnedOp::create(path, cid_of_nothing(99))
            }
            OpAction::Update => {
                let prev = after.insert(*path, cid_of_nothing(99)).unwrap();
                OwnedOp::update(path, cid_of_nothing(99), prev)
            }
            OpAction::Delete => OwnedOp::delete(path, after.remove(path).unwrap()),
        })
        .collect();
    let paths: Vec<&str> = changes.iter().map(|(_, path)| *path).collect();
    let least =
        Change { root: after.root(), prev_data: before.root(), ops, blocks: after.proof(&paths) };
    let whole = least.clone().with_whole_tree(&after);
    [least, whole].map(|change| {
        let (inversion, facts) = change.learn(|learned| {
            let owned = |name: &str| name.to_owned();
            (
                learned.present().map(owned).collect(),
                learned.absent().map(owned).collect(),
                learned.is_whole(),
            )
        });
        assert_eq!(inversion, Inversion::Ok);
        facts
    })
}

/// Keys, what one commit does, and the collections that are then there and that it has emptied.
type Row<'a> = (&'a [&'a str], &'a [(OpAction, &'a str)], (&'a [&'a str], &'a [&'a str]));

/// Deletions at either end, of all keys, beside creations and deletions of the same commit.
#[test]
fn a_deleted_key_tells_whether_it_was_the_last_of_its_collection() {
    use OpAction::{Create, Delete, Update};
    let (a1, a2, b1, b2) =
        ("com.example.a/1", "com.example.a/2", "com.example.b/1", "com.example.b/2");
    let (c1, [a, b, c]) = ("com.example.c/1", ["com.example.a", "com.example.b", "com.example.c"]);
    let rows: [Row<'_>; 11] = [
        (&[a1, b1, c1], &[(Delete, a1)], (&[b, c], &[a])),
        (&[a1, b1, c1], &[(Delete, b1)], (&[a, c], &[b])),
        (&[a1, b1, c1], &[(Delete, c1)], (&[a, b], &[c])),
        (&[a1, a2, b1], &[(Delete, a1)], (&[a, b], &[])),
        (&[a1, b1, b2], &[(Delete, b2)], (&[a, b], &[])),
        (&[a1, b1, c1], &[(Delete, a1), (Delete, b1), (Delete, c1)], (&[], &[a, b, c])),
        (&[a1, a2, b1], &[(Delete, a1), (Delete, a2)], (&[b], &[a])),
        (&[a1, b1, c1], &[(Delete, b1), (Create, b2)], (&[a, b, c], &[])),
        (&[a2, b1, c1], &[(Delete, a2), (Create, a1)], (&[a, b, c], &[])),
        (&[a1, b1, b2], &[(Delete, b1), (Delete, b2), (Create, c1)], (&[a, c], &[b])),
        (&[a1, b1, b2], &[(Update, a1), (Delete, b1)], (&[a, b], &[])),
    ];
    for (keys, changes, (present, absent)) in rows {
        let [(seen, gone, _), whole] = shown(keys, changes);
        assert_eq!(gone, absent, "{changes:?} of {keys:?}");
        assert!(seen.iter().all(|name| present.contains(&name.as_str())), "{seen:?} of {keys:?}");
        assert_eq!(whole.0, present, "{changes:?} of {keys:?}");
        assert_eq!((whole.1.as_slice(), whole.2), (gone.as_slice(), true));
    }
}

/// Names that are the beginning of another, with bytes before and behind the slash between them.
#[test]
fn a_collection_whose_name_begins_another_is_kept_apart() {
    let keys = ["com.example.a-b.c/1", "com.example.a.b/1", "com.example.a/1", "com.example.ab/1"];
    for gone in keys {
        for (present, absent, _) in shown(&keys, &[(OpAction::Delete, gone)]) {
            assert_eq!(absent, [collection(gone)]);
            assert!(!present.iter().any(|name| name == collection(gone)), "{present:?}");
        }
    }
}

/// What is not `NSID/key` is in no collection, and separates the keys of none.
#[test]
fn keys_outside_of_any_collection_are_passed_over() {
    let keys = ["com.example.a/1", "com.example.b", "com.example.c/1", "no nsid/1", "only"];
    let [_, (present, absent, whole)] = shown(&keys, &[(OpAction::Delete, "com.example.a/1")]);
    assert_eq!(present, ["com.example.c"]);
    assert_eq!(absent, ["com.example.a"]);
    assert!(whole);
}

/// What does not prove the commit proves no collection either; an empty commit shows nothing.
#[test]
fn nothing_is_learned_from_a_commit_that_is_not_proven() {
    let tree = tree_of(["com.example.a/1", "com.example.b/1"]);
    let bare = Change {
        blocks: relay_simnet::block::Blocks::new(),
        ..Change::none(tree.root(), tree.proof(&[]))
    };
    let (inversion, facts) = bare.learn(|learned| (learned.present().count(), learned.is_whole()));
    assert_eq!((inversion, facts), (Inversion::Ok, (0, false)));

    let empty = Change { root: Tree::new().root(), prev_data: Tree::new().root(), ..bare };
    let (inversion, facts) = empty.learn(|learned| (learned.present().count(), learned.is_whole()));
    assert_eq!((inversion, facts), (Inversion::Ok, (0, true)), "there is nothing in an empty tree");

    let mut wrong = Change::none(tree.root(), tree.root_and_blocks().1);
    let (_, facts) = wrong.learn(|learned| (learned.present().count(), learned.is_whole()));
    assert_eq!(facts, (2, true), "control");
    wrong.prev_data = Tree::new().root();
    let (inversion, facts) = wrong.learn(|learned| (learned.present().count(), learned.is_whole()));
    assert_ne!(inversion, Inversion::Ok);
    assert_eq!(facts, (0, false));
}
