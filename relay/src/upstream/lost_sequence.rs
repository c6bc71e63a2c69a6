//! A host that no longer knows our cursor: find out whether it lost its sequence, then begin anew (UP-6).

use std::time::Duration;

use metrics::counter;
use relay_protocol::Envelope;
use tokio::time::timeout;

use super::{
    Inlet,
    link::{Incoming, Link},
    reading::{End, Reason},
    subscription::Subscription,
};
use crate::{domain::HostSeq, telemetry::metrics as names};

/// A cursor is reset by itself at most once in this time; a host that needs it more often needs a
/// person.
const RESET_INTERVAL_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long the next event of a quiet host is waited for, before the cursor is tried again.
const CONFIRM_MAX: Duration = Duration::from_hours(1);

/// What the stream without cursor showed.
enum Shown {
    /// Its next event has this seq.
    Next(HostSeq),
    /// It ended before an event came.
    Ended(End),
}

impl<I: Inlet> Subscription<I> {
    /// Confirms on a second connection without cursor that the host counts from below our cursor;
    /// then forgets the cursor, so that the next connection begins with the host's oldest event.
    /// What we have seen before is recognised by rev and dropped.
    ///
    /// * `why` – what made us doubt, in words
    ///
    /// Gives `None` when the cursor was reset, else how the attempt ended.
    pub(super) async fn recover_sequence(&self, why: String) -> Option<End> {
        let host = &self.host;
        let Some(cursor) = host.resume_from().1 else {
            return Some(End::Lost(Reason::FutureCursor, why));
        };
        let since_reset = self.common.parts.clock.now_ms().saturating_sub(host.cursor_reset_ms());
        if since_reset < RESET_INTERVAL_MS {
            let why = format!("{why}; the cursor was already reset in the last 24 hours");
            return Some(End::Lost(Reason::FutureCursor, why));
        }
        let next = match timeout(CONFIRM_MAX, Box::pin(self.next_live())).await {
            Ok(Shown::Next(next)) => next,
            Ok(Shown::Ended(end)) => return Some(end),
            Err(_elapsed) => {
                let why = format!("{why}; no event came in an hour that would show its sequence");
                return Some(End::Lost(Reason::FutureCursor, why));
            }
        };
        if next > cursor {
            let why = format!("{why}; but its next event has seq {next}, above cursor {cursor}");
            return Some(End::Lost(Reason::FutureCursor, why));
        }
        match self.common.parts.hosts.reset_cursor(host).await {
            Ok(epoch) => {
                counter!(names::UPSTREAM_CURSOR_RESETS).increment(1);
                tracing::warn!(
                    host = %host.hostname(), cursor = cursor.0, next = next.0, epoch = epoch.0,
                    "the host lost its sequence: reading it again from the beginning",
                );
                let why = format!("{why}; its next event has seq {next}: reading it anew");
                host.failed(&why, self.common.parts.clock.now_ms());
                None
            }
            Err(error) => {
                let why = format!("{why}; the cursor cannot be reset: {error}");
                Some(End::Lost(Reason::FutureCursor, why))
            }
        }
    }

    /// The seq of the next event at the live edge.
    async fn next_live(&self) -> Shown {
        let dialled = match self.dial(None).await {
            Ok(dialled) => dialled,
            Err(end) => return Shown::Ended(end),
        };
        self.host.confirming();
        let ending = self.ending();
        let mut link = Link::new(dialled.socket, &self.common.parts.options);
        loop {
            match link.next(&ending).await {
                Incoming::Frame(frame) => match Envelope::peek(&frame).map(|seen| seen.host_seq) {
                    Ok(Some(seq)) => {
                        link.close().await;
                        return Shown::Next(HostSeq(seq));
                    }
                    Ok(None) => {}
                    Err(invalid) => {
                        let why = format!("the frame is not valid: {invalid}");
                        return Shown::Ended(End::Lost(Reason::BadFrame, why));
                    }
                },
                Incoming::Stopped => return Shown::Ended(End::Stopped),
                other => return Shown::Ended(Self::link_ended(other)),
            }
        }
    }
}
