//! The decision about each message, by the table of spec section 8 (VAL-1…13, 16…19).
//!
//! Pure: no async, no clock, no I/O. The caller owns the account and repeats the call after it has
//! asked what [`Stop::Ask`] wants. Cheap checks come first: authority, status and rev before the CAR,
//! the signature before the inversion (SEC-6).

use relay_protocol::{Blocks, Commit, CommitCid, Did, Message, Rev, VerifyingKey};

use crate::{
    accounts::{
        NO_HOST,
        levels::AccountTurn,
        limits::{Doubt, Recent},
    },
    domain::{Account, DropReason, Epoch, EventKind, HostId, HostSeq, LocalStatus},
};

use super::verdict::{Ask, Stop, Verdict};

mod announcement;
mod commit;
mod sync;
#[cfg(test)]
mod tests;

/// VAL-8: how far a rev may lie ahead of our clock.
const REV_AHEAD_US_MAX: u64 = 5 * 60 * 1_000_000;
/// RES-2, DESIGN 10.8: a key that was not confirmed for this long is not used any more.
const KEY_AGE_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// All that a decision depends on, apart from the message.
pub(super) struct Facts<'a> {
    /// The DID that the message names.
    pub(super) did: &'a Did,
    /// What we know of it; `None` when neither memory nor store has it.
    pub(super) account: Option<&'a Account>,
    /// Its signing key, parsed.
    pub(super) key: Option<&'a VerifyingKey>,
    /// What it did lately.
    pub(super) recent: &'a Recent,
    /// Whether it may send one more event now (HOST-12).
    pub(super) turn: AccountTurn,
    /// Who sends it (HOST-13).
    pub(super) sender: Sender,
    /// The host that sent the message.
    pub(super) host: HostId,
    /// Epoch of that host when the message came.
    pub(super) epoch: Epoch,
    /// Number of the message at that host.
    pub(super) host_seq: HostSeq,
    /// Wall clock, or the latest that it was.
    pub(super) now_us: u64,
    /// Clock for spans, which nobody sets.
    pub(super) steady_ms: u64,
    /// Strict validation applies to this host (DESIGN 10.14).
    pub(super) strict: bool,
    /// `--dev`.
    pub(super) dev: bool,
    /// The host may cause one more lookup of an identity that is not its own (SEC-3).
    pub(super) host_may_ask: bool,
    /// What was already asked for this message.
    pub(super) asked: Asked<'a>,
    /// Name of a host, for details.
    pub(super) name_of: &'a dyn Fn(HostId) -> String,
}

/// What kind of server sent a message (HOST-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// A host.
    Host,
    /// A relay, of an account whose own host is not read now.
    Relay,
    /// A relay, of an account whose own host is read too and goes before.
    RelayBesideHost,
}

/// What was asked for a message before it is judged (again).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    /// The identity, and what came of it.
    pub(super) identity: Option<Fresh<'a>>,
    /// The status at the host; the account holds the answer.
    pub(super) status: bool,
}

/// Outcome of an identity lookup; key and host are already in the account.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fresh<'a> {
    /// There is a document.
    Document {
        /// Its key or its host are not what we had.
        changed: bool,
        /// Its handle.
        handle: Option<&'a str>,
    },
    /// There is none, or it could not be fetched; the account is as it was. Says why.
    Nothing(&'a str),
}

impl Facts<'_> {
    /// Whose word an announcement is, to recognise its repetition: what relays pass on is its host's.
    fn speaker(&self) -> HostId {
        match (self.sender, self.account) {
            (Sender::Relay | Sender::RelayBesideHost, Some(account)) => account.host,
            (Sender::Host, _) | (_, None) => self.host,
        }
    }

    fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    /// A sentence about the lookup, to end a detail with.
    fn after_asking(&self) -> String {
        match self.asked.identity {
            None => "the identity was refreshed too recently to ask again".to_owned(),
            Some(Fresh::Document { .. }) => "also by its refreshed DID document".to_owned(),
            Some(Fresh::Nothing(why)) => format!("asking again gave nothing: {why}"),
        }
    }
}

