//! The event stream of one host: numbered, retained for a while, read by position.

use crate::{
    Adversary, RawFrame,
    block::encode,
    oracle::{Ledger, SentEvent},
    wire::{self, Fields, frame},
};
use bytes::Bytes;
use ipld_core::ipld::Ipld;
use std::{collections::VecDeque, sync::Arc};
use tokio_tungstenite::tungstenite::Message;

/// How many events a host keeps unless told otherwise; a PDS keeps those of a day.
pub(crate) const RETAINED_EVENTS: usize = 100_000;

/// How many bytes a host keeps unless told otherwise, so that 100 hosts fit into memory.
pub(crate) const RETAINED_BYTES: usize = 64 << 20;

#[derive(Debug)]
struct Entry {
    /// True number, from which cursors count; the frame may claim another one.
    number: u64,
    /// `None` once the host forgot the event, as a PDS forgets those of a deleted account.
    message: Option<Message>,
    event: Option<SentEvent>,
    did: Arc<str>,
    /// Which frame it is when it is no event.
    raw: Option<RawFrame>,
    delivered: bool,
    /// Sent to one subscriber only, so that a broken frame does not break every reconnection.
    once: bool,
}

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At this position; `outdated` when events between the cursor and it are gone (CUR-6).
    At { position: u64, outdated: bool },
    /// The cursor lies ahead (CUR-5).
    Future,
}

/// What a subscription gets next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Messages in order, and the position after them.
    Messages(Vec<Message>, u64),
    /// The position is no longer retained.
    Overtaken,
    /// Nothing yet.
    Wait,
}

/// How a frame numbers itself (UP-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeqClaim {
    True,
    Repeated,
    Backwards,
}

/// An event before it has a number.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The payload without `seq`.
    pub(crate) payload: Fields,
    /// The payload that a relay has to send, if it is another one.
    pub(crate) expected: Option<Fields>,
    pub(crate) claim: SeqClaim,
    /// Number and digests are filled in.
    pub(crate) event: SentEvent,
    /// Whether a relay may replace `time` or leave out `handle`.
    pub(crate) loose: bool,
}

impl Outgoing {
    /// Encodes the frame under this number.
    pub(crate) fn prepare(self, number: u64) -> (Bytes, SentEvent) {
        let Self { mut payload, expected, claim, mut event, loose } = self;
        let claimed = match claim {
            SeqClaim::True => number,
            SeqClaim::Repeated => number.saturating_sub(1).max(1),
            SeqClaim::Backwards => number.saturating_sub(2).max(1),
        };
        payload.insert("seq".to_owned(), Ipld::Integer(i128::from(claimed)));
        let bytes = Bytes::from(frame(event.kind.name(), &Ipld::Map(payload)));
        event.number = number;
        let sent = wire::item_len(&bytes).and_then(|header| bytes.get(header..));
        let expected = expected.map(|fields| encode(&Ipld::Map(fields)));
        let compared = expected.as_deref().or(sent).unwrap_or_default();
        event.digest = wire::digest(compared).unwrap_or_default();
        event.loose = if loose { wire::loose_digest(compared) } else { None };
        (bytes, event)
    }
}

#[derive(Debug)]
pub(crate) struct Stream {
    ledger: Arc<Ledger>,
    entries: VecDeque<Entry>,
    /// Position of the first entry; positions are never reused.
    base: u64,
    bytes: usize,
    last_number: u64,
    /// Highest number that was removed because of the limits below.
    trimmed: u64,
    pub(crate) retained_events: usize,
    pub(crate) retained_bytes: usize,
    undelivered: u64,
    /// Whether a relay has ever subscribed.
    owes: bool,
}

