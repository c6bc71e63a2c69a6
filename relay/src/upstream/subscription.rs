//! The life of one host's subscription: dial, read, wait, again, for ever (UP-1, UP-10…12, SEC-5).

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use metrics::counter;
use tokio::{sync::Notify, time::timeout};
use tracing::{Instrument as _, trace_span};

use tokio_util::sync::CancellationToken;

use super::{
    Common, Counted, Gauged, Inlet,
    backoff::Backoff,
    link::{Incoming, Link},
    reading::{End, InHand, Reading, Reason},
};
use crate::{
    descriptors,
    domain::{DropReason, HostSeq, HostStatus},
    drops::Dropped,
    hosts::{Host, Span, is_relay},
    net::{DialError, Dialled},
    telemetry::{SPANS, metrics as names},
};

/// A host that has nothing to say for so long has said all: one that is behind sends without a pause.
const QUIET: Duration = Duration::from_millis(200);

/// One host's subscription.
pub(super) struct Subscription<I> {
    pub(super) common: Arc<Common<I>>,
    pub(super) host: Arc<Host>,
    wake: Arc<Notify>,
    in_hand: InHand,
    /// Cancelled when the attempt under way is to end.
    ending: parking_lot::Mutex<CancellationToken>,
    /// When the stream of the attempt under way was opened, in ms of the steady clock.
    opened: parking_lot::Mutex<Option<u64>>,
    /// What the host asked us to wait at least.
    retry_after: parking_lot::Mutex<Option<Duration>>,
}

impl<I: Inlet> Subscription<I> {
    pub(super) fn new(common: Arc<Common<I>>, host: Arc<Host>, wake: Arc<Notify>) -> Self {
        Self {
            common,
            host,
            wake,
            in_hand: InHand::default(),
            ending: parking_lot::Mutex::default(),
            opened: parking_lot::Mutex::default(),
            retry_after: parking_lot::Mutex::default(),
        }
    }

    /// Goes on until the relay stops.
    pub(super) async fn run(self) {
        let stopping = self.common.tasks.stopping();
        let mut backoff = Backoff::new(self.common.parts.options.first_retry);
        while !stopping.is_cancelled() {
            // What woke us so far is answered by what comes now.
            if self.wake.notified().now_or_never().is_some() {
                tracing::trace!(host = %self.host.hostname(), "woken");
            }
            // Before the status is looked at, so that a command which comes after is not missed.
            *self.ending.lock() = self.host.begin_attempt(stopping);
            if matches!(self.host.status(), HostStatus::Banned | HostStatus::Idle) {
                self.host.at_rest();
                self.until_woken().await;
                backoff.reset();
                continue;
            }
            if let Some(rest) = self.host.quota_rest() {
                self.rest(rest).await;
                continue;
            }
            let end = AssertUnwindSafe(Box::pin(self.attempt())).catch_unwind().await;
            match end.unwrap_or_else(|_panic| self.panicked()) {
                // By a command: the status says whether there is another. Or with the cursor reset, which
                // happens once a day at most. Both begin anew at once.
                End::Stopped | End::CursorAhead(_) => backoff.reset(),
                End::OverQuota(span) => self.over_quota(span),
                End::Lost(reason, why) => self.lost(&mut backoff, reason, &why).await,
            }
        }
        self.host.at_rest();
    }

    /// One attempt, from dialling to the end of the stream. [`End::CursorAhead`] means that the
    /// cursor has been reset.
    async fn attempt(&self) -> End {
        *self.opened.lock() = None;
        *self.retry_after.lock() = None;
        self.host.dialling();
        let (epoch, resume) = self.host.resume_from();
        let Ok(_socket) = self.common.sockets.try_acquire() else {
            let why = format!(
                "no file descriptor is left for this host: {} may be open; raise `LimitNOFILE=` of \
                 the service, or `ulimit -n`",
                descriptors::limit()
            );
            return End::Lost(Reason::DialFailed, why);
        };
        // A new host is read from its beginning: it asks for us only after its first event (UP-8).
        let cursor = resume.unwrap_or(HostSeq(0));
        let dialled = match self.dial(Some(cursor)).await {
            Ok(dialled) => dialled,
            Err(end) => return end,
        };
        self.host.connected(self.common.parts.clock.now_ms());
        *self.opened.lock() = Some(self.common.parts.clock.steady_ms());
        let mut reading = Reading::new(&self.common, &self.host, &self.in_hand, (epoch, cursor));
        let end = {
            let _connected = Counted::new(&self.common.connected);
            let _gauged = Gauged::new(names::UPSTREAM_CONNECTED);
            self.read(&mut reading, dialled).await
        };
        match end {
            End::CursorAhead(why) => match self.recover_sequence(why.clone()).await {
                None => End::CursorAhead(why),
                Some(end) => end,
            },
            end => end,
        }
    }

