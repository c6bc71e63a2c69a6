//! `docs/event-log.md` is what the code writes: every row of its tables, and no byte without a row.

use std::collections::BTreeMap;

use bytes::Bytes;
use relay_protocol::Unsequenced;

use crate::domain::{AccountNo, Epoch, EventKind, HostId, HostSeq};
use crate::eventlog::{
    Entry,
    block::{BLOCK, BLOCK_BYTES, Compressor},
    index::{DISTANCE, Index, MARK, Mark},
    segment::{
        HEADER, Header, INSTANCE_ID_BYTES_MAX, RECORD, RECORD_BYTES_MAX, TRAILER, Trailer,
        checksum, encode_record, file_name,
    },
};

const PAGE: &str = include_str!("../../../../docs/event-log.md");

/// The lines of a section of the page.
fn section(title: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("\n## {title}\n")).expect(title);
    rest.split_once("\n## ").map_or(rest, |(own, _)| own)
}

/// Field, offset and size of each row, in order.
fn rows(title: &str) -> Vec<(String, usize, usize)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows: Vec<_> = section(title)
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(cells)
        .filter_map(|cells| {
            Some((cells[2].clone(), cells[0].parse().ok()?, cells[1].parse().ok()?))
        })
        .collect();
    assert!(!rows.is_empty(), "no table under {title}");
    rows
}

/// Compares each row with the bytes that it should name, and the rows with the whole.
fn compare(title: &str, bytes: &[u8], length: usize, fields: &[(&str, Vec<u8>)]) {
    let fields: BTreeMap<&str, &Vec<u8>> = fields.iter().map(|(name, is)| (*name, is)).collect();
    let rows = rows(title);
    let mut end = 0;
    for (field, offset, size) in &rows {
        assert_eq!(*offset, end, "{title}, {field}: rows must follow each other");
        end += size;
        let written = &bytes[*offset..end];
        let expected = fields.get(field.as_str()).unwrap_or_else(|| panic!("{title}: {field}?"));
        assert_eq!(written, expected.as_slice(), "{title}, {field}");
    }
    assert_eq!(end, length, "{title}: its length");
    assert_eq!(rows.len(), fields.len(), "{title}: a field without a row");
}

fn number(number: u64, bytes: usize) -> Vec<u8> {
    number.to_le_bytes()[..bytes].to_vec()
}

const SALT: u32 = 0xDDCC_BBAA;

/// DESIGN 10.1: the header.
#[test]
fn the_page_has_the_bytes_of_a_header() {
    let header = Header {
        codec: 0,
        salt: SALT,
        base: 0x1111,
        previous: 0x2222,
        created_us: 0x3333,
        instance_id: "the-instance".to_owned(),
    };
    let bytes = header.encode();
    let mut id = b"the-instance".to_vec();
    id.resize(INSTANCE_ID_BYTES_MAX, 0);
    compare(
        "Header",
        &bytes,
        HEADER,
        &[
            ("magic", b"RELAYLOG".to_vec()),
            ("version", number(1, 2)),
            ("codec", number(0, 1)),
            ("id length", number(12, 1)),
            ("salt", number(u64::from(SALT), 4)),
            ("base", number(0x1111, 8)),
            ("previous", number(0x2222, 8)),
            ("created", number(0x3333, 8)),
            ("instance id", id),
            ("zeros", vec![0; 20]),
            ("checksum", crc32fast::hash(&bytes[..HEADER - 4]).to_le_bytes().to_vec()),
        ],
    );
    assert!(section("Header").contains("format version, 1 "));
    assert!(PAGE.contains(&file_name(204_711)), "the names of files");
}

