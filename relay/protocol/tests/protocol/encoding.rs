//! DAG-CBOR and CIDs: each refusal of section 2 beside its nearest accepted neighbour.

use ipld_core::ipld::Ipld;
use relay_protocol::{
    Cid, Codec, CommitCid, DataCid, Invalid, Kind, Reader, Writer, check_record, encode_uint,
};

use crate::{
    build::{self, encode, hex, map, text},
    vectors::{interop_json, interop_lines},
};

/// Reads one value with all rules of the protocol.
fn check(bytes: &[u8]) -> Result<(), Invalid> {
    let mut reader = Reader::new(bytes);
    reader.skip_value()?;
    reader.expect_end()
}

/// Each row: what is accepted, what is refused, a word of the refusal.
fn neighbours(rows: &[(&str, &str, &str)]) {
    for (good, bad, word) in rows {
        assert_eq!(check(&hex(good)), Ok(()), "{good} is canonical");
        let refusal = check(&hex(bad)).expect_err(bad);
        assert!(refusal.what.contains(word), "{bad}: {refusal}, expected `{word}`");
    }
}

/// ENC-1.
#[test]
fn integers_and_lengths_have_one_form() {
    neighbours(&[
        ("17", "1817", "shortest"),
        ("1818", "1900ff", "shortest"),
        ("190100", "1a0000ffff", "shortest"),
        ("1a00010000", "1b00000000ffffffff", "shortest"),
        ("1b0000000100000000", "1b0000000000000000", "shortest"),
        ("37", "3817", "shortest"),
        ("4101", "580101", "shortest"),
        ("6161", "780161", "shortest"),
        ("8101", "980101", "shortest"),
        ("a1616101", "b801616101", "shortest"),
    ]);
}

/// ENC-1.
#[test]
fn lengths_are_definite() {
    neighbours(&[
        ("4101", "5f4101ff", "indefinite"),
        ("6161", "7f6161ff", "indefinite"),
        ("8101", "9f01ff", "indefinite"),
        ("a1616101", "bf616101ff", "indefinite"),
        ("80", "ff", "indefinite"),
        ("00", "1c", "reserved"),
    ]);
}

/// ENC-2.
#[test]
fn map_keys_are_sorted_unique_text() {
    neighbours(&[
        ("a2616101616202", "a2616201616102", "sorted"),
        // Length comes first: `b` before `aa`.
        ("a261620162616102", "a262616101616202", "sorted"),
        ("a2616101616202", "a2616101616102", "twice"),
        ("a1613001", "a10001", "not text"),
        ("a1616101", "a1416101", "not text"),
    ]);
}

/// ENC-3.
#[test]
fn tag_42_with_a_cid_is_the_only_tag() {
    let digest = "00".repeat(32);
    let good = format!("d82a58250001711220{digest}");
    neighbours(&[
        (&good, &format!("d82b58250001711220{digest}"), "tag"),
        (&good, "c11a514b67b0", "tag"),
        (&good, "d82a6161", "link"),
        // Without the prefix 0, with another prefix, one byte short.
        (&good, &format!("d82a582401711220{digest}"), "link"),
        (&good, &format!("d82a58250101711220{digest}"), "link"),
        (&good, &format!("d82a582400017112 20{}", "00".repeat(31)), "link"),
    ]);
}

/// ENC-4.
#[test]
fn only_false_true_and_null_are_simple_values() {
    neighbours(&[
        ("f4", "f7", "simple"),
        ("f5", "f3", "simple"),
        ("f6", "f8ff", "simple"),
        ("01", "f93c00", "float"),
        ("01", "fa3f800000", "float"),
        ("01", "fb3ff0000000000000", "float"),
    ]);
}

/// ENC-5.
#[test]
fn integers_fit_64_signed_bits() {
    neighbours(&[
        ("1b7fffffffffffffff", "1b8000000000000000", "64 signed bits"),
        ("3b7fffffffffffffff", "3b8000000000000000", "64 signed bits"),
    ]);
    assert_eq!(Reader::new(&hex("3b7fffffffffffffff")).int(), Ok(i64::MIN));
    assert_eq!(Reader::new(&hex("1b7fffffffffffffff")).int(), Ok(i64::MAX));
    assert!(Reader::new(&hex("1b8000000000000000")).uint().is_err());
}

