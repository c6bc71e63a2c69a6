//! CAR slices (T25): what ENC-14…16 refuse and tolerate.

use relay_protocol::{Blocks, Cid, CommitCid};

use crate::build::{block, block_under, car, car_header, digest, link_of, section, uvarint};

const COMMIT: &[u8] = b"\xa1\x61c\x01";
const NODE: &[u8] = b"\xa1\x61n\x02";

fn header() -> Vec<u8> {
    car_header(vec![link_of(0x71, &digest(COMMIT))], 1)
}

/// Why a CAR is refused.
fn refusal(parts: &[&[u8]]) -> &'static str {
    Blocks::read(&parts.concat()).expect_err("the CAR is malformed").what
}

/// ENC-14, ENC-15: blocks are found by digest, absent ones are not an error.
#[test]
fn a_slice_gives_its_root_and_blocks() {
    let car = car(&[COMMIT, NODE]);

    let blocks = Blocks::read(&car).unwrap();

    assert_eq!(blocks.root(), CommitCid(digest(COMMIT)));
    assert_eq!(Cid::from(blocks.root()), Cid::of(COMMIT));
    assert_eq!((blocks.len(), blocks.is_empty()), (2, false));
    assert_eq!(blocks.get(&digest(COMMIT)), Ok(Some(COMMIT)));
    assert_eq!(blocks.get(&digest(NODE)), Ok(Some(NODE)));
    assert_eq!(blocks.get(&digest(b"absent")), Ok(None));
}

/// ENC-16: any order, duplicates, further roots and unrelated megabytes are tolerated.
#[test]
fn untidy_slices_are_read() {
    let unrelated = vec![0; 1_000_000];
    let raw = section(&[&[1, 0x55, 0x12, 0x20], digest(b"blob").as_slice(), b"blob"].concat());
    let roots = vec![link_of(0x71, &digest(COMMIT)), link_of(0x55, &digest(b"blob"))];
    let car = [
        car_header(roots, 1),
        block(NODE),
        raw,
        block(&unrelated),
        block(COMMIT),
        block(COMMIT),
        block(NODE),
    ]
    .concat();

    let blocks = Blocks::read(&car).unwrap();

    assert_eq!(blocks.get(&digest(COMMIT)), Ok(Some(COMMIT)));
    assert_eq!(blocks.get(&digest(NODE)), Ok(Some(NODE)));
    assert_eq!(blocks.get(&digest(b"blob")), Ok(None), "a raw block is no block of a repo");
}

/// ENC-13: a block is found by all of its digest: one whose digest begins alike is another, which anybody
/// may put before it.
#[test]
fn a_digest_that_begins_alike_is_another() {
    let mut alike = digest(NODE);
    alike[31] ^= 1;
    let car = [header(), block_under(&alike, b"\x01"), block(COMMIT), block(NODE)].concat();

    let blocks = Blocks::read(&car).unwrap();

    assert_eq!(blocks.get(&digest(NODE)), Ok(Some(NODE)));
    assert!(blocks.get(&alike).is_err(), "it does not hash to its CID");
}

/// ENC-14.
#[test]
fn headers_that_break_a_rule_are_refused() {
    let root = || link_of(0x71, &digest(COMMIT));
    assert!(Blocks::read(&[header(), block(COMMIT)].concat()).is_ok());

    for version in [0, 2] {
        let header = car_header(vec![root()], version);
        assert_eq!(refusal(&[&header, &block(COMMIT)]), "the CAR is not of version 1");
    }
    assert_eq!(refusal(&[&car_header(vec![], 1), &block(COMMIT)]), "the CAR has no root");
    let no_version = section(b"\xa1\x65roots\x80");
    assert_eq!(refusal(&[&no_version]), "the CAR has no root");
    let no_roots = section(b"\xa1\x67version\x01");
    assert_eq!(refusal(&[&no_roots, &block(COMMIT)]), "the CAR has no root");
    let raw_root = car_header(vec![link_of(0x55, &digest(COMMIT))], 1);
    assert_eq!(refusal(&[&raw_root, &block(COMMIT)]), "a link is not to a dag-cbor block");
    assert_eq!(refusal(&[&section(b"\x80")]), "expected a map");
    assert_eq!(refusal(&[&section(b"\xa0\x00")]), "bytes follow the CBOR value");
}

/// ENC-15.
#[test]
fn the_block_of_the_root_is_present() {
    assert!(Blocks::read(&[header(), block(NODE), block(COMMIT)].concat()).is_ok());

    let absent = "the CAR does not hold the block of its root";
    assert_eq!(refusal(&[&header(), &block(NODE)]), absent);
    assert_eq!(refusal(&[&header()]), absent);
}

/// LEG-3: `tooBig` commits of old had empty blocks; that is no CAR.
#[test]
fn no_bytes_are_no_slice() {
    assert_eq!(refusal(&[]), "the CAR ends inside a section");
}

