//! What a faultless relay does with the events of one account (spec 8.1, 8.3, 9).
//!
//! The relay runs beside the simulation, so the model does not always know which version of a
//! document it held. Where two are possible and lead to different ends, the event may go either
//! way. Everything else is decided.

mod looks;

use super::{Expected, SentEvent, Served, Verdict};
use crate::{adversary::Stage, wire::Kind};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long after a delivery a relay may still be busy with the event.
const GRACE: Duration = Duration::from_secs(5);

/// How long after an `#identity` a relay may look again by itself (RES-4 suggests 60 s).
const SECOND_LOOK: Duration = Duration::from_secs(90);

/// Announcements that repeat one this recent may be dropped (IDE-5, ACC-3 suggest 60 s).
const REPEATED: Duration = Duration::from_secs(70);

/// `#sync` events per minute, and `#identity` events per hour, that are never too many
/// (SYNC-7, IDE-5).
const SYNCS_PER_MINUTE: usize = 5;
const SYNCS_PER_DAY: u32 = 100;
const IDENTITIES_PER_HOUR: usize = 10;

/// Announcements in this time for which a relay surely looks into the directory each time, so that
/// it can pass the handle (IDE-3, IDE-5).
const LOOKED_UP: (usize, Duration) = (4, Duration::from_mins(2));

/// Versions of a document that are remembered.
const VERSIONS: usize = 16;

/// What was decided on an event.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) reasons: Vec<&'static str>,
    pub(super) fetched: bool,
    /// Whether also `time` and `handle` have to be as sent.
    pub(super) exact: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Yes,
    No,
    Unsure,
}

/// The state of one account in a faultless relay.
#[derive(Debug)]
pub(super) struct AccountModel {
    pub(super) ignored: bool,
    /// Whether the relay may announce a status of its own accord (VAL-6, ACC-13).
    pub(super) may_announce: bool,
    /// Whether the account's own host has spoken, so that a relay has a row of it.
    introduced: bool,
    documents: VecDeque<Served>,
    /// How many documents left the queue at its front.
    forgotten: usize,
    /// First and last version that the relay may hold; `None` before it looked.
    view: Option<(usize, usize)>,
    /// When the view last moved, by an event of which host, and what was its first version before.
    moved: Option<(Instant, u32, usize)>,
    fetched_at: Option<Instant>,
    forced_at: Option<Instant>,
    forced_today: u32,
    identities: VecDeque<Instant>,
    syncs: VecDeque<Instant>,
    /// All that may have passed; no run lasts a day.
    syncs_today: u32,
    last_identity: Option<(Instant, Option<u128>)>,
    last_account: Option<(Instant, Option<u128>)>,
    active: Activity,
    rev_sure: u64,
    rev_maybe: u64,
    commit: u64,
    recent: VecDeque<Arc<Expected>>,
}

impl Default for AccountModel {
    fn default() -> Self {
        Self {
            ignored: false,
            may_announce: false,
            introduced: false,
            documents: VecDeque::new(),
            forgotten: 0,
            view: None,
            moved: None,
            fetched_at: None,
            forced_at: None,
            forced_today: 0,
            identities: VecDeque::new(),
            syncs: VecDeque::new(),
            syncs_today: 0,
            last_identity: None,
            last_account: None,
            active: Activity::Yes,
            rev_sure: 0,
            rev_maybe: 0,
            commit: 0,
            recent: VecDeque::new(),
        }
    }
}

/// Collects doubts and reasons while an event passes the checks.
#[derive(Debug, Default)]
struct Doubts {
    reasons: Vec<&'static str>,
    fetched: bool,
}

