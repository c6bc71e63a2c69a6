//! Undoing the operations of a commit (INV-1…10).
//!
//! The new tree is walked in key order; created keys are left out, updated ones get their old
//! value, deleted ones are put back, and what remains is built into the root of the old tree. All of
//! this is one pass: the list of section 7.3 exists only as a stream, so the cost follows the size
//! of the message and nothing is copied per operation (INV-9).
//!
//! Everything that the proof shows passes through [`Undo`] in key order, with the absent parts
//! marked. What else can be learned from a proof is told to a [`Witness`] there.

use std::{cmp::Ordering, iter::Peekable, vec};

use crate::{
    Blocks, Collections, DataCid, Invalid, Op, OpAction,
    collections::{Nobody, Witness},
    mst::{EMPTY_TREE, Item, Rebuild, Steps, Walk, key_layer},
    ops::{Rules, by_path},
};

/// Result of undoing the operations (INV-1). All but `Ok` make the commit invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inversion {
    /// The tree before the operations has the root `prevData`.
    Ok,
    /// It has another root; given for the verdict line of `relay dev`.
    Mismatch {
        /// The root that undoing leads to.
        found: DataCid,
    },
    /// Blocks that the proof needs are absent.
    Partial(Invalid),
    /// The tree or the operations break a rule.
    Structure(Invalid),
}