/// DESIGN 10.1: a record, its note and its frame.
#[test]
fn the_page_has_the_bytes_of_a_record() {
    let entry = Entry {
        kind: EventKind::Identity,
        account: AccountNo(0x4444),
        host: HostId(0x5555),
        epoch: Epoch(0x6666),
        host_seq: HostSeq(0x7777),
        note: Bytes::from_static(b"note"),
        frame: Unsequenced {
            before: Bytes::from_static(b"before"),
            after: Bytes::from_static(b"after"),
        },
    };
    let mut bytes = Vec::new();
    encode_record(&entry, (20, 17), 0x8888, SALT, &mut bytes);
    compare(
        "Record",
        &bytes,
        RECORD,
        &[
            ("checksum", checksum(SALT, &bytes[4..]).to_le_bytes().to_vec()),
            ("length", number(bytes.len() as u64, 4)),
            ("seq", number(20, 8)),
            ("time", number(0x8888, 8)),
            ("account", number(0x4444, 8)),
            ("host seq", number(0x7777, 8)),
            ("host", number(0x5555, 4)),
            ("epoch", number(0x6666, 4)),
            ("lead", number(3, 4)),
            ("kind", number(3, 1)),
            ("note length", number(4, 1)),
            ("zeros", vec![0; 2]),
        ],
    );
    assert_eq!(&bytes[RECORD..], b"notebefore\x14after");
    let text = section("Record");
    for kind in EventKind::ALL {
        let name = format!("{kind:?}").to_lowercase();
        assert!(text.contains(&format!("{} `#{name}`", kind.code())), "{name}");
    }
    assert!(text.contains(&format!("at most {} MiB", RECORD_BYTES_MAX >> 20)));
}

/// DESIGN 10.1: the footer.
#[test]
fn the_page_has_the_bytes_of_a_footer() {
    let mut index = Index::default();
    index.note(Mark { seq: 0x1111, time_us: 0x2222, offset: 0x3333 }, DISTANCE);
    let fields =
        [("seq", number(0x1111, 8)), ("time", number(0x2222, 8)), ("offset", number(0x3333, 8))];
    compare("Mark", &index.encode(), MARK, &fields);
    assert!(section("Mark").contains(&format!("every {} KiB", DISTANCE >> 10)));

    let trailer = Trailer {
        base: 0x1111,
        last: 0x2222,
        first_us: 0x3333,
        last_us: 0x4444,
        records_end: 0x5555,
        marks: 0x6666,
        marks_sum: 0x7777,
    };
    let bytes = trailer.encode(SALT);
    compare(
        "Trailer",
        &bytes,
        TRAILER,
        &[
            ("magic", b"RELAYEND".to_vec()),
            ("base", number(0x1111, 8)),
            ("last", number(0x2222, 8)),
            ("first time", number(0x3333, 8)),
            ("last time", number(0x4444, 8)),
            ("records end", number(0x5555, 8)),
            ("marks", number(0x6666, 4)),
            ("marks checksum", number(0x7777, 4)),
            ("zeros", vec![0; 4]),
            ("checksum", checksum(SALT, &bytes[..TRAILER - 4]).to_le_bytes().to_vec()),
        ],
    );
}

/// DESIGN 10.11: a compressed block.
#[test]
fn the_page_has_the_bytes_of_a_block() {
    let records = b"records";
    let bytes = Compressor::new(1).unwrap().block(records, (0x1111, 3), SALT).unwrap();
    compare(
        "Block",
        &bytes,
        BLOCK,
        &[
            ("checksum", checksum(SALT, &bytes[4..]).to_le_bytes().to_vec()),
            ("length", number(bytes.len() as u64, 4)),
            ("plain length", number(records.len() as u64, 4)),
            ("records", number(3, 4)),
            ("seq", number(0x1111, 8)),
        ],
    );
    assert_eq!(zstd::bulk::decompress(&bytes[BLOCK..], 100).unwrap(), records);
    assert!(section("Block").contains(&format!("{} MiB of records", BLOCK_BYTES >> 20)));
}

/// The comments in the code are the same tables.
#[test]
fn the_comments_in_the_code_have_the_rows_of_the_page() {
    const SEGMENT: &str = include_str!("../segment.rs");
    const BLOCKS: &str = include_str!("../block.rs");
    let of_code: Vec<(usize, usize)> = SEGMENT
        .lines()
        .chain(BLOCKS.lines())
        .filter_map(|line| {
            let mut words = line.strip_prefix("//!")?.split_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
        .collect();
    let of_page: Vec<(usize, usize)> = ["Header", "Record", "Mark", "Trailer", "Block"]
        .iter()
        .flat_map(|title| rows(title))
        .map(|(_, offset, size)| (offset, size))
        .collect();
    assert_eq!(of_code, of_page);
}