/// ENC-6.
#[test]
fn text_is_utf_8() {
    neighbours(&[("62c3bc", "62c328", "UTF-8"), ("63efbbbf", "63eda080", "UTF-8")]);
}

/// ENC-7.
#[test]
fn nothing_follows_a_value() {
    neighbours(&[("8101", "810101", "follow"), ("8101", "81", "ends inside")]);
}

/// ENC-8: 120 arrays inside each other pass, 121 do not, and no stack is used beyond that.
#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![0x81; depth], vec![0x00]].concat();

    assert_eq!(check(&nested(120)), Ok(()));

    assert!(check(&nested(121)).is_err());
    assert!(check(&nested(1_000_000)).is_err());
    assert!(check(&b"\xa1\x61a".repeat(1_000_000)).is_err());
}

/// ENC-8.
#[test]
fn containers_and_keys_are_bounded() {
    let array = |count: u32| {
        let head = [&[0x9a], count.to_be_bytes().as_slice()].concat();
        [head, vec![0; usize::try_from(count).unwrap()]].concat()
    };
    assert_eq!(check(&array(131_072)), Ok(()));
    assert!(check(&array(131_073)).is_err());

    let key = |length: usize| encode(&Ipld::Map(map([(&*"k".repeat(length), Ipld::Null)])));
    assert_eq!(check(&key(8_192)), Ok(()));
    assert!(check(&key(8_193)).is_err());
}

/// ENC-8: a claimed length costs nothing but the look at the end of the bytes.
#[test]
fn a_length_without_bytes_is_refused_at_once() {
    for claim in ["5b7fffffffffffffff", "7b7fffffffffffffff", "9a00020000", "ba00020000"] {
        assert!(check(&hex(claim)).is_err(), "{claim}");
        assert!(check_record(&hex(claim)).is_err(), "{claim}");
    }
}

/// INV-4, ROLE-5: records may hold what the protocol itself forbids, but they are canonical maps.
#[test]
fn records_are_canonical_maps_that_may_hold_floats() {
    for (good, bad) in [
        ("a0", "80"),
        ("a16161fb3ff8000000000000", "a16161f93e00"),
        ("a16161fb3ff8000000000000", "a16161fb7ff8000000000000"),
        ("a16161fb3ff8000000000000", "a16161fb7ff0000000000000"),
        ("a161611bffffffffffffffff", "a161611b00000000000000ff"),
        ("a2616101616202", "a2616201616102"),
        // A CIDv0 is someone's own business inside a record.
        (
            "a16161d82a582300122000000000000000000000000000000000000000000000000000000000000000 00",
            "a16161d82b582300122000000000000000000000000000000000000000000000000000000000000000 00",
        ),
        ("a16161f6", "a16161f7"),
        ("a16161f6", "a16161f600"),
        ("a16161f6", "a16161"),
        ("a16161f6", ""),
    ] {
        assert_eq!(check_record(&hex(good)), Ok(()), "{good}");
        assert!(check_record(&hex(bad)).is_err(), "{bad}");
    }
}

/// MSG-1.
#[test]
fn records_have_at_most_a_million_bytes() {
    // Map head, key `a`, head of a byte string with a 4-byte length: 8 bytes.
    let record = |size: usize| encode(&Ipld::Map(map([("a", Ipld::Bytes(vec![0; size - 8]))])));
    assert_eq!(record(1_000_000).len(), 1_000_000);

    assert_eq!(check_record(&record(1_000_000)), Ok(()));

    let refusal = check_record(&record(1_000_001)).unwrap_err();
    assert!(refusal.what.starts_with("too large: "), "{refusal}");
}