/// Undoes `ops` in the tree under `root` and compares the result with `prev_data`.
///
/// * `root` – `data` of the commit
/// * `prev_data` – `prevData` of the message; [`crate::EMPTY_TREE`] for a first commit (INV-6)
/// * `ops` – in any order (INV-2); the checks of [`crate::check_ops`] are part of this
/// * `blocks` – those of the message; more than the proof needs may be there (INV-3)
///
/// Checks MST-2…6 on every node that is present and reachable. A commit without operations may leave
/// out the tree, then `root` must be `prev_data` (MST-8).
///
/// Does not check: record blocks, see [`crate::check_records`]; blocks outside the tree.
///
/// Cost: about 5 µs for a commit of one operation in a frame of 4 kB, two thirds of them SHA-256 (of each
/// node before and after, and of each key); at most some 15 ms for the worst 2,000,000 bytes.
pub fn invert(
    root: &DataCid,
    prev_data: &DataCid,
    ops: &[Op<'_>],
    blocks: &Blocks<'_>,
) -> Inversion {
    invert_before((root, prev_data), ops, blocks, &mut Nobody).0
}

/// [`invert`], and what the proof shows of the account's collections after the commit, in the same
/// pass. Nothing is known of them when the result is not [`Inversion::Ok`].
///
/// Cost: some hundredths of [`invert`], see `just bench`.
pub fn invert_and_learn<'m>(
    root: &DataCid,
    prev_data: &DataCid,
    ops: &[Op<'m>],
    blocks: &Blocks<'_>,
) -> (Inversion, Collections<'m>) {
    let mut learned = Collections::default();
    let (inversion, _) = invert_before((root, prev_data), ops, blocks, &mut learned);
    if inversion == Inversion::Ok {
        (inversion, learned)
    } else {
        (inversion, Collections::default())
    }
}

/// [`invert`], and the number of steps it took: nodes, entries, and units of 64 bytes hashed, copied
/// or compared (T26).
pub fn invert_counted(
    root: &DataCid,
    prev_data: &DataCid,
    ops: &[Op<'_>],
    blocks: &Blocks<'_>,
) -> (Inversion, u64) {
    invert_before((root, prev_data), ops, blocks, &mut Nobody)
}

fn invert_before<'m>(
    (root, prev_data): (&DataCid, &DataCid),
    ops: &[Op<'m>],
    blocks: &Blocks<'_>,
    witness: &mut impl Witness<'m>,
) -> (Inversion, u64) {
    let mut steps = Steps::default();
    let inversion = match undo_all((root, ops), blocks, &mut steps, witness) {
        Err(invalid) => Inversion::Structure(invalid),
        Ok(Err(invalid)) => Inversion::Partial(invalid),
        Ok(Ok(found)) if found == *prev_data => Inversion::Ok,
        Ok(Ok(found)) => Inversion::Mismatch { found },
    };
    (inversion, steps.count())
}

/// Checks a commit that cannot be undone, because it is legacy (LEG-1), against its own tree: every
/// created or updated key is there with its value, no deleted key is, and the nodes are valid.
///
/// For hosts that are spared the strict check (VAL-21). A deleted key that an absent part of the
/// tree might hold passes.
pub fn check_applied(root: &DataCid, ops: &[Op<'_>], blocks: &Blocks<'_>) -> Result<(), Invalid> {
    let ops = by_path(ops, Rules::Legacy)?;
    let mut steps = Steps::default();
    let Some(mut walk) = Walk::start(root, blocks, &mut steps)? else {
        return if ops.is_empty() { Ok(()) } else { Err(ABSENT_ROOT) };
    };
    let mut nobody = Nobody;
    let mut undo = Undo::new(ops, &mut nobody);
    undo.rebuild.give_up(Invalid::new("without the old values there is nothing to rebuild"));
    while let Some(item) = walk.next(&mut steps)? {
        undo.meet(item, &mut steps)?;
    }
    while let Some(op) = undo.ops.next() {
        undo.miss(op, &mut steps)?;
    }
    match undo.unseen {
        Some(invalid) => Err(invalid),
        None => Ok(()),
    }
}

const ABSENT_ROOT: Invalid = Invalid::new("the root of the tree is absent");

/// The root of the tree before `ops`. The outer error is [`Inversion::Structure`], the inner one
/// [`Inversion::Partial`].
fn undo_all<'m>(
    (root, ops): (&DataCid, &[Op<'m>]),
    blocks: &Blocks<'_>,
    steps: &mut Steps,
    witness: &mut impl Witness<'m>,
) -> Result<Result<DataCid, Invalid>, Invalid> {
    let ops = by_path(ops, Rules::Inductive)?;
    let walk = Walk::start(root, blocks, steps)?;
    if walk.is_some() || *root == EMPTY_TREE {
        witness.begin();
    }
    let Some(mut walk) = walk else {
        return Ok(if ops.is_empty() { Ok(*root) } else { Err(ABSENT_ROOT) });
    };
    let mut undo = Undo::new(ops, witness);
    while let Some(item) = walk.next(steps)? {
        undo.meet(item, steps)?;
        steps.check()?;
    }
    while let Some(op) = undo.ops.next() {
        undo.miss(op, steps)?;
    }
    if let Some(invalid) = undo.unseen {
        return Ok(Err(invalid));
    }
    Ok(undo.rebuild.finish(steps).map(DataCid))
}

/// The stream of section 7.3: merges what the walk meets with the operations, both in key order.
struct Undo<'v, 'm, 'w, W> {
    witness: &'w mut W,
    ops: Peekable<vec::IntoIter<&'v Op<'m>>>,
    rebuild: Rebuild<'v>,
    /// Whether an absent subtree lies between the last known key and here.
    hidden: bool,
    /// Set when a created or updated key could only lie in an absent subtree.
    unseen: Option<Invalid>,
}

impl<'v, 'm, 'w, W: Witness<'m>> Undo<'v, 'm, 'w, W> {
    fn new(ops: Vec<&'v Op<'m>>, witness: &'w mut W) -> Self {
        Self {
            witness,
            ops: ops.into_iter().peekable(),
            rebuild: Rebuild::new(),
            hidden: false,
            unseen: None,
        }
    }

    /// Takes the next part of the new tree.
    fn meet(&mut self, item: Item<'_, 'v>, steps: &mut Steps) -> Result<(), Invalid> {
        match item {
            Item::Absent { digest, layer } => {
                self.hidden = true;
                self.witness.hidden();
                self.rebuild.subtree(digest, layer);
            }
            Item::Leaf { key, layer, value } => {
                let mut here = None;
                while let Some(&op) = self.ops.peek() {
                    match op.path.as_bytes().cmp(key) {
                        Ordering::Less => self.miss(op, steps)?,
                        Ordering::Equal => here = Some(op),
                        Ordering::Greater => break,
                    }
                    self.ops.next();
                }
                self.witness.key(key);
                match here {
                    None => self.rebuild.leaf(key, layer, value, steps),
                    Some(op) => self.undo(op, layer, value, steps)?,
                }
                self.hidden = false;
            }
        }
        Ok(())
    }

    /// Undoes an operation whose key is in the new tree.
    fn undo(
        &mut self,
        op: &'v Op<'m>,
        layer: u32,
        value: &[u8; 32],
        steps: &mut Steps,
    ) -> Result<(), Invalid> {
        match (op.action, &op.cid, &op.prev) {
            (OpAction::Delete, ..) => {
                return Err(Invalid::new("a deleted key is still in the tree"));
            }
            (_, Some(cid), prev) if cid.digest == *value => {
                if let (OpAction::Update, Some(prev)) = (op.action, prev) {
                    self.rebuild.leaf(op.path.as_bytes(), layer, &prev.digest, steps);
                }
            }
            _ => return Err(Invalid::new("an operation's cid is not the value in the tree")),
        }
        Ok(())
    }

    /// Undoes an operation whose key the walk did not meet.
    fn miss(&mut self, op: &'v Op<'m>, steps: &mut Steps) -> Result<(), Invalid> {
        let key = op.path.as_bytes();
        match (op.action, &op.prev) {
            (OpAction::Delete, Some(prev)) if !self.hidden => {
                steps.spend(key.len());
                self.witness.deleted(op.path);
                self.rebuild.leaf(key, key_layer(key), &prev.digest, steps);
            }
            (OpAction::Delete, _) => {
                self.rebuild.give_up(Invalid::new("the proof hides the place of a deleted key"));
            }
            _ if self.hidden => {
                let invalid = Invalid::new("the proof hides a created or updated key");
                self.unseen.get_or_insert(invalid);
            }
            _ => return Err(Invalid::new("a created or updated key is not in the tree")),
        }
        Ok(())
    }
}
