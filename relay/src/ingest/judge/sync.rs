//! Decides about `#sync` (SYNC-1…8).

use relay_protocol::{Blocks, Sync, is_datetime};

use crate::domain::{DropReason, RepoState};

use super::{
    Facts, authority, commit_object, in_turn, not_ahead, signature, signing_key, status,
    unless_its_host_tells,
};
use crate::ingest::verdict::{Pass, Stop, Verdict};

/// Judges one `#sync`: "the state is this commit, whatever came before".
///
/// A newer rev passes also when the data is unchanged, as after a key rotation (SYNC-3). The known
/// state repeated passes once after each return of the account (SYNC-4).
pub(super) fn judge<'m>(facts: &Facts<'_>, message: &Sync<'m>) -> Verdict<'m> {
    let account = authority(facts)?;
    status(facts, account)?;
    let state = account.repo;
    if let Some(state) = state.filter(|state| message.rev < state.rev) {
        return Err(Stop::drop(
            DropReason::Stale,
            format!("rev {} is older than {}", message.rev, state.rev),
        ));
    }
    unless_its_host_tells(facts)?;
    in_turn(facts)?;
    not_ahead(facts, message.rev)?;
    let now_ms = facts.steady_ms;
    if !facts.recent.may_pass_sync(now_ms) {
        return Err(Stop::drop(DropReason::RateLimited, "more than 5 #sync a minute or 100 a day"));
    }
    let blocks = Blocks::read(message.blocks)
        .map_err(|invalid| Stop::drop(DropReason::BadCommit, invalid.what))?;
    let repeats = state.is_some_and(|state| message.rev == state.rev);
    if let Some(state) = state.filter(|_| repeats) {
        if blocks.root() != state.commit {
            return Err(Stop::drop(
                DropReason::Fork,
                format!(
                    "rev {} is known with the commit {}, the sync has {}",
                    message.rev,
                    state.commit,
                    blocks.root()
                ),
            ));
        }
        if !facts.recent.may_repeat_sync(now_ms) {
            return Err(Stop::drop(
                DropReason::SyncUnchanged,
                format!("rev {} and commit {} are known", message.rev, state.commit),
            ));
        }
    }
    let key = signing_key(facts, account)?;
    let commit = commit_object(&blocks, facts.did, message.rev, None)?;
    signature(facts, key, &commit)?;
    Ok(Pass {
        bad_time: !is_datetime(message.time),
        repo: Some(RepoState { rev: message.rev, data: commit.data, commit: blocks.root() }),
        repeats,
        ..Pass::default()
    })
}
