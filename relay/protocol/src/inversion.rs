//! Undoing the operations of a commit (INV-1…10).
use crate::{Blocks, DataCid, Invalid, Op};

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
/// Undoes `ops` in the tree under `root` and compares with `prev_data` (`EMPTY_TREE` for a first
/// commit, INV-6). Checks MST-2…6 on every present node. Bounded by the number of blocks and
/// operations. Does not check record blocks.
pub fn invert(
    root: &DataCid,
    prev_data: &DataCid,
    ops: &[Op<'_>],
    blocks: &Blocks<'_>,
) -> Inversion {
    todo!()
}