/// Judges one frame.
///
/// * `kind` – as the envelope said
/// * `frame` – whole frame, its envelope accepted, nothing else of it trusted
///
/// Returns what passes and what changes, or why it stops. The account is unchanged in any case.
///
/// Cost: one signature check and one pass over `blocks`; details are built only for drops.
pub(super) fn judge<'m>(facts: &Facts<'_>, kind: EventKind, frame: &'m [u8]) -> Verdict<'m> {
    seen_before(facts)?;
    let message = Message::decode(frame).map_err(|invalid| {
        let reason = if invalid.what.starts_with("too large") {
            DropReason::Oversized
        } else {
            DropReason::Malformed
        };
        Stop::drop(reason, invalid.what)
    })?;
    match (kind, &message) {
        (EventKind::Commit, Message::Commit(commit)) => commit::judge(facts, commit),
        (EventKind::Sync, Message::Sync(sync)) => sync::judge(facts, sync),
        (EventKind::Identity, Message::Identity(identity)) => {
            announcement::identity(facts, identity)
        }
        (EventKind::Account, Message::Account(account)) => announcement::account(facts, account),
        _ => Err(Stop::drop(DropReason::Malformed, "header and payload are of different types")),
    }
}

/// DESIGN 10.3: an event of the same host and epoch at or below the last one was seen before.
fn seen_before(facts: &Facts<'_>) -> Result<(), Stop> {
    let Some(last) = facts.account.and_then(|account| account.last) else { return Ok(()) };
    if last.host == facts.host && (facts.epoch, facts.host_seq) <= (last.epoch, last.host_seq) {
        return Err(Stop::drop(
            DropReason::Stale,
            format!(
                "seq {} of the host, already accepted its seq {} for this account",
                facts.host_seq, last.host_seq
            ),
        ));
    }
    Ok(())
}

/// VAL-3, VAL-4: the account, if the sender is its host.
fn authority<'f>(facts: &Facts<'f>) -> Result<&'f Account, Stop> {
    let account = facts.account.ok_or(Stop::Ask(Ask::FirstSight))?;
    if account.host == facts.host {
        return Ok(account);
    }
    if facts.sender != Sender::Host {
        return relayed(facts, account);
    }
    let may_ask = facts.host_may_ask && facts.recent.may_refresh(Doubt::Host, facts.steady_ms);
    if facts.asked.identity.is_none() && may_ask {
        return Err(Stop::Ask(Ask::Host));
    }
    let sender = (facts.name_of)(facts.host);
    if account.host != NO_HOST {
        let owner = (facts.name_of)(account.host);
        return Err(Stop::drop(
            DropReason::WrongHost,
            format!("sent by {sender}, the account is at {owner}; {}", facts.after_asking()),
        ));
    }
    Err(match facts.recent.named_host.as_deref() {
        Some(named) => Stop::drop(
            DropReason::WrongHost,
            format!("sent by {sender}, the DID document names {named}; {}", facts.after_asking()),
        ),
        None => Stop::drop(
            DropReason::IdentityInvalid,
            format!("the DID is tombstoned or names no host; {}", facts.after_asking()),
        ),
    })
}

/// HOST-13: a relay cannot show by its connection that an account is at its host; that the DID document
/// names one has to do, whichever it is.
fn relayed<'f>(facts: &Facts<'f>, account: &'f Account) -> Result<&'f Account, Stop> {
    if account.host != NO_HOST || facts.recent.named_host.is_some() {
        return Ok(account);
    }
    if facts.asked.identity.is_none() && facts.recent.may_refresh(Doubt::Host, facts.steady_ms) {
        return Err(Stop::Ask(Ask::Host));
    }
    if account.key.is_some() && facts.asked.identity.is_none() {
        // Asked a short while ago, and forgotten since.
        return Ok(account);
    }
    Err(Stop::drop(
        DropReason::IdentityInvalid,
        format!("the DID is tombstoned or names no host; {}", facts.after_asking()),
    ))
}

/// HOST-13: of an account whose own host is read a relay only says what that host says, sooner or later.
fn unless_its_host_tells(facts: &Facts<'_>) -> Result<(), Stop> {
    if facts.sender != Sender::RelayBesideHost {
        return Ok(());
    }
    let words = format!(
        "sent by the relay {}; the account's own host is read and says it itself",
        (facts.name_of)(facts.host)
    );
    Err(Stop::Drop(DropReason::Redundant, words))
}

/// VAL-5, VAL-6, ACC-4: whether commits and syncs of the account pass.
fn status(facts: &Facts<'_>, account: &Account) -> Result<(), Stop> {
    if account.local != LocalStatus::None {
        return Err(Stop::drop(
            DropReason::LocallyInactive,
            format!("this relay holds the account as {}", account.local.as_text()),
        ));
    }
    if account.upstream.is_active() {
        return Ok(());
    }
    if !facts.asked.status && facts.recent.may_probe(facts.steady_ms) {
        return Err(Stop::Ask(Ask::Status));
    }
    Err(Stop::drop(
        DropReason::AccountInactive,
        format!(
            "the host's last word on the account is {}; {}",
            account.upstream.as_text(),
            if facts.asked.status {
                "asked now, it did not say active"
            } else {
                "it was asked a short while ago"
            }
        ),
    ))
}

