//! Inputs that a search begins with: valid ones, because from them the rare paths are near.

use std::{path::Path, sync::Arc};

use relay::{domain::Seq, eventlog::Files as _};
use relay_simnet::{
    Consumer, Ipld, Net, Start, Write,
    block::{self, cid_of_nothing},
    mst::Tree,
    wire,
};

use crate::fuzz_daemon::{
    disk::{DIR, Disk},
    live,
};

/// An input and the target that takes it.
pub(crate) struct Seed {
    pub(crate) target: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// All of them, the same in every run but for what a clock or a port puts into them.
pub(crate) async fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, bytes: Vec<u8>| seeds.push(Seed { target, bytes });
    for frame in frames().await {
        if let Some(car) = blocks_of(&frame) {
            for (_, block) in block::read_car(&car).unwrap().blocks {
                add(target_of(&block), block.clone());
                add("encoding", block);
            }
            add("car", car);
        }
        add("frame", frame);
    }
    for (target, texts) in TEXTS {
        for text in texts {
            add(target, text.as_bytes().to_vec());
        }
    }
    for keys in [0, 1, 5, 40_u64] {
        let mut tree = Tree::new();
        for number in 0..keys {
            tree.insert(format!("com.example.c/{number:03}"), cid_of_nothing(number));
        }
        tree.root_and_blocks().1.into_values().for_each(|node| add("node", node));
    }
    for length in [8, 40, 90_u8] {
        add("inversion", (0..length).map(|number| number.wrapping_mul(37)).collect());
        add("inversion", (0..length).rev().collect());
    }
    for query in ["", "cursor=", "cursor=0", "cursor=%34%32", "x=1&cursor=17", "cursor=-1"] {
        add("cursor", [b"\x20\x00\x04\x00\x01", query.as_bytes()].concat());
    }
    for lives in 1..=5 {
        let disk = Arc::new(Disk::default());
        let mut known = Seq(0);
        for _ in 0..lives {
            known = live(&disk, known).await.unwrap().1;
        }
        let input = input_of(&disk);
        if lives == 3 {
            add("segment", with_a_compressed_file(&input));
        }
        add("segment", input);
    }
    seeds
}

/// The input that makes a disk like this one.
fn input_of(disk: &Disk) -> Vec<u8> {
    let mut input = vec![1];
    for (name, length) in disk.list(Path::new(DIR)).unwrap() {
        let file = disk.open(&Path::new(DIR).join(name), false).unwrap();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        input.extend_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
        input.push(0);
        input.extend_from_slice(&bytes);
    }
    input
}

/// The same input, the records of its first file, which is sealed, being in one compressed block.
/// Checksums are left open: the target makes them true.
fn with_a_compressed_file(input: &[u8]) -> Vec<u8> {
    const HEADER: usize = 128;
    const TRAILER: usize = 64;
    let length = usize::from(u16::from_le_bytes([input[1], input[2]]));
    let (file, rest) = input[4..].split_at(length);
    let (body, trailer) = file.split_at(length - TRAILER);
    let number = |at: usize| u64::from_le_bytes(trailer[at..at + 8].try_into().unwrap());
    let (records, marks) = body[HEADER..].split_at(usize::try_from(number(40)).unwrap() - HEADER);
    let packed = zstd::bulk::compress(records, 1).unwrap();

    let small = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut out = file[..HEADER].to_vec();
    out[10] = 1;
    out.extend([0; 4]);
    out.extend(small(24 + packed.len()));
    out.extend(small(records.len()));
    out.extend(small(usize::try_from(number(16) - number(8)).unwrap() + 1));
    out.extend(&trailer[8..16]);
    out.extend(&packed);
    let records_end = u64::try_from(out.len()).unwrap();
    out.extend(&marks[..24]);
    out.extend(&trailer[..40]);
    out.extend(records_end.to_le_bytes());
    out.extend(small(1));
    out.extend(&trailer[52..]);
    let length = u16::try_from(out.len()).unwrap().to_le_bytes();
    [&[1], length.as_slice(), &[0], &out, rest].concat()
}

