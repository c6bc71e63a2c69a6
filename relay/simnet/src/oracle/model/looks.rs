//! When the relay looks into the directory, and what it may hold between two looks.

use super::{AccountModel, Doubts, Dropped, GRACE, within};
use crate::oracle::{SentEvent, Served, Verdict};
use std::time::Duration;
use tokio::time::Instant;

/// How long after a forced refresh the next one may be refused (RES-3 suggests 60 s).
const REFRESH_PAUSE: Duration = Duration::from_secs(70);

/// Refreshes of one account that are never too many in a day (RES-3 suggests 10).
const REFRESHES_PER_DAY: u32 = 10;

impl AccountModel {
    pub(super) fn first_look(
        &mut self,
        event: &SentEvent,
        now: Instant,
        doubts: &mut Doubts,
    ) -> Result<(), Dropped> {
        doubts.fetched = true;
        let newest = self.newest();
        match self.version(newest) {
            Served::Document { .. } => {
                self.fetched_at = Some(now);
                self.view = Some((newest, newest));
                Ok(())
            }
            Served::Invalid | Served::Nonsense => Err((Verdict::Never, vec!["identity_invalid"])),
            // It waits and may be judged later (DESIGN 10.7), also for what else is wrong with it.
            Served::Unavailable => {
                let mut reasons = vec!["identity_unavailable", "parking_full", "identity_invalid"];
                match event.flaw() {
                    Some((_, flaws)) => reasons.extend(flaws),
                    None => self.rev_maybe = self.rev_maybe.max(event.rev),
                }
                reasons.extend((event.rev != 0).then_some("stale"));
                Err((Verdict::May, reasons))
            }
        }
    }

    /// A look into the directory that replaces the view, if there is an answer.
    pub(super) fn look(&mut self, now: Instant) {
        let newest = self.newest();
        if !matches!(self.version(newest), Served::Unavailable | Served::Nonsense) {
            self.view = Some((newest, newest));
            self.fetched_at = Some(now);
        }
    }

    /// A refresh because of a mismatch; `false` when it may be refused.
    pub(super) fn force(&mut self, now: Instant) -> bool {
        if within(self.forced_at, now, REFRESH_PAUSE) || self.forced_today >= REFRESHES_PER_DAY {
            return false;
        }
        self.forced_at = Some(now);
        self.forced_today += 1;
        self.look(now);
        true
    }

    /// Versions that the relay may hold when it meets an event of this host.
    pub(super) fn possible(&self, host: u32, now: Instant) -> Vec<usize> {
        let Some((mut first, last)) = self.view else { return Vec::new() };
        if let Some((at, by, before)) = self.moved
            && by != host
            && within(Some(at), now, GRACE)
        {
            first = first.min(before);
        }
        (first..=last).collect()
    }

    /// Checks something against the documents, with one refresh if it does not fit.
    pub(super) fn against_documents(
        &mut self,
        event: &SentEvent,
        now: Instant,
        doubts: &mut Doubts,
        (reason, fits): (&'static str, fn(&SentEvent, &Served) -> bool),
    ) -> Result<(), Dropped> {
        let possible = self.possible(event.host, now);
        let fitting = possible.iter().filter(|at| fits(event, self.version(**at))).count();
        if fitting == possible.len() {
            return Ok(());
        }
        doubts.fetched = true;
        let newest = self.newest();
        let now_fits = fits(event, self.version(newest));
        let unavailable = *self.version(newest) == Served::Unavailable;
        let is_invalid = matches!(self.version(newest), Served::Invalid | Served::Nonsense);
        let refreshed = if fitting == 0 {
            self.force(now)
        } else {
            // It may have been refreshed, or not.
            let pause = within(self.forced_at, now, REFRESH_PAUSE);
            if let Some((_, last)) = &mut self.view {
                *last = newest;
            }
            self.forced_at = Some(now);
            !pause
        };
        match (fitting, now_fits) {
            _ if unavailable => doubts.reasons.extend([reason, "identity_unavailable"]),
            (_, true) if refreshed => {}
            (_, true) => {
                doubts.reasons.push(reason);
                if let Some((_, last)) = &mut self.view {
                    *last = newest;
                }
            }
            (0, false) => {
                let mut reasons = vec![reason];
                reasons.extend(is_invalid.then_some("identity_invalid"));
                return Err((Verdict::Never, reasons));
            }
            (_, false) => {
                doubts.reasons.push(reason);
                doubts.reasons.extend(is_invalid.then_some("identity_invalid"));
            }
        }
        Ok(())
    }

    /// The document is looked at because of an `#identity`: surely when it comes from the host that
    /// the relay knows, else as often as events from the wrong host may cause it.
    pub(super) fn look_announced(&mut self, event: &SentEvent, now: Instant, doubts: &mut Doubts) {
        let is_own = |at: &usize| matches!(self.version(*at), Served::Document { host, .. } if *host == event.host);
        if self.possible(event.host, now).iter().all(is_own) {
            self.look(now);
        } else if !self.force(now) {
            doubts.reasons.push("redundant");
            let newest = self.newest();
            if let Some((_, last)) = &mut self.view {
                *last = newest;
            }
        }
        doubts.fetched = true;
    }
}
