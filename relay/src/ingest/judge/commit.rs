//! Decides about `#commit` (VAL-1…13, 16…19, LEG-1…3).

use relay_protocol::{
    Blocks, CommitMessage, DataCid, EMPTY_TREE, Edit, Invalid, Inversion, Op, OpAction,
    check_applied, check_record, invert, is_datetime,
};

use crate::domain::{Account, DropReason, RepoState};

use super::{
    Facts, authority, commit_object, in_turn, not_ahead, signature, signing_key, status,
    unless_its_host_tells,
};
use crate::ingest::verdict::{Continuity, Pass, Stop, Verdict};

/// Below this many operations a repeated path is looked for by comparing all with all.
const FEW_OPS: usize = 9;

/// Judges one `#commit` against what we know of its account.
///
/// A commit that does not follow our state passes and becomes the state (VAL-16); one that is wrong
/// in itself is dropped and changes nothing.
///
/// Does not check: records against lexicons (ROLE-5), rates.
pub(super) fn judge<'m>(facts: &Facts<'_>, message: &CommitMessage<'m>) -> Verdict<'m> {
    let account = authority(facts)?;
    status(facts, account)?;
    newer(account, message)?;
    let continuity = continuity(account, message);
    if !matches!(continuity, Continuity::Continuous | Continuity::SinceMismatch) {
        unless_its_host_tells(facts)?;
    }
    in_turn(facts)?;
    not_ahead(facts, message.rev)?;
    let key = signing_key(facts, account)?;
    let blocks = Blocks::read(message.blocks)
        .map_err(|invalid| Stop::drop(DropReason::BadCommit, invalid.what))?;
    let commit = commit_object(&blocks, facts.did, message.rev, Some(message.commit))?;
    signature(facts, key, &commit)?;
    well_formed(&message.ops)?;
    records(&message.ops, &blocks)?;

    let proof = prove(message, account, &commit.data, &blocks);
    let spared = match proof {
        Ok(()) => None,
        Err((reason, detail)) if facts.strict => return Err(Stop::Drop(reason, detail)),
        Err(unproved) => {
            if unproved.0 == DropReason::Legacy {
                fits_its_tree(&message.ops, &commit.data, &blocks)?;
            }
            Some(unproved)
        }
    };
    Ok(Pass {
        edits: edits(message),
        bad_time: !is_datetime(message.time),
        repo: Some(RepoState { rev: message.rev, data: commit.data, commit: message.commit }),
        continuity: Some(continuity),
        spared,
        ..Pass::default()
    })
}

/// VAL-7, SEC-8.
fn newer(account: &Account, message: &CommitMessage<'_>) -> Result<(), Stop> {
    match account.repo {
        Some(state) if message.rev <= state.rev => Err(Stop::drop(
            DropReason::Stale,
            format!("rev {} is not newer than {}", message.rev, state.rev),
        )),
        _ => Ok(()),
    }
}

