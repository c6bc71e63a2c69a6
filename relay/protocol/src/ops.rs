//! The operations of a commit by themselves, and the records they bring (5.1, INV-4, INV-7, LEG-1).

use crate::{Blocks, Cid, Codec, Invalid, Op, OpAction, check_record};

/// Whether a commit leaves out the old values that undoing needs, as commits before Sync v1.1 did
/// (LEG-1): an update or delete without `prev`.
pub fn ops_are_legacy(ops: &[Op<'_>]) -> bool {
    ops.iter().any(|op| op.action != OpAction::Create && op.prev.is_none())
}

/// Checks that every operation has exactly the values its action needs, all of codec dag-cbor
/// (ENC-12), and that no path occurs twice (INV-7).
///
/// Does not check: the number of operations and the syntax of paths, which decoding did; the tree.
pub fn check_ops(ops: &[Op<'_>]) -> Result<(), Invalid> {
    by_path(ops, Rules::Inductive).map(|_sorted| ())
}

/// Checks that each create and update brings its record: present, hashing to its CID, at most
/// 1,000,000 bytes, one canonical map (INV-4). A record that several operations name is read once.
pub fn check_records(ops: &[Op<'_>], blocks: &Blocks<'_>) -> Result<(), Invalid> {
    let written = ops.iter().filter(|op| op.action != OpAction::Delete);
    let mut records: Vec<&Cid> = written.filter_map(|op| op.cid.as_ref()).collect();
    records.sort_unstable_by_key(|cid| cid.digest);
    records.dedup();
    for record in records {
        check_codec(Some(record))?;
        let block = blocks.get(&record.digest)?;
        check_record(block.ok_or(Invalid::new("the block of a record is absent"))?)?;
    }
    Ok(())
}

/// What an operation must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Sync v1.1.
    Inductive,
    /// `prev` may be absent (LEG-1).
    Legacy,
}

/// The operations sorted by path, after the checks of [`check_ops`].
pub(crate) fn by_path<'o, 'm>(ops: &'o [Op<'m>], rules: Rules) -> Result<Vec<&'o Op<'m>>, Invalid> {
    for op in ops {
        check_values(op, rules)?;
    }
    let mut sorted: Vec<_> = ops.iter().collect();
    sorted.sort_unstable_by_key(|op| op.path);
    if sorted.iter().zip(sorted.iter().skip(1)).any(|(one, next)| one.path == next.path) {
        return Err(Invalid::new("two operations have the same path"));
    }
    Ok(sorted)
}

fn check_values(op: &Op<'_>, rules: Rules) -> Result<(), Invalid> {
    let prev_is_due = rules == Rules::Inductive && op.prev.is_none();
    let wrong = match (op.action, op.cid.is_some()) {
        (OpAction::Create, false) => Some("a create has no cid"),
        (OpAction::Create, true) if op.prev.is_some() => Some("a create has a prev"),
        (OpAction::Update, false) => Some("an update has no cid"),
        (OpAction::Update, true) if prev_is_due => Some("an update has no prev"),
        (OpAction::Delete, true) => Some("a delete has a cid"),
        (OpAction::Delete, false) if prev_is_due => Some("a delete has no prev"),
        _ => None,
    };
    match wrong {
        Some(what) => Err(Invalid::new(what)),
        None => check_codec(op.cid.as_ref()).and_then(|()| check_codec(op.prev.as_ref())),
    }
}

fn check_codec(cid: Option<&Cid>) -> Result<(), Invalid> {
    match cid {
        Some(Cid { codec: Codec::Raw, .. }) => {
            Err(Invalid::new("an operation's CID is not of a dag-cbor block"))
        }
        _ => Ok(()),
    }
}