/// ENC-14.
#[test]
fn lengths_are_minimal_and_within_the_bytes() {
    let good = [header(), block(COMMIT)].concat();
    assert!(Blocks::read(&good).is_ok());
    let body = [Cid::of(COMMIT).to_bytes().as_slice(), COMMIT].concat();
    let length = u8::try_from(body.len()).unwrap();

    let not_minimal = [&[length | 0x80, 0x00], body.as_slice()].concat();
    assert_eq!(refusal(&[&header(), &not_minimal]), "a CAR length is not in its shortest form");
    let zero = [0x80, 0x00];
    assert_eq!(refusal(&[&header(), &zero]), "a CAR length is not in its shortest form");
    let ten_bytes = [0xff; 9].into_iter().chain([0x01]).collect::<Vec<_>>();
    assert_eq!(refusal(&[&header(), &ten_bytes]), "a CAR length has more than 9 bytes");
    // Nine bytes are a legal form of a length, which then exceeds what is left.
    let huge = [[0xff; 8].as_slice(), &[0x7f], &body].concat();
    assert_eq!(refusal(&[&header(), &huge]), "the CAR ends inside a section");
    let too_long = [uvarint(body.len() + 1), body.clone()].concat();
    assert_eq!(refusal(&[&header(), &too_long]), "the CAR ends inside a section");
    assert_eq!(refusal(&[&good, &[0x80]]), "the CAR ends inside a section");
}

/// ENC-14: cut anywhere, a slice is refused; at the end of a section only if the root is missing.
#[test]
fn truncated_slices_are_refused() {
    let car = [header(), block(COMMIT), block(NODE)].concat();
    let whole_sections = car.len() - block(NODE).len();
    for length in 0..car.len() {
        let read = Blocks::read(&car[..length]);
        assert_eq!(read.is_ok(), length == whole_sections, "{length} bytes");
    }
}

/// ENC-14: a section holds one of the two kinds of CID.
#[test]
fn sections_without_a_known_cid_are_refused() {
    let short = section(&Cid::of(NODE).to_bytes()[..35]);
    assert_eq!(
        refusal(&[&header(), &block(COMMIT), &short]),
        "a CAR section is shorter than a CID"
    );
    assert_eq!(
        refusal(&[&header(), &block(COMMIT), &section(&[])]),
        "a CAR section is shorter than a CID"
    );
    let mut cid_v0 = vec![0x12, 0x20];
    cid_v0.extend([0; 40]);
    assert_eq!(
        refusal(&[&header(), &block(COMMIT), &section(&cid_v0)]),
        "a CID is not of version 1, dag-cbor or raw, sha2-256"
    );
    // A block without bytes is strange, but it has a CID.
    assert!(Blocks::read(&[header(), block(COMMIT), block(b"")].concat()).is_ok());
}

/// ENC-13: a block that is used must hash to its CID; one that is not used need not.
#[test]
fn a_block_under_a_wrong_cid_is_refused_when_it_is_used() {
    let wrong = block_under(&digest(NODE), b"\xa1\x61n\x03");
    let car = [header(), block(COMMIT), wrong].concat();

    let blocks = Blocks::read(&car).unwrap();

    assert_eq!(blocks.get(&digest(COMMIT)), Ok(Some(COMMIT)));
    for _ in 0..2 {
        let refusal = blocks.get(&digest(NODE)).unwrap_err();
        assert_eq!(refusal.what, "a block does not hash to its CID");
    }
}

/// ENC-13, ENC-16: the sorted index of a large slice answers as the short list does.
#[test]
fn large_slices_are_indexed() {
    let data: Vec<Vec<u8>> = (0..1_000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    let mut bytes = car(&data.iter().map(Vec::as_slice).collect::<Vec<_>>());
    // The first block of a digest counts: these impostors come after the true ones.
    bytes.extend(block_under(&digest(&data[500]), b"impostor"));
    bytes.extend(block_under(&digest(b"only an impostor"), b"impostor"));

    let blocks = Blocks::read(&bytes).unwrap();

    for block in &data {
        assert_eq!(blocks.get(&digest(block)), Ok(Some(block.as_slice())));
    }
    assert_eq!(blocks.get(&digest(b"absent")), Ok(None));
    assert!(blocks.get(&digest(b"only an impostor")).is_err());
}

/// ENC-16.
#[test]
fn a_slice_has_at_most_ten_thousand_blocks() {
    let fill = |count: usize| {
        let mut bytes = car(&[COMMIT]);
        bytes.extend(block(NODE).repeat(count - 1));
        bytes
    };

    assert_eq!(Blocks::read(&fill(10_000)).map(|blocks| blocks.len()), Ok(10_000));

    let bytes = fill(10_001);
    assert!(refusal(&[&bytes]).starts_with("too large: "));
}