/// VAL-14, HOST-12: the limits of one account. Asked after its host and its rev, so that neither strangers
/// nor repeats use them up.
fn in_turn(facts: &Facts<'_>) -> Result<(), Stop> {
    match facts.turn {
        AccountTurn::Now => Ok(()),
        AccountTurn::After(wait_ms) => Err(Stop::Later(wait_ms)),
        AccountTurn::Over(exceeded) => Err(Stop::Over(exceeded)),
    }
}

/// VAL-8.
fn not_ahead(facts: &Facts<'_>, rev: Rev) -> Result<(), Stop> {
    let ahead_us = rev.micros().saturating_sub(facts.now_us);
    if ahead_us <= REV_AHEAD_US_MAX {
        return Ok(());
    }
    Err(Stop::drop(
        DropReason::FutureRev,
        format!("rev {rev} lies {} s ahead of this relay's clock", ahead_us / 1_000_000),
    ))
}

/// DOC-6, RES-2: a key that may still be used.
fn signing_key<'f>(facts: &Facts<'f>, account: &Account) -> Result<&'f VerifyingKey, Stop> {
    let age_ms = facts.now_ms().saturating_sub(account.identity_checked_ms);
    match facts.key {
        Some(key) if age_ms <= KEY_AGE_MS_MAX => Ok(key),
        Some(_) if facts.asked.identity.is_none() => Err(Stop::Ask(Ask::Expired)),
        None if facts.asked.identity.is_none()
            && facts.recent.may_refresh(Doubt::Key, facts.steady_ms) =>
        {
            Err(Stop::Ask(Ask::Key))
        }
        Some(_) => Err(Stop::drop(
            DropReason::IdentityInvalid,
            format!("the key was confirmed more than 7 days ago; {}", facts.after_asking()),
        )),
        None => Err(Stop::drop(
            DropReason::IdentityInvalid,
            format!("the DID document has no usable signing key; {}", facts.after_asking()),
        )),
    }
}

/// VAL-9: CAR, root, commit object, and its agreement with the message (COM-1…5).
///
/// * `declared` – the message's `commit`, which a `#sync` does not have
fn commit_object<'m>(
    blocks: &Blocks<'m>,
    did: &Did,
    rev: Rev,
    declared: Option<CommitCid>,
) -> Result<Commit<'m>, Stop> {
    let root = blocks.root();
    if let Some(declared) = declared.filter(|declared| *declared != root) {
        return Err(Stop::drop(
            DropReason::CommitMismatch,
            format!("the message names the commit {declared}, the CAR has the root {root}"),
        ));
    }
    let bad = |invalid: relay_protocol::Invalid| Stop::drop(DropReason::BadCommit, invalid.what);
    let block = blocks.get(&root.0).map_err(bad)?.ok_or_else(|| {
        Stop::drop(DropReason::BadCommit, format!("the commit block {root} is not in the CAR"))
    })?;
    let commit = Commit::decode(block).map_err(bad)?;
    if commit.did != did.as_str() {
        return Err(Stop::drop(
            DropReason::CommitMismatch,
            format!("the message is about {did}, the signed commit about {}", commit.did),
        ));
    }
    if commit.rev != rev {
        return Err(Stop::drop(
            DropReason::CommitMismatch,
            format!("the message has the rev {rev}, the signed commit {}", commit.rev),
        ));
    }
    Ok(commit)
}

/// VAL-10: the signature, with one refresh of the key before the answer is final (RES-3).
fn signature(facts: &Facts<'_>, key: &VerifyingKey, commit: &Commit<'_>) -> Result<(), Stop> {
    let Err(invalid) = commit.verify(key) else { return Ok(()) };
    if facts.asked.identity.is_none() && facts.recent.may_refresh(Doubt::Key, facts.steady_ms) {
        return Err(Stop::Ask(Ask::Key));
    }
    Err(Stop::drop(
        DropReason::BadSignature,
        format!(
            "{}; checked with the key {}, {}",
            invalid.what,
            key.to_multikey(),
            facts.after_asking()
        ),
    ))
}