    async fn read(&self, reading: &mut Reading<'_, I>, dialled: Dialled) -> End {
        let ending = self.ending();
        let mut link = Link::new(dialled.socket, &self.common.parts.options);
        loop {
            let next = self.next(&mut link, &ending).await;
            let end = match next {
                Incoming::Frame(frame) => reading.frame(frame, &ending).await,
                Incoming::Text => Some(reading.text()),
                Incoming::TooLarge => Some(reading.too_large()),
                Incoming::Stopped => {
                    link.close().await;
                    return End::Stopped;
                }
                other => Some(Self::link_ended(other)),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// The next message. A host that is behind and has nothing to say for a moment was read to its end.
    async fn next(&self, link: &mut Link, ending: &CancellationToken) -> Incoming {
        if self.host.is_behind() {
            match timeout(QUIET, link.next(ending)).await {
                Ok(next) => return next,
                Err(_elapsed) => self.host.caught_up(),
            }
        }
        link.next(ending).await
    }

    /// The token of the attempt under way.
    pub(super) fn ending(&self) -> CancellationToken {
        self.ending.lock().clone()
    }

    /// How a connection ended that no longer gives frames.
    pub(super) fn link_ended(incoming: Incoming) -> End {
        match incoming {
            Incoming::Closed(why) => End::Lost(Reason::Closed, why),
            Incoming::Dead => End::Lost(Reason::Dead, "nothing was heard for too long".to_owned()),
            Incoming::Stopped => End::Stopped,
            Incoming::TooLarge | Incoming::Text | Incoming::Frame(_) => {
                End::Lost(Reason::BadFrame, "the stream cannot be read".to_owned())
            }
        }
    }

    /// Opens a stream when it is our turn; checks that the host is not a relay (UP-11).
    pub(super) async fn dial(&self, cursor: Option<HostSeq>) -> Result<Dialled, End> {
        let ending = self.ending();
        let dialled = {
            let _place = tokio::select! {
                place = self.common.handshakes.acquire() => place.map_err(|_closed| End::Stopped)?,
                () = ending.cancelled() => return Err(End::Stopped),
            };
            let _under_way = Gauged::new(names::UPSTREAM_DIALS_DEPTH);
            let limit = self.common.parts.options.handshake_max;
            let span = trace_span!(target: SPANS, "upstream.handshake");
            let dialling =
                self.common.parts.net.dial(self.host.hostname(), cursor).instrument(span);
            tokio::select! {
                dialled = timeout(limit, dialling) => dialled.unwrap_or_else(|_elapsed| {
                    let why = format!("the handshake did not end in {} s", limit.as_secs());
                    Err(DialError::Failed(why))
                }),
                () = ending.cancelled() => return Err(End::Stopped),
            }
        };
        match dialled {
            Ok(dialled) if is_relay(dialled.server_header.as_deref()) && !self.host.is_source() => {
                Err(End::Lost(Reason::IsRelay, "the host is a relay itself".to_owned()))
            }
            Ok(dialled) => {
                counter!(names::UPSTREAM_CONNECTS).increment(1);
                Ok(dialled)
            }
            Err(DialError::Refused(why)) => Err(End::Lost(Reason::Refused, why)),
            Err(DialError::Failed(why)) => Err(End::Lost(Reason::DialFailed, why)),
            Err(DialError::Http { retry_after, words, .. }) => {
                *self.retry_after.lock() = retry_after;
                Err(End::Lost(Reason::HttpStatus, words))
            }
        }
    }

    /// HOST-9: the host sent more than it may for too long. It is read on from where it was, a while
    /// later; nothing of it is lost as long as it keeps its events.
    fn over_quota(&self, span: Span) {
        counter!(names::UPSTREAM_DISCONNECTS, "reason" => Reason::OverQuota.label()).increment(1);
        self.host.throttled(span);
        tracing::info!(host = %self.host.hostname(), per = span.as_text(), "the host is over its limit");
    }

    /// Notes the failure and waits for the next try (UP-10).
    async fn lost(&self, backoff: &mut Backoff, reason: Reason, why: &str) {
        let clock = &self.common.parts.clock;
        counter!(names::UPSTREAM_DISCONNECTS, "reason" => reason.label()).increment(1);
        self.host.failed(why, clock.now_ms());
        let now_ms = clock.steady_ms();
        let opened_ms = self.opened.lock().take().unwrap_or(now_ms);
        let healthy = Duration::from_millis(now_ms.saturating_sub(opened_ms));
        let pause = backoff.failed(now_ms, healthy, rand::random());
        let asked = self.retry_after.lock().take().unwrap_or_default();
        let wait = pause.wait.max(asked);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.host.waiting(clock.now_ms().saturating_add(wait_ms), pause.attempt, pause.offline);
        tracing::debug!(
            host = %self.host.hostname(), reason = reason.label(), why, wait_ms,
            attempt = pause.attempt, "subscription lost",
        );
        if self.rest(wait).await {
            backoff.reset();
        }
    }

    /// Waits for as long as nobody wants the host.
    async fn until_woken(&self) {
        tokio::select! {
            () = self.wake.notified() => {}
            () = self.common.tasks.stopping().cancelled() => {}
        }
    }

    /// Waits; gives whether somebody woke us up (HOST-4), or decided something about the host.
    async fn rest(&self, wait: Duration) -> bool {
        let ending = self.ending();
        tokio::select! {
            () = ending.cancelled() => true,
            () = self.common.parts.clock.sleep(wait) => false,
            () = self.wake.notified() => true,
        }
    }

    /// A bug of ours: the connection is given up, and the event that was in hand is dropped for that
    /// reason, or it would hold the low-water mark for ever (I2, I6).
    fn panicked(&self) -> End {
        let parts = &self.common.parts;
        let host = self.host.hostname();
        tracing::error!(%host, "a subscription panicked; this is a bug");
        if let Some((epoch, host_seq)) = self.in_hand.lock().take() {
            parts.drops.record(Dropped {
                at_ms: parts.clock.now_ms(),
                host: self.host.id(),
                host_seq: Some(host_seq),
                kind: None,
                did: None,
                reason: DropReason::Internal,
                detail: "the subscription panicked while handing the event over".to_owned(),
            });
            self.host.settle(epoch, host_seq);
        }
        End::Lost(Reason::Internal, "this relay failed while reading the host".to_owned())
    }
}
