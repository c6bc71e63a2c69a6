//! The bytes of the format, pinned.

use relay_protocol::Unsequenced;

use super::*;

fn entry(note: &'static [u8]) -> Entry {
    Entry {
        kind: EventKind::Sync,
        account: AccountNo(0x0102_0304_0506_0708),
        host: HostId(9),
        epoch: Epoch(3),
        host_seq: HostSeq(77),
        note: Bytes::from_static(note),
        frame: Unsequenced { before: Bytes::from_static(b"<"), after: Bytes::from_static(b">") },
    }
}

fn record(note: &'static [u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_record(&entry(note), (20, 18), 5_000_000, 0xABCD, &mut out);
    out
}

fn header() -> Header {
    Header {
        codec: 0,
        salt: 0xDDCC_BBAA,
        base: 1_000,
        previous: 999,
        created_us: 1,
        instance_id: "a-log".to_owned(),
    }
}

/// DESIGN 10.1: the table in the docs is what is written.
#[test]
fn a_record_has_the_bytes_of_the_table() {
    let bytes = record(b"nb");

    // seq 20 is one byte of CBOR, 0x14.
    assert_eq!(bytes.len(), RECORD + 2 + 3);
    assert_eq!(bytes[0..4], checksum(0xABCD, &bytes[4..]).to_le_bytes());
    assert_eq!(bytes[4..8], [61, 0, 0, 0]);
    assert_eq!(bytes[8..16], [20, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[16..24], 5_000_000_u64.to_le_bytes());
    assert_eq!(bytes[24..32], [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bytes[32..40], [77, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[40..44], [9, 0, 0, 0]);
    assert_eq!(bytes[44..48], [3, 0, 0, 0]);
    assert_eq!(bytes[48..52], [2, 0, 0, 0]);
    assert_eq!(bytes[52..56], [2, 2, 0, 0]);
    assert_eq!(&bytes[56..], b"nb<\x14>");
}

/// OUT-3: what was appended comes back, sharing the memory that it was read into.
#[test]
fn a_record_comes_back_whole() {
    for note in [&b""[..], b"n", &[7; 255]] {
        let mut bytes = vec![0xEE; 5];
        bytes.extend(record(note));
        let bytes = Bytes::from(bytes);

        let Parsed::Whole(parsed) = parse_record(&bytes[5..], 0xABCD) else {
            panic!("not read");
        };
        let event = parsed.event(&bytes, 5);

        assert_eq!((parsed.seq, parsed.synced, parsed.length), (20, 18, bytes.len() - 5));
        assert_eq!((event.seq, event.time_us, event.kind), (Seq(20), 5_000_000, EventKind::Sync));
        assert_eq!((event.host, event.epoch, event.host_seq), (HostId(9), Epoch(3), HostSeq(77)));
        assert_eq!(event.account, AccountNo(0x0102_0304_0506_0708));
        assert_eq!((&event.note[..], &event.frame[..]), (note, &b"<\x14>"[..]));
    }
}

/// DESIGN 10.1: every flipped bit is noticed, every missing byte is asked for.
#[test]
fn a_changed_or_cut_record_is_never_taken_for_a_whole_one() {
    let bytes = record(b"note");
    assert!(matches!(parse_record(&bytes, 0xABCD), Parsed::Whole(_)));

    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let parsed = parse_record(&changed, 0xABCD);
            assert!(!matches!(parsed, Parsed::Whole(_)), "bit {bit} of byte {at}");
        }
        assert!(matches!(parse_record(&bytes[..at], 0xABCD), Parsed::Short(n) if n > at));
    }
    assert_eq!(parse_record(&bytes, 0xABCE), Parsed::Bad("wrong checksum"));
    assert_eq!(parse_record(&[0; 200], 0xABCD), Parsed::Bad("impossible length"));
}

/// DESIGN 10.18, 10.11: a header says whose log it is and in which format.
#[test]
fn a_header_comes_back_and_damage_and_news_are_told_apart() {
    let bytes = header().encode();
    assert_eq!(bytes.len(), HEADER);
    assert_eq!(bytes[8..16], [1, 0, 0, 5, 0xAA, 0xBB, 0xCC, 0xDD]);
    assert_eq!(&bytes[40..46], b"a-log\0");
    assert_eq!(Header::decode(&bytes), Ok(header()));

    for at in 0..HEADER {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert_eq!(Header::decode(&changed), Err(HeaderFault::Damaged), "byte {at}");
    }
    assert_eq!(Header::decode(&bytes[..127]), Err(HeaderFault::Damaged));

    let mut newer = bytes;
    newer[8] = 2;
    newer[10] = 1;
    let sum = crc32fast::hash(&newer[..124]).to_le_bytes();
    newer[124..].copy_from_slice(&sum);
    assert_eq!(Header::decode(&newer), Err(HeaderFault::Unknown { version: 2, codec: 1 }));
}

/// DESIGN 10.1: a trailer comes back; a changed one, or one of another segment, does not.
#[test]
fn a_trailer_comes_back_and_damage_is_noticed() {
    let trailer = Trailer {
        base: 5,
        last: 9,
        first_us: 1,
        last_us: 2,
        records_end: 4_096,
        marks: 3,
        marks_sum: 4,
    };
    let bytes = trailer.encode(1);
    assert_eq!(bytes.len(), TRAILER);
    assert_eq!(Trailer::decode(&bytes, 1), Some(trailer));
    assert_eq!(Trailer::decode(&bytes, 2), None);
    for at in 0..TRAILER {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(Trailer::decode(&changed, 1), None, "byte {at}");
    }
}

/// Other files in the directory are not taken for segments.
#[test]
fn file_names_carry_the_base_and_sort_by_it() {
    assert_eq!(file_name(1_000), "00000000000000001000.log");
    assert_eq!(base_of(&file_name(Seq::MAX.0)), Some(Seq::MAX.0));
    for other in ["", "1.log", "0000000000000000000a.log", "00000000000000001000.tmp"] {
        assert_eq!(base_of(other), None, "{other}");
    }
}