/// Every reader method takes its own type, refuses all others and leaves the position behind it.
#[test]
fn a_reader_refuses_every_other_type() {
    let cid = Cid::of(b"");
    let mut writer = Writer::new();
    writer.uint(7).int(-7).bytes(b"b").text("t").array(0).map(0).link(&cid).bool(true).null();
    let bytes = writer.into_bytes();
    let kinds = [
        Kind::Uint,
        Kind::Negative,
        Kind::Bytes,
        Kind::Text,
        Kind::Array,
        Kind::Map,
        Kind::Link,
        Kind::Bool,
        Kind::Null,
    ];

    let mut reader = Reader::new(&bytes);
    for kind in kinds {
        assert_eq!(reader.kind(), Some(kind));
        let probe = || reader.clone();
        assert_eq!(probe().uint().ok(), (kind == Kind::Uint).then_some(7));
        let int = match kind {
            Kind::Uint => Some(7),
            Kind::Negative => Some(-7),
            _ => None,
        };
        assert_eq!(probe().int().ok(), int);
        assert_eq!(probe().bytes().ok(), (kind == Kind::Bytes).then_some(b"b".as_slice()));
        assert_eq!(probe().text().ok(), (kind == Kind::Text).then_some("t"));
        assert_eq!(probe().array_len().ok(), (kind == Kind::Array).then_some(0));
        assert_eq!(probe().map_len().ok(), (kind == Kind::Map).then_some(0));
        assert_eq!(probe().cid_link().ok(), (kind == Kind::Link).then_some(cid));
        assert_eq!(probe().block_link().ok(), (kind == Kind::Link).then_some(&cid.digest));
        assert_eq!(probe().bool().ok(), (kind == Kind::Bool).then_some(true));
        assert_eq!(probe().null().is_ok(), kind == Kind::Null);
        assert_eq!(probe().take_null(), kind == Kind::Null);
        assert_eq!(reader.is_null(), kind == Kind::Null);

        let before = reader.position();
        let value = reader.value_bytes().unwrap();
        assert_eq!(&bytes[before..reader.position()], value);
        assert_eq!(&bytes[reader.position()..], reader.rest());
    }
    assert_eq!(reader.kind(), None);
    assert_eq!(reader.expect_end(), Ok(()));
    assert_eq!(Reader::new(&hex("f7")).kind(), Some(Kind::Forbidden));
}

/// ENC-10: heads of every width are those of an independent codec.
#[test]
fn the_writer_agrees_with_an_independent_codec() {
    let edges = [0, 1, 23, 24, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, 1 << 53];
    for value in edges {
        let theirs = encode(&Ipld::Integer(value.into()));
        let mut writer = Writer::with_capacity(9);
        writer.uint(value);
        assert_eq!(writer.as_bytes(), theirs);
        assert_eq!(encode_uint(value).as_slice(), theirs);
        assert_eq!(encode_uint(value).len(), theirs.len());

        let negative = -1 - i64::try_from(value).unwrap();
        writer.truncate(0);
        writer.int(negative);
        assert_eq!(writer.into_bytes(), encode(&Ipld::Integer(negative.into())));
    }
    for length in [0, 23, 24, 255, 256, 65_536] {
        let mut writer = Writer::new();
        writer.array(2).text(&"x".repeat(length)).bytes(&vec![1; length]);
        let theirs = Ipld::List(vec![text(&"x".repeat(length)), Ipld::Bytes(vec![1; length])]);
        assert_eq!(writer.into_bytes(), encode(&theirs));
    }
    let mut writer = Writer::new();
    writer.map(1).text("a").array(3).block_link(&[7; 32]).bool(false).null();
    let theirs = Ipld::List(vec![build::link(7), Ipld::Bool(false), Ipld::Null]);
    assert_eq!(writer.into_bytes(), encode(&Ipld::Map(map([("a", theirs)]))));
}

const EMPTY_NODE: &str = "a2616580616cf6";
const EMPTY_NODE_CID: &str = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";

/// ENC-11: the published CID of the empty tree, in both forms and back.
#[test]
fn a_cid_reads_what_it_prints() {
    let cid = Cid::of(&hex(EMPTY_NODE));

    assert_eq!(cid.to_string(), EMPTY_NODE_CID);
    assert_eq!(CommitCid(cid.digest).to_string(), EMPTY_NODE_CID);
    assert_eq!(DataCid(cid.digest).to_string(), EMPTY_NODE_CID);
    assert_eq!(Cid::parse(EMPTY_NODE_CID), Ok(cid));
    assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));

    // A blob of the official data model fixtures.
    let raw = Cid::parse("bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity").unwrap();
    assert_eq!(raw.codec, Codec::Raw);
    assert_eq!(
        raw.digest.as_slice(),
        hex("4258cfff78f6136976975 63f926c91e5d3574d2ea25ae7ed92d6ebfc23a3889e")
    );
    assert_eq!(raw.to_string(), "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity");
}

