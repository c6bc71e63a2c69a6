//! Frame after frame: reads the envelope, checks the order, hands over (UP-3…7, ENC-9).

use std::sync::Arc;

use bytes::Bytes;
use metrics::{Counter, counter};
use relay_protocol::{Did, Envelope, FrameKind, Message};
use tokio_util::sync::CancellationToken;

use super::{Common, Inlet};
use crate::{
    domain::{DropReason, Epoch, EventKind, HostSeq},
    drops::Dropped,
    hosts::{Host, Span, Turn},
    ingest::Arrival,
    net::printable,
    telemetry::metrics as names,
};

/// Frames whose seq does not increase, after which a connection is given up (UP-7).
const NOT_INCREASING_MAX: u32 = 10;

/// Kept part of a DID in the record of drops.
const DID_CHARS_MAX: usize = 256;

/// Kept part of an error message of a host.
const MESSAGE_CHARS_MAX: usize = 200;

/// Why a subscription ended or did not come about; labels of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The address may not be reached (SEC-1).
    Refused,
    /// No connection, TLS or handshake.
    DialFailed,
    /// Another answer than an upgrade.
    HttpStatus,
    /// UP-11.
    IsRelay,
    /// The other side closed, or the connection broke.
    Closed,
    /// UP-2.
    Dead,
    /// UP-3, ENC-9: bad CBOR or framing, or a text frame.
    BadFrame,
    /// MSG-1: a message above the limit of the connection.
    TooLarge,
    /// UP-7.
    NotIncreasing,
    /// UP-5.
    ConsumerTooSlow,
    /// UP-6, and the cursor may not be reset now.
    FutureCursor,
    /// Another error frame.
    ErrorFrame,
    /// HOST-9.
    OverQuota,
    /// A bug of ours.
    Internal,
}

impl Reason {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::DialFailed => "dial_failed",
            Self::HttpStatus => "http_status",
            Self::IsRelay => "is_relay",
            Self::Closed => "closed",
            Self::Dead => "dead",
            Self::BadFrame => "bad_frame",
            Self::TooLarge => "too_large",
            Self::NotIncreasing => "not_increasing",
            Self::ConsumerTooSlow => "consumer_too_slow",
            Self::FutureCursor => "future_cursor",
            Self::ErrorFrame => "error_frame",
            Self::OverQuota => "over_quota",
            Self::Internal => "internal",
        }
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum End {
    /// We stop, or this connection was ended by a command.
    Stopped,
    /// The connection is gone; in words for the API.
    Lost(Reason, String),
    /// The host does not know our cursor (UP-6); in words for the API.
    CursorAhead(String),
    /// The host was over its limit for too long (HOST-9).
    OverQuota(Span),
}

/// Counters that are touched for every frame; looked up once.
#[derive(Debug)]
pub(super) struct Meters {
    commits: Counter,
    syncs: Counter,
    identities: Counter,
    accounts: Counter,
    others: Counter,
    bytes: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        let frames = |kind: &'static str| counter!(names::UPSTREAM_FRAMES, "kind" => kind);
        Self {
            commits: frames("commit"),
            syncs: frames("sync"),
            identities: frames("identity"),
            accounts: frames("account"),
            others: frames("other"),
            bytes: counter!(names::UPSTREAM_BYTES),
        }
    }

    fn count(&self, kind: FrameKind, bytes: usize) {
        let frames = match kind {
            FrameKind::Commit => &self.commits,
            FrameKind::Sync => &self.syncs,
            FrameKind::Identity => &self.identities,
            FrameKind::Account => &self.accounts,
            FrameKind::Info | FrameKind::Error | FrameKind::Unknown => &self.others,
        };
        frames.increment(1);
        self.bytes.increment(bytes as u64);
    }
}

/// The event that was noted at its host and is not yet in the hands of a shard.
pub(super) type InHand = parking_lot::Mutex<Option<(Epoch, HostSeq)>>;

/// Reads the frames of one connection.
pub(super) struct Reading<'a, I> {
    pub(super) common: &'a Common<I>,
    pub(super) host: &'a Arc<Host>,
    pub(super) in_hand: &'a InHand,
    epoch: Epoch,
    /// Where we asked to start.
    cursor: HostSeq,
    /// Highest seq on this connection.
    last: Option<HostSeq>,
    not_increasing: u32,
}