/// One event of each kind as a host sends them, and the frames that end a stream.
async fn frames() -> Vec<Vec<u8>> {
    let net = Net::seeded(3).await.unwrap();
    let host = net.pds("alpha").await.unwrap();
    let alice = host.account("alice").await.unwrap();
    let mut stream = Consumer::connect(&host.stream_url(), Start::After(0)).await.unwrap();
    let record =
        || block::map([("text", Ipld::String("hello".to_owned())), ("n", Ipld::Float(1.5))]);
    alice.post("hello").await.unwrap();
    alice.create("com.example.c", "one", record()).await.unwrap();
    alice.update("com.example.c", "one", Ipld::Map(wire::Fields::new())).await.unwrap();
    let many = |number| Write::create(format!("com.example.d/{number}"), record());
    alice.apply((0..5).map(many).collect()).await.unwrap();
    alice.delete("com.example.c/one").await.unwrap();
    alice.empty_commit().await.unwrap();
    alice.sync().await.unwrap();
    alice.identity(Some("alice.example.com")).await.unwrap();
    alice.identity(None).await.unwrap();
    alice.set_status(false, Some("deactivated")).await.unwrap();
    let events = stream.take(usize::try_from(host.head()).unwrap()).await.unwrap();
    let mut frames: Vec<_> = events.iter().map(|event| event.frame.to_vec()).collect();
    frames.push(wire::error_frame("FutureCursor", "Cursor in the future."));
    frames.push(wire::info_frame("OutdatedCursor", "Possibly missing events"));
    frames
}

/// The CAR in a frame.
fn blocks_of(frame: &[u8]) -> Option<Vec<u8>> {
    let payload = frame.get(wire::item_len(frame)?..)?;
    match block::decode(payload).ok()? {
        Ipld::Map(fields) => match fields.get("blocks")? {
            Ipld::Bytes(car) => Some(car.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// What a block of a repository is.
fn target_of(block: &[u8]) -> &'static str {
    match block::decode(block) {
        Ok(Ipld::Map(fields)) if fields.contains_key("sig") => "commit",
        Ok(Ipld::Map(fields)) if fields.contains_key("e") => "node",
        _ => "encoding",
    }
}

const DOCUMENT: &str = r##"{"@context":["https://www.w3.org/ns/did/v1"],
"id":"did:plc:7iza6de2dwap2sbkpav7c6c6","alsoKnownAs":["at://alice.example.com"],
"verificationMethod":[{"id":"did:plc:7iza6de2dwap2sbkpav7c6c6#atproto","type":"Multikey",
"controller":"did:plc:7iza6de2dwap2sbkpav7c6c6",
"publicKeyMultibase":"zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"}],
"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer",
"serviceEndpoint":"https://pds.example.com"}]}"##;

const DEV_DOCUMENT: &str = r##"{"id":"did:plc:7iza6de2dwap2sbkpav7c6c6","alsoKnownAs":["at://alice.test"],
"verificationMethod":[{"id":"#atproto","type":"EcdsaSecp256r1VerificationKey2019",
"controller":"did:plc:7iza6de2dwap2sbkpav7c6c6","publicKeyMultibase":"z"}],
"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer",
"serviceEndpoint":"http://localhost:2583/"}]}"##;

const TEXTS: [(&str, &[&str]); 4] = [
    (
        "document",
        &[
            DOCUMENT,
            DEV_DOCUMENT,
            r#"{"id":"did:plc:7iza6de2dwap2sbkpav7c6c6"}"#,
            r#"{"id":"did:plc:7iza6de2dwap2sbkpav7c6c6","service":null}"#,
            "{}",
        ],
    ),
    (
        "hostname",
        &[
            "pds.example.com",
            "https://pds.example.com/xrpc?x#y",
            "wss://PDS.example.com",
            "http://localhost:2583",
            "localhost:2583",
            "127.0.0.1",
            "user@pds.example.com",
            "pds.test",
            "xn--bcher-kva.example.com",
            "1.0x7f",
        ],
    ),
    (
        "identifiers",
        &[
            "did:plc:7iza6de2dwap2sbkpav7c6c6",
            "did:web:pds.example.com",
            "did:web:localhost%3A2583",
            "alice.example.com",
            "app.bsky.feed.post/3jzfcijpj2z2a",
            "3jzfcijpj2z2a",
            "2026-01-01T00:00:00.000Z",
            "1985-04-12T23:20:50.123+01:00",
            "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
            "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF",
        ],
    ),
    (
        "settings",
        &[
            "shards = 2\ncrawl = [\"pds.example.com\"]\n\0RELAY_SHARDS=3\n\0RELAY_API_BIND=:2470",
            "replay_window = \"72h\"\nreplay_max_bytes = \"auto\"\0\0\0--dev\n--crawl=localhost:2583",
            "\0ENVIRONMENT=production\nRESOLVE_ADDRESS=\"8.8.8.8:53\"\0RELAY_HOST_CONCURRENCY=20",
            "\0\0RELAY_LENIENT_HOSTS=pds.example.com=2027-01-01\nRELAY_STRICT_SINCE=2027-07-01",
            "plc_host = \"https://plc.example.com\"\nlog_format = \"json\"\nlog_level = \"debug\"",
        ],
    ),
];
