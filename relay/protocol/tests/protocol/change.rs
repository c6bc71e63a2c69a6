//! A change of a repository as a commit message carries it, made by the simulator's trees.

use relay_protocol::{
    Cid, Collections, DataCid, Invalid, Inversion, Op, OpAction, check_applied, check_records,
    invert_and_learn, invert_counted,
};
use relay_simnet::{
    block::{self, Cid36, cid_of, cid_of_nothing},
    mst::Tree,
};

/// An operation that owns its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedOp {
    pub(crate) action: OpAction,
    pub(crate) path: String,
    pub(crate) cid: Option<Cid>,
    pub(crate) prev: Option<Cid>,
}

impl OwnedOp {
    pub(crate) fn create(path: &str, cid: Cid36) -> Self {
        Self::new(OpAction::Create, path, Some(cid), None)
    }

    pub(crate) fn update(path: &str, cid: Cid36, prev: Cid36) -> Self {
        Self::new(OpAction::Update, path, Some(cid), Some(prev))
    }

    pub(crate) fn delete(path: &str, prev: Cid36) -> Self {
        Self::new(OpAction::Delete, path, None, Some(prev))
    }

    fn new(action: OpAction, path: &str, cid: Option<Cid36>, prev: Option<Cid36>) -> Self {
        let read = |cid: Cid36| Cid::from_bytes(&cid).unwrap();
        Self { action, path: path.to_owned(), cid: cid.map(read), prev: prev.map(read) }
    }
}

/// What the checks of one commit are given.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) root: Cid36,
    pub(crate) prev_data: Cid36,
    pub(crate) ops: Vec<OwnedOp>,
    pub(crate) blocks: block::Blocks,
}

impl Change {
    /// A tree by itself: no operations, all `blocks` present.
    pub(crate) fn none(root: Cid36, blocks: block::Blocks) -> Self {
        Self { root, prev_data: root, ops: Vec::new(), blocks }
    }

    /// All that lies between two trees, with the proof that MST-7 asks for.
    pub(crate) fn between(before: &Tree, after: &Tree) -> Self {
        let mut ops = Vec::new();
        for (path, prev) in before.leaves() {
            match after.get(path) {
                None => ops.push(OwnedOp::delete(path, *prev)),
                Some(cid) if cid != *prev => ops.push(OwnedOp::update(path, cid, *prev)),
                Some(_) => {}
            }
        }
        for (path, cid) in after.leaves() {
            if before.get(path).is_none() {
                ops.push(OwnedOp::create(path, *cid));
            }
        }
        let paths: Vec<&str> = ops.iter().map(|op| op.path.as_str()).collect();
        let blocks = after.proof(&paths);
        let mut change = Self { root: after.root(), prev_data: before.root(), ops, blocks };
        // The simulator's proof of no change is empty, but a root may always be there.
        if change.ops.is_empty() {
            change.blocks = after.root_and_blocks().1;
        }
        change
    }

    /// The same change with all nodes of the new tree.
    pub(crate) fn with_whole_tree(mut self, after: &Tree) -> Self {
        self.blocks = after.root_and_blocks().1;
        self
    }

    pub(crate) fn invert(&self) -> Inversion {
        self.invert_counted().0
    }

    pub(crate) fn invert_counted(&self) -> (Inversion, u64) {
        self.with_blocks(|ops, blocks| {
            invert_counted(&data(&self.root), &data(&self.prev_data), ops, blocks)
        })
    }

    /// Undoing, and what `look` sees of the collections that the proof shows.
    pub(crate) fn learn<T>(&self, look: impl FnOnce(&Collections<'_>) -> T) -> (Inversion, T) {
        self.with_blocks(|ops, blocks| {
            let (inversion, learned) =
                invert_and_learn(&data(&self.root), &data(&self.prev_data), ops, blocks);
            (inversion, look(&learned))
        })
    }

    /// The check of commits that cannot be undone.
    pub(crate) fn check_applied(&self) -> Result<(), Invalid> {
        self.with_blocks(|ops, blocks| check_applied(&data(&self.root), ops, blocks))
    }

    pub(crate) fn check_records(&self) -> Result<(), Invalid> {
        self.with_blocks(check_records)
    }

    /// Passes the blocks through a CAR file, as they arrive.
    fn with_blocks<T>(&self, check: impl FnOnce(&[Op<'_>], &relay_protocol::Blocks<'_>) -> T) -> T {
        let commit = b"stands for the commit".as_slice();
        let commit_cid = cid_of(commit);
        let blocks = self.blocks.iter().map(|(cid, block)| (cid, block.as_slice()));
        let car = block::car(&[commit_cid], [(&commit_cid, commit)].into_iter().chain(blocks));
        let blocks = relay_protocol::Blocks::read(&car).unwrap();
        let ops: Vec<Op<'_>> = self
            .ops
            .iter()
            .map(|op| Op { action: op.action, path: &op.path, cid: op.cid, prev: op.prev })
            .collect();
        check(&ops, &blocks)
    }
}

/// The digest part of a CID.
pub(crate) fn data(cid: &Cid36) -> DataCid {
    DataCid(Cid::from_bytes(cid).unwrap().digest)
}

/// The sentence of a structure error.
pub(crate) fn structure(inversion: Inversion) -> &'static str {
    match inversion {
        Inversion::Structure(invalid) => invalid.what,
        Inversion::Ok | Inversion::Mismatch { .. } | Inversion::Partial(_) => "no structure error",
    }
}

/// A tree with these keys; the value of each follows from its place in the list.
pub(crate) fn tree_of<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Tree {
    let mut tree = Tree::new();
    for (key, number) in keys.into_iter().zip(1..) {
        tree.insert(key, cid_of_nothing(number));
    }
    tree
}