impl<'a, I: Inlet> Reading<'a, I> {
    pub(super) fn new(
        common: &'a Common<I>,
        host: &'a Arc<Host>,
        in_hand: &'a InHand,
        (epoch, cursor): (Epoch, HostSeq),
    ) -> Self {
        Self { common, host, in_hand, epoch, cursor, last: None, not_increasing: 0 }
    }

    /// Takes one frame; gives the end of the connection if the frame means that.
    pub(super) async fn frame(&mut self, frame: Bytes, ending: &CancellationToken) -> Option<End> {
        self.host.count_frame(frame.len());
        let envelope = match Envelope::peek(&frame) {
            Ok(envelope) => envelope,
            Err(invalid) => {
                let why = format!("the frame is not valid: {invalid}");
                self.dropped(DropReason::Malformed, None, None, &why);
                return Some(End::Lost(Reason::BadFrame, why));
            }
        };
        self.common.meters.count(envelope.kind, frame.len());
        if let Some(end) = self.turn(ending).await {
            return Some(end);
        }
        let kind = match envelope.kind {
            FrameKind::Commit => EventKind::Commit,
            FrameKind::Sync => EventKind::Sync,
            FrameKind::Identity => EventKind::Identity,
            FrameKind::Account => EventKind::Account,
            FrameKind::Unknown => return self.skip(&envelope),
            FrameKind::Info => {
                self.info(&frame);
                return None;
            }
            FrameKind::Error => return Some(error_frame(&frame)),
        };
        let host_seq = match self.number(&envelope, Some(kind)) {
            Ok(host_seq) => host_seq,
            Err(end) => return end,
        };
        let did = match envelope.did.map(Did::parse) {
            Some(Ok(did)) => did,
            Some(Err(invalid)) => {
                let why = format!("the DID is not valid: {invalid}");
                self.dropped(DropReason::BadDid, Some(kind), Some(&envelope), &why);
                return self.settled(host_seq, frame.len(), ending).await;
            }
            None => {
                let why = "the DID is missing or not text";
                self.dropped(DropReason::Malformed, Some(kind), Some(&envelope), why);
                return self.settled(host_seq, frame.len(), ending).await;
            }
        };
        let arrival =
            Arrival { host: Arc::clone(self.host), epoch: self.epoch, host_seq, kind, did, frame };
        self.hand_over(arrival, ending).await
    }

    /// Waits until the limits of the host let one more event in (VAL-14, HOST-9). Nothing is read
    /// meanwhile; the event is not noted yet, so that it comes again if the connection ends.
    async fn turn(&self, ending: &CancellationToken) -> Option<End> {
        loop {
            match self.host.turn() {
                Turn::Now => return None,
                Turn::Rest(span, _) => return Some(End::OverQuota(span)),
                Turn::After(wait) => tokio::select! {
                    () = self.common.parts.clock.sleep(wait) => {}
                    () = ending.cancelled() => return Some(End::Stopped),
                },
            }
        }
    }

    /// A message above the limit (MSG-1): neither its seq nor the rest of the stream can be read.
    pub(super) fn too_large(&self) -> End {
        let why = "the host sent a message larger than 5,000,000 bytes".to_owned();
        self.dropped(DropReason::Oversized, None, None, &why);
        End::Lost(Reason::TooLarge, why)
    }

    /// UP-3.
    pub(super) fn text(&self) -> End {
        let why = "the host sent a text frame on a binary stream".to_owned();
        self.dropped(DropReason::Malformed, None, None, &why);
        End::Lost(Reason::BadFrame, why)
    }

    /// Reads and checks the seq of an event. An error says how to go on without the event.
    fn number(
        &mut self,
        envelope: &Envelope<'_>,
        kind: Option<EventKind>,
    ) -> Result<HostSeq, Option<End>> {
        let Some(host_seq) = envelope.host_seq.map(HostSeq) else {
            let why = "the seq is missing or not a number";
            self.dropped(DropReason::Malformed, kind, Some(envelope), why);
            return Err(None);
        };
        let before = self.last.unwrap_or(self.cursor);
        // A stream begins after the cursor; the cursor 0 of a new host says nothing.
        let is_first = self.last.is_none();
        if host_seq > before || (is_first && self.cursor == HostSeq(0) && host_seq == before) {
            self.last = Some(host_seq);
            return Ok(host_seq);
        }
        if is_first && host_seq == before && self.not_increasing == 0 {
            // CUR-8: some hosts take the cursor as included.
            self.last = Some(host_seq);
            return Err(None);
        }
        let why = format!("seq {host_seq} came after {before}");
        self.dropped(DropReason::HostSeqNotIncreasing, kind, Some(envelope), &why);
        self.not_increasing += 1;
        if self.not_increasing < NOT_INCREASING_MAX {
            return Err(None);
        }
        if is_first {
            // Nothing above the cursor ever came: a host that lost its sequence and does not say so.
            let why = format!("the host answered cursor {before} with lower numbers ({host_seq})");
            return Err(Some(End::CursorAhead(why)));
        }
        let why = format!("{NOT_INCREASING_MAX} messages did not increase the seq: {why}");
        Err(Some(End::Lost(Reason::NotIncreasing, why)))
    }