/// VAL-11: what each action must and must not have. A missing `prev` is legacy, decided later.
fn well_formed(ops: &[Op<'_>]) -> Result<(), Stop> {
    for op in ops {
        let wrong = match (op.action, op.cid, op.prev) {
            (OpAction::Create, Some(_), None)
            | (OpAction::Update, Some(_), _)
            | (OpAction::Delete, None, _) => continue,
            (OpAction::Create, Some(_), Some(_)) => "a create has a prev",
            (OpAction::Create, None, _) => "a create has no cid",
            (OpAction::Update, None, _) => "an update has no cid",
            (OpAction::Delete, Some(_), _) => "a delete has a cid",
        };
        return Err(Stop::drop(DropReason::BadOps, format!("{wrong}: {}", op.path)));
    }
    Ok(())
}

/// INV-4: created and updated records are there, of a tolerable size, and maps. What is inside is not
/// ours to judge (ROLE-5). A record that many operations name is looked at once (INV-9).
fn records(ops: &[Op<'_>], blocks: &Blocks<'_>) -> Result<(), Stop> {
    for (at, op) in ops.iter().enumerate() {
        let Some(cid) = op.cid else { continue };
        if ops.iter().take(at).any(|earlier| earlier.cid == op.cid) {
            continue;
        }
        let found = blocks.get(&cid.digest).and_then(|block| {
            check_record(block.ok_or(Invalid::new("a record block is missing"))?)
        });
        if let Err(invalid) = found {
            let detail = format!("{}: {} {cid}", invalid.what, op.path);
            return Err(Stop::drop(DropReason::BadRecord, detail));
        }
    }
    Ok(())
}

/// LEG-1: a commit that cannot be undone still has to agree with its own tree.
fn fits_its_tree(ops: &[Op<'_>], data: &DataCid, blocks: &Blocks<'_>) -> Result<(), Stop> {
    check_applied(data, ops, blocks)
        .map_err(|invalid| Stop::drop(DropReason::BadTree, invalid.what))
}

/// VAL-12: that undoing the operations leads to `prevData`; LEG-1 when there is nothing to compare.
fn prove(
    message: &CommitMessage<'_>,
    account: &Account,
    data: &DataCid,
    blocks: &Blocks<'_>,
) -> Result<(), (DropReason, String)> {
    if let Some(path) = repeated_path(&message.ops) {
        return Err((DropReason::BadOps, format!("two operations for one path: {path}")));
    }
    if let Some(op) =
        message.ops.iter().find(|op| op.action != OpAction::Create && op.prev.is_none())
    {
        return Err((DropReason::Legacy, format!("an operation has no prev: {}", op.path)));
    }
    if message.prev_data.is_none() && message.since.is_some() {
        return Err((DropReason::Legacy, "there is no prevData".to_owned()));
    }
    let prev_data = message.prev_data.unwrap_or(EMPTY_TREE);
    match invert(data, &prev_data, &message.ops, blocks) {
        Inversion::Ok => Ok(()),
        // INV-6, LEG-1: without prevData only a first or re-created repo can be proved.
        _ if message.prev_data.is_none() && account.repo.is_some() => {
            Err((DropReason::Legacy, "there is no prevData, and the repo is not new".to_owned()))
        }
        Inversion::Mismatch { found } => Err((
            DropReason::ProofMismatch,
            format!("prevData is {prev_data}, undoing the operations leads to {found}"),
        )),
        Inversion::Partial(invalid) => Err((DropReason::ProofIncomplete, invalid.what.to_owned())),
        Inversion::Structure(invalid) => Err((DropReason::BadTree, invalid.what.to_owned())),
    }
}

/// INV-7.
fn repeated_path<'m>(ops: &[Op<'m>]) -> Option<&'m str> {
    if ops.len() < FEW_OPS {
        let mut rest = ops;
        while let Some((op, others)) = rest.split_first() {
            if others.iter().any(|other| other.path == op.path) {
                return Some(op.path);
            }
            rest = others;
        }
        return None;
    }
    let mut paths: Vec<&str> = ops.iter().map(|op| op.path).collect();
    paths.sort_unstable();
    paths.array_windows().find(|[one, next]| one == next).map(|[one, _]| *one)
}

/// VAL-13, VAL-18, VAL-19.
fn continuity(account: &Account, message: &CommitMessage<'_>) -> Continuity {
    let Some(state) = account.repo else { return Continuity::First };
    if message.prev_data.unwrap_or(EMPTY_TREE) != state.data {
        Continuity::Discontinuous
    } else if message.since == Some(state.rev) {
        Continuity::Continuous
    } else {
        Continuity::SinceMismatch
    }
}

/// A3, DESIGN 10.2: deprecated fields that consumers still require; no null where none may be.
fn edits<'m>(message: &CommitMessage<'m>) -> Vec<Edit<'m>> {
    let mut edits = Vec::new();
    if message.missing_rebase {
        edits.push(Edit::Bool("rebase", false));
    }
    if message.missing_too_big {
        edits.push(Edit::Bool("tooBig", false));
    }
    if message.missing_blobs {
        edits.push(Edit::EmptyArray("blobs"));
    }
    if message.prev_data.is_none() {
        // It may be null, which 5.1 does not permit on the way out.
        edits.push(Edit::Remove("prevData"));
    }
    if message.has_null_prev {
        edits.push(Edit::RemoveNulls("ops", "prev"));
    }
    edits
}