impl Stream {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            ledger,
            entries: VecDeque::new(),
            base: 0,
            bytes: 0,
            last_number: 0,
            trimmed: 0,
            retained_events: RETAINED_EVENTS,
            retained_bytes: RETAINED_BYTES,
            undelivered: 0,
            owes: false,
        }
    }

    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Number of the newest event.
    pub(crate) fn head(&self) -> u64 {
        self.last_number
    }

    /// Position after the newest event.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Events that no relay was given yet.
    pub(crate) fn undelivered(&self) -> u64 {
        self.undelivered
    }

    /// From now on the oracle waits until a relay was given everything.
    pub(crate) fn owe_to_a_relay(&mut self) {
        if !self.owes {
            self.owes = true;
            self.ledger.owe(0, self.undelivered);
        }
    }

    fn set_undelivered(&mut self, events: u64) {
        if self.owes {
            self.ledger.owe(self.undelivered, events);
        }
        self.undelivered = events;
    }

    /// Leaves out numbers, as a PDS does after deletions.
    pub(crate) fn skip(&mut self, numbers: u64) {
        self.last_number += numbers;
    }

    /// Forgets everything and counts from `first` again (UP-6).
    pub(crate) fn reset(&mut self, first: u64) {
        self.base = self.end();
        self.entries.clear();
        self.bytes = 0;
        self.set_undelivered(0);
        self.last_number = first.saturating_sub(1);
        self.trimmed = 0;
    }

    /// Appends an event; returns its number.
    pub(crate) fn push_event(&mut self, outgoing: Outgoing) -> u64 {
        let (frame, event) = outgoing.prepare(self.last_number + 1);
        self.push_prepared(frame, event);
        self.last_number
    }

    /// Appends an event whose frame is ready and carries `event.number`.
    pub(crate) fn push_prepared(&mut self, frame: Bytes, event: SentEvent) {
        self.last_number = self.last_number.max(event.number);
        self.set_undelivered(self.undelivered + 1);
        self.push(Entry {
            number: event.number,
            did: Arc::clone(&event.did),
            message: Some(Message::Binary(frame)),
            event: Some(event),
            raw: None,
            delivered: false,
            once: false,
        });
    }

    /// Appends a message that is no event.
    pub(crate) fn push_raw(&mut self, message: Message, raw: Option<RawFrame>, once: bool) {
        let did = Arc::from("");
        let number = self.last_number;
        let message = Some(message);
        self.push(Entry { number, message, event: None, did, raw, delivered: false, once });
    }

    /// Takes the next number without an event, for frames that carry it.
    pub(crate) fn take_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.message.as_ref().map_or(0, Message::len);
        self.entries.push_back(entry);
        self.trim();
    }

    /// Drops the oldest events beyond the limits.
    pub(crate) fn trim(&mut self) {
        while self.entries.len() > self.retained_events.max(1)
            || (self.bytes > self.retained_bytes && self.entries.len() > 1)
        {
            let Some(entry) = self.entries.pop_front() else { break };
            self.base += 1;
            self.bytes -= entry.message.as_ref().map_or(0, Message::len);
            let owed = u64::from(entry.event.is_some() && !entry.delivered);
            self.set_undelivered(self.undelivered - owed);
            self.trimmed = self.trimmed.max(entry.number);
        }
    }

    /// Forgets all events, as if the retention time had passed.
    pub(crate) fn forget_all(&mut self) {
        self.trimmed = self.last_number;
        self.base = self.end();
        self.entries.clear();
        self.bytes = 0;
        self.set_undelivered(0);
    }

    /// Forgets the events of an account, as a PDS does when it is deleted.
    pub(crate) fn forget(&mut self, did: &str) {
        let mut owed = self.undelivered;
        for entry in self.entries.iter_mut().filter(|entry| &*entry.did == did) {
            self.bytes -= entry.message.take().map_or(0, |message| message.len());
            owed -= u64::from(entry.event.is_some() && !entry.delivered);
            entry.delivered = true;
        }
        self.set_undelivered(owed);
    }

    /// Where a subscription with this cursor starts (CUR-1 to CUR-6).
    pub(crate) fn start(&self, cursor: Option<u64>) -> Start {
        let Some(cursor) = cursor else {
            return Start::At { position: self.end(), outdated: false };
        };
        if cursor > self.last_number {
            return Start::Future;
        }
        let before = self.entries.partition_point(|entry| entry.number <= cursor);
        let outdated = cursor < self.trimmed;
        Start::At { position: self.base + before as u64, outdated }
    }

    /// The messages from a position on, at most `count`; events among them count as delivered.
    pub(crate) fn next(&mut self, position: u64, count: usize, counts: bool) -> Next {
        let Some(first) = position.checked_sub(self.base) else { return Next::Overtaken };
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let mut messages = Vec::new();
        let mut after = position;
        let mut owed = self.undelivered;
        for entry in self.entries.iter_mut().skip(first).take(count) {
            after += 1;
            if counts
                && let Some(event) = &entry.event
                && entry.message.is_some()
            {
                owed -= u64::from(!entry.delivered);
                self.ledger.delivered(event, entry.delivered);
                entry.delivered = true;
            }
            if counts
                && entry.message.is_some()
                && let Some(raw) = entry.raw
            {
                self.ledger.struck(Adversary::Frame(raw));
                raw.reason().into_iter().for_each(|reason| self.ledger.broke(reason));
            }
            let message = if entry.once { entry.message.take() } else { entry.message.clone() };
            if entry.once {
                self.bytes -= message.as_ref().map_or(0, Message::len);
            }
            messages.extend(message);
        }
        self.set_undelivered(owed);
        if after == position { Next::Wait } else { Next::Messages(messages, after) }
    }
}