    /// A kind that we do not know (UP-3): ignored, but its seq is not asked for again.
    fn skip(&mut self, envelope: &Envelope<'_>) -> Option<End> {
        let host_seq = HostSeq(envelope.host_seq?);
        if host_seq > self.last.unwrap_or(self.cursor) {
            self.last = Some(host_seq);
        }
        None
    }

    /// * `ending` – the connection is given up, by the relay or by a command
    async fn hand_over(&self, arrival: Arrival, ending: &CancellationToken) -> Option<End> {
        tokio::select! {
            biased;
            () = self.host.receive(arrival.host_seq, arrival.frame.len()) => {}
            // The event is not noted, so that the host sends it again.
            () = ending.cancelled() => return Some(End::Stopped),
        }
        let offered = async {
            *self.in_hand.lock() = Some((arrival.epoch, arrival.host_seq));
            let offered = self.common.parts.inlet.offer(arrival).await;
            *self.in_hand.lock() = None;
            offered
        };
        tokio::select! {
            biased;
            offered = offered => offered.err().map(|_stopped| End::Stopped),
            // The event is noted and not settled: only a restart has the host send it again.
            () = self.common.tasks.stopping().cancelled() => Some(End::Stopped),
        }
    }

    /// An event that was dropped here: its seq counts as received and settled (I2).
    async fn settled(
        &self,
        host_seq: HostSeq,
        frame_bytes: usize,
        ending: &CancellationToken,
    ) -> Option<End> {
        tokio::select! {
            biased;
            () = self.host.receive(host_seq, frame_bytes) => {
                self.host.settle(self.epoch, host_seq);
                None
            }
            () = ending.cancelled() => Some(End::Stopped),
        }
    }

    fn info(&self, frame: &[u8]) {
        let Ok(Message::Info(name, message)) = Message::decode(frame) else { return };
        let host = self.host.hostname();
        let message = printable(message.unwrap_or_default(), MESSAGE_CHARS_MAX);
        // A new host has no past that we could have missed (UP-8).
        if name == "OutdatedCursor" && self.cursor > HostSeq(0) {
            counter!(names::UPSTREAM_GAPS).increment(1);
            self.host.note_gap(self.common.parts.clock.now_ms());
            tracing::warn!(
                %host, cursor = self.cursor.0, message,
                "the host no longer has all events after our cursor",
            );
        } else {
            let name = printable(name, MESSAGE_CHARS_MAX);
            tracing::debug!(%host, name, message, "the host sent an info message");
        }
    }

    fn dropped(
        &self,
        reason: DropReason,
        kind: Option<EventKind>,
        envelope: Option<&Envelope<'_>>,
        detail: &str,
    ) {
        let parts = &self.common.parts;
        let dropped = Dropped {
            at_ms: parts.clock.now_ms(),
            host: self.host.id(),
            host_seq: envelope.and_then(|envelope| envelope.host_seq).map(HostSeq),
            kind,
            did: envelope.and_then(|e| e.did).map(|did| printable(did, DID_CHARS_MAX)),
            reason,
            detail: detail.to_owned(),
        };
        self.host.count_verdict(false);
        parts.inlet.refused(self.host, &dropped);
        parts.drops.record(dropped);
    }
}

fn error_frame(frame: &[u8]) -> End {
    let (name, message) = match Message::decode(frame) {
        Ok(Message::Error(name, message)) => (name, message.unwrap_or_default()),
        Ok(_) | Err(_) => ("an error frame that cannot be read", ""),
    };
    let words = if message.is_empty() { name.to_owned() } else { format!("{name}: {message}") };
    let words = format!("the host ended the stream: {}", printable(&words, MESSAGE_CHARS_MAX));
    match name {
        "FutureCursor" => End::CursorAhead(words),
        "ConsumerTooSlow" => End::Lost(Reason::ConsumerTooSlow, words),
        _ => End::Lost(Reason::ErrorFrame, words),
    }
}
