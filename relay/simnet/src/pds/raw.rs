//! Frames that are no events.

use super::stream::Stream;
use crate::{
    RawFrame,
    block::{encode, map},
    wire::{Fields, Kind, frame, info_frame},
};
use ipld_core::ipld::Ipld;
use tokio_tungstenite::tungstenite::Message;

/// Just above the limit for a frame (MSG-1).
const TOO_LARGE_FRAME: usize = 5_000_001;

/// The DID that these frames name; no account has it.
const NO_ONE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

pub(super) fn send(stream: &mut Stream, raw: RawFrame, once: bool) {
    let number = stream.take_number();
    stream.push_raw(message(raw, number), Some(raw), once);
}

/// An event of the test's own making, under the next number.
pub(super) fn send_payload(stream: &mut Stream, kind: Kind, mut payload: Fields) -> u64 {
    let number = stream.take_number();
    payload.insert("seq".to_owned(), Ipld::Integer(i128::from(number)));
    let message = Message::binary(frame(kind.name(), &Ipld::Map(payload)));
    stream.push_raw(message, None, false);
    number
}

fn message(raw: RawFrame, number: u64) -> Message {
    let header = frame("#identity", &Ipld::Null);
    let header = header.split_last().map(|(_, header)| header.to_vec()).unwrap_or_default();
    let with_header = |payload: Vec<u8>| Message::binary([header.clone(), payload].concat());
    let text = |text: &str| Ipld::String(text.to_owned());
    let seq = i128::from(number);
    let fields = || {
        [("did", text(NO_ONE)), ("seq", Ipld::Integer(seq)), ("time", text("2026-01-01T00:00:00Z"))]
    };
    // Pairs of the payload in canonical order, each encoded by itself.
    let pairs: Vec<Vec<u8>> =
        fields().into_iter().map(|(name, value)| [encode(name), encode(&value)].concat()).collect();
    let payload = |head: u8, pairs: Vec<Vec<u8>>| [vec![head], pairs.concat()].concat();
    match raw {
        RawFrame::Text => Message::text("{\"error\":\"this is text\"}"),
        RawFrame::Garbage => Message::binary(vec![0xff, 0xfe, 0xfd, 0x00]),
        RawFrame::TrailingByte => with_header([encode(&map(fields())), vec![0]].concat()),
        RawFrame::UnsortedKeys => with_header(payload(0xa3, pairs.into_iter().rev().collect())),
        RawFrame::DuplicateKey => {
            let doubled = pairs.first().into_iter().chain(&pairs).cloned().collect();
            with_header(payload(0xa4, doubled))
        }
        RawFrame::IndefiniteLength => with_header([payload(0xbf, pairs), vec![0xff]].concat()),
        RawFrame::LongInteger => {
            let long = [encode("seq"), vec![0x1b], number.to_be_bytes().to_vec()].concat();
            let mut pairs = pairs;
            if let Some(pair) = pairs.get_mut(1) {
                *pair = long;
            }
            with_header(payload(0xa3, pairs))
        }
        RawFrame::Truncated => {
            let mut whole = encode(&map(fields()));
            whole.truncate(whole.len().saturating_sub(5));
            with_header(whole)
        }
        RawFrame::Oversized => {
            let mut fields = fields().to_vec();
            fields.push(("filler", Ipld::Bytes(vec![0; TOO_LARGE_FRAME])));
            let map = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            with_header(encode(&Ipld::Map(map)))
        }
        RawFrame::UnknownType => Message::binary(frame("#fromTheFuture", &map(fields()))),
        RawFrame::UnknownOp => {
            let header = map([("op", Ipld::Integer(7)), ("t", text("#commit"))]);
            Message::binary([encode(&header), encode(&map(fields()))].concat())
        }
        RawFrame::OldHandle => Message::binary(frame("#handle", &map(fields()))),
        RawFrame::UnknownInfo => Message::binary(info_frame("Weather", "It rains.")),
    }
}