/// ENC-11, ENC-12.
#[test]
fn other_cids_are_refused() {
    let good = Cid::of(b"x");
    let text = good.to_string();
    assert_eq!(Cid::parse(&text), Ok(good));
    for bad in [
        String::new(),
        text.to_uppercase(),
        text.replacen('b', "z", 1),
        text[..58].to_owned(),
        format!("{text}a"),
        format!(" {text}"),
        // A last digit whose spare bits are not zero.
        format!("{}b", &text[..58]),
        "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR".to_owned(),
        // dag-pb
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi".to_owned(),
    ] {
        assert!(Cid::parse(&bad).is_err(), "{bad}");
    }

    let bytes = good.to_bytes();
    assert_eq!(Cid::from_bytes(&bytes), Ok(good));
    assert!(Cid::from_bytes(&bytes[..35]).is_err());
    assert!(Cid::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    for (at, value) in [(0, 2), (1, 0x70), (2, 0x13), (3, 0x21)] {
        let mut bytes = bytes;
        bytes[at] = value;
        assert!(Cid::from_bytes(&bytes).is_err(), "byte {at}");
    }
}

/// ENC-12: a tree and a commit are dag-cbor, never raw.
#[test]
fn a_block_link_is_dag_cbor() {
    let dag_cbor = encode(&build::link_of(0x71, &[5; 32]));
    let raw = encode(&build::link_of(0x55, &[5; 32]));

    assert_eq!(Reader::new(&dag_cbor).block_link(), Ok(&[5; 32]));
    assert_eq!(Reader::new(&raw).cid_link().map(|cid| cid.codec), Ok(Codec::Raw));
    assert!(Reader::new(&raw).block_link().is_err());
}

/// T1, ENC-11: the official list names CIDs of all kinds; we take one kind of text only.
#[test]
pub(crate) fn official_cids_of_other_kinds_are_refused() {
    let lines = [
        interop_lines("syntax/cid_syntax_valid.txt"),
        interop_lines("syntax/cid_syntax_invalid.txt"),
    ];
    for line in lines.concat() {
        assert!(Cid::parse(&line).is_err(), "{line}");
    }
    assert!(Cid::parse(EMPTY_NODE_CID).is_ok());
}

/// T1: the official encodings of the data model are canonical records with the published CIDs.
#[test]
pub(crate) fn official_data_model_fixtures_are_canonical() {
    // One of them, restated.
    let restated = (
        "o2Fh2CpYJQABcRIgZQYqWloA/BbXPGlEI3zLwVscSnI0SJM2iR0JF0GiOdBhYlggnFERjvLLiw9qm45JrqH9QTzyC2\
         Lu1Xb4ne6+sBrCzI1hY6RjcmVm2CpYJQABVRIgQljP/3j2E2l2l1Y/kmyR5dNXTS6iWuftktbr/COjiJ5kc2l6ZRk\
         nEGUkdHlwZWRibG9iaG1pbWVUeXBlamltYWdlL2pwZWc",
        "bafyreihldkhcwijkde7gx4rpkkuw7pl6lbyu5gieunyc7ihactn5bkd2nm",
    );
    let mut fixtures = vec![(restated.0.to_owned(), restated.1.to_owned())];
    for fixture in interop_json("data-model/data-model-fixtures.json")
        .as_ref()
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
    {
        let field = |name: &str| fixture[name].as_str().unwrap().to_owned();
        fixtures.push((field("cbor_base64"), field("cid")));
    }
    for (base64, cid) in fixtures {
        let bytes = data_encoding::BASE64_NOPAD.decode(base64.as_bytes()).unwrap();
        assert_eq!(check_record(&bytes), Ok(()), "{cid}");
        assert_eq!(Cid::of(&bytes).to_string(), cid);
    }
}