/// A check that ended the event.
type Dropped = (Verdict, Vec<&'static str>);

fn within(at: Option<Instant>, now: Instant, span: Duration) -> bool {
    at.is_some_and(|at| now.duration_since(at) < span)
}

impl AccountModel {
    /// The directory answers this from now on. Returns what may have been judged by it already.
    pub(super) fn serves(&mut self, served: Served, now: Instant) -> Vec<Arc<Expected>> {
        if self.documents.back() == Some(&served) {
            return Vec::new();
        }
        self.may_announce |= served == Served::Invalid;
        self.documents.push_back(served);
        if self.documents.len() > VERSIONS {
            self.documents.pop_front();
            self.forgotten += 1;
        }
        let newest = self.newest();
        let looks_again = within(self.identities.back().copied(), now, SECOND_LOOK);
        if within(self.fetched_at, now, GRACE) || looks_again {
            if let Some((_, last)) = &mut self.view {
                *last = newest;
            }
            // What came behind a look waits for its answer, and then goes by it.
            let looked_at = self.fetched_at;
            let open = |expected: &&Arc<Expected>| {
                let is_behind = looked_at.is_some_and(|looked_at| expected.at >= looked_at);
                (expected.fetched || is_behind) && within(Some(expected.at), now, GRACE)
            };
            return self.recent.iter().filter(open).cloned().collect();
        }
        Vec::new()
    }

    fn newest(&self) -> usize {
        (self.forgotten + self.documents.len()).saturating_sub(1)
    }

    fn version(&self, index: usize) -> &Served {
        index
            .checked_sub(self.forgotten)
            .and_then(|at| self.documents.get(at))
            .unwrap_or(&Served::Invalid)
    }

    pub(super) fn remember(&mut self, expected: &Arc<Expected>, now: Instant) {
        while self.recent.front().is_some_and(|old| !within(Some(old.at), now, GRACE)) {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(expected));
    }

    pub(super) fn take_recent(&mut self) -> Vec<Arc<Expected>> {
        self.recent.drain(..).collect()
    }

    /// Decides on an event, and on which earlier ones doubt falls because of it.
    pub(super) fn judge(
        &mut self,
        event: &SentEvent,
        now: Instant,
    ) -> (Decision, Vec<Arc<Expected>>) {
        let view_before = self.view;
        let mut doubts = Doubts::default();
        let ended = self.walk(event, now, &mut doubts);
        let mut downgraded = Vec::new();
        if let (Some(before), Some(after)) = (view_before, self.view)
            && before.1 != after.1
        {
            // Another host's events on the way may meet the old view or the new one.
            self.moved = Some((now, event.host, before.0));
            let open = |expected: &&Arc<Expected>| {
                expected.host != event.host && within(Some(expected.at), now, GRACE)
            };
            downgraded = self.recent.iter().filter(open).cloned().collect();
        }
        let (verdict, reasons) = match ended {
            _ if self.ignored => (Verdict::May, Vec::new()),
            Err(ended) => ended,
            Ok(()) if doubts.reasons.is_empty() => (Verdict::Must, Vec::new()),
            Ok(()) => (Verdict::May, doubts.reasons),
        };
        let exact = self.is_exact(event, now);
        (Decision { verdict, reasons, fetched: doubts.fetched, exact }, downgraded)
    }

    /// IDE-3: the handle has to stay when the document, which has not just changed, holds it too.
    fn is_exact(&self, event: &SentEvent, now: Instant) -> bool {
        if event.faults.contains(&crate::adversary::Fault::BadTime) {
            return false;
        }
        let Some(handle) = &event.handle else { return true };
        let settled = self.view.is_some_and(|(first, last)| first == last);
        let same = matches!(self.version(self.newest()),
            Served::Document { handle: other, host, .. }
                if **other == **handle && *host == event.host);
        let lately = self.identities.iter().filter(|at| within(Some(**at), now, LOOKED_UP.1));
        settled && same && lately.count() <= LOOKED_UP.0
    }

    fn walk(
        &mut self,
        event: &SentEvent,
        now: Instant,
        doubts: &mut Doubts,
    ) -> Result<(), Dropped> {
        let flaw = event.flaw();
        if let Some((Stage::Decode, reasons)) = &flaw {
            return Err((Verdict::Never, reasons.clone()));
        }
        if self.view.is_none() {
            self.first_look(event, now, doubts)?;
        }
        match event.kind {
            Kind::Identity => {
                self.identity(event, now, doubts);
                Ok(())
            }
            Kind::Account => {
                self.authority(event, now, doubts)?;
                self.account(event, now, doubts);
                Ok(())
            }
            Kind::Commit | Kind::Sync => {
                self.authority(event, now, doubts)?;
                self.status(event, doubts)?;
                self.rev(event, doubts)?;
                if let Some((_, mut reasons)) = flaw {
                    if self.is_flooded(event, now) {
                        reasons.push("rate_limited");
                    }
                    if reasons.contains(&"bad_signature") {
                        self.force(now);
                    }
                    return Err((Verdict::Never, reasons));
                }
                self.signature(event, now, doubts)?;
                self.sync_rate(event, now, doubts);
                self.accept(event, doubts);
                Ok(())
            }
        }
    }

    fn authority(
        &mut self,
        event: &SentEvent,
        now: Instant,
        doubts: &mut Doubts,
    ) -> Result<(), Dropped> {
        let fits = |event: &SentEvent, served: &Served| matches!(served, Served::Document { host, .. } if *host == event.host);
        let answered = self.against_documents(event, now, doubts, ("wrong_host", fits));
        self.introduced |= answered.is_ok();
        answered.map_err(|(verdict, mut reasons)| {
            // A host that asks too much about accounts of others gets no lookups (SEC-3).
            reasons.extend((!self.introduced).then_some("identity_unavailable"));
            (verdict, reasons)
        })
    }

    fn signature(
        &mut self,
        event: &SentEvent,
        now: Instant,
        doubts: &mut Doubts,
    ) -> Result<(), Dropped> {
        let fits = |event: &SentEvent, served: &Served| matches!(served, Served::Document { key, .. } if *key == event.key);
        self.against_documents(event, now, doubts, ("bad_signature", fits))
    }

    fn identity(&mut self, event: &SentEvent, now: Instant, doubts: &mut Doubts) {
        self.look_announced(event, now, doubts);
        while self
            .identities
            .front()
            .is_some_and(|at| !within(Some(*at), now, Duration::from_hours(1)))
        {
            self.identities.pop_front();
        }
        if self.identities.len() >= IDENTITIES_PER_HOUR {
            doubts.reasons.push("rate_limited");
            self.identities.pop_front();
        }
        self.identities.push_back(now);
        let repeats = self
            .last_identity
            .is_some_and(|(at, loose)| loose == event.loose && within(Some(at), now, REPEATED));
        if repeats {
            doubts.reasons.push("redundant");
        }
        self.last_identity = Some((now, event.loose));
        match self.version(self.newest()) {
            Served::Document { host, .. } if *host == event.host => self.introduced = true,
            Served::Document { .. } => {
                doubts.reasons.extend(["wrong_host", "redundant"]);
                doubts.reasons.extend((!self.introduced).then_some("identity_unavailable"));
            }
            Served::Invalid | Served::Nonsense => {
                doubts.reasons.extend(["identity_invalid", "wrong_host", "redundant"]);
            }
            Served::Unavailable => {
                doubts.reasons.extend(["identity_unavailable", "wrong_host", "redundant"]);
            }
        }
    }

    fn account(&mut self, event: &SentEvent, now: Instant, doubts: &mut Doubts) {
        let repeats = self
            .last_account
            .is_some_and(|(at, loose)| loose == event.loose && within(Some(at), now, REPEATED));
        let sure = doubts.reasons.is_empty();
        if repeats {
            doubts.reasons.push("redundant");
        }
        self.last_account = Some((now, event.loose));
        self.active = match (sure, event.says_active) {
            (false, _) => Activity::Unsure,
            (true, true) => Activity::Yes,
            (true, false) => Activity::No,
        };
    }

    fn status(&mut self, event: &SentEvent, doubts: &mut Doubts) -> Result<(), Dropped> {
        match self.active {
            Activity::Yes => Ok(()),
            Activity::No if !event.host_active => Err((Verdict::Never, vec!["account_inactive"])),
            // The host says otherwise when it is asked, but asking is limited (VAL-6, ACC-11).
            Activity::No | Activity::Unsure => {
                self.may_announce |= event.host_active;
                doubts.reasons.push("account_inactive");
                Ok(())
            }
        }
    }

    fn rev(&mut self, event: &SentEvent, doubts: &mut Doubts) -> Result<(), Dropped> {
        let is_sync = event.kind == Kind::Sync;
        let never = |reason| Err((Verdict::Never, vec![reason]));
        if event.rev < self.rev_sure || (event.rev == self.rev_sure && !is_sync) {
            return never("stale");
        }
        if event.rev == self.rev_sure && self.commit != event.commit {
            return never("fork");
        }
        if event.rev == self.rev_sure {
            doubts.reasons.extend(["sync_unchanged", "stale"]);
        } else if event.rev <= self.rev_maybe {
            doubts.reasons.push("stale");
            if is_sync {
                doubts.reasons.extend(["sync_unchanged", "fork"]);
            }
        }
        Ok(())
    }

    /// Whether one more `#sync` may be one too many (SYNC-7).
    fn is_flooded(&mut self, event: &SentEvent, now: Instant) -> bool {
        if event.kind != Kind::Sync {
            return false;
        }
        let minute = Duration::from_mins(1);
        while self.syncs.front().is_some_and(|at| !within(Some(*at), now, minute)) {
            self.syncs.pop_front();
        }
        self.syncs.len() >= SYNCS_PER_MINUTE || self.syncs_today >= SYNCS_PER_DAY
    }

    fn sync_rate(&mut self, event: &SentEvent, now: Instant, doubts: &mut Doubts) {
        if self.is_flooded(event, now) {
            doubts.reasons.push("rate_limited");
            self.syncs.pop_front();
        }
        if event.kind == Kind::Sync {
            self.syncs.push_back(now);
            self.syncs_today = self.syncs_today.saturating_add(1);
        }
    }

    fn accept(&mut self, event: &SentEvent, doubts: &Doubts) {
        self.rev_maybe = self.rev_maybe.max(event.rev);
        if doubts.reasons.is_empty() {
            self.rev_sure = event.rev;
            self.commit = event.commit;
        }
    }
}
