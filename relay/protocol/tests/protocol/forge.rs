//! Nodes that no honest tree holds, encoded by hand.

use relay_simnet::{
    block::{self, Cid36, cid_of, cid_of_nothing},
    mst::layer,
};

/// One entry, each field free to be wrong.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) prefix: usize,
    pub(crate) suffix: Vec<u8>,
    pub(crate) value: Cid36,
    pub(crate) right: Option<Cid36>,
}

/// Entries as they should be for these keys and the subtrees behind them.
pub(crate) fn entries<K: AsRef<[u8]>>(keys: &[(K, Option<Cid36>)]) -> Vec<Entry> {
    let mut previous = [].as_slice();
    keys.iter()
        .map(|(key, right)| {
            let key = key.as_ref();
            let prefix = previous.iter().zip(key).take_while(|(a, b)| a == b).count();
            previous = key;
            Entry {
                prefix,
                suffix: key[prefix..].to_vec(),
                value: cid_of_nothing(7),
                right: *right,
            }
        })
        .collect()
}

/// Encodes a node.
pub(crate) fn node(left: Option<Cid36>, entries: &[Entry]) -> Vec<u8> {
    let mut out = vec![0xa2, 0x61, b'e'];
    head(&mut out, 4, entries.len());
    for entry in entries {
        out.extend([0xa4, 0x61, b'k']);
        head(&mut out, 2, entry.suffix.len());
        out.extend(&entry.suffix);
        out.extend([0x61, b'p']);
        head(&mut out, 0, entry.prefix);
        out.extend([0x61, b't']);
        link(&mut out, entry.right);
        out.extend([0x61, b'v']);
        link(&mut out, Some(entry.value));
    }
    out.extend([0x61, b'l']);
    link(&mut out, left);
    out
}

fn link(out: &mut Vec<u8>, cid: Option<Cid36>) {
    match cid {
        None => out.push(0xf6),
        Some(cid) => {
            out.extend([0xd8, 0x2a, 0x58, 0x25, 0x00]);
            out.extend(cid);
        }
    }
}

/// Writes a CBOR head in its shortest form.
pub(crate) fn head(out: &mut Vec<u8>, major: u8, argument: usize) {
    let major = major << 5;
    if let Ok(short @ 0..24) = u8::try_from(argument) {
        out.push(major | short);
    } else if let Ok(byte) = u8::try_from(argument) {
        out.extend([major | 0x18, byte]);
    } else {
        out.push(major | 0x19);
        out.extend(u16::try_from(argument).unwrap().to_be_bytes());
    }
}

/// Puts a block among others and gives its CID.
pub(crate) fn add(blocks: &mut block::Blocks, block: Vec<u8>) -> Cid36 {
    let cid = cid_of(&block);
    blocks.insert(cid, block);
    cid
}

/// The first `count` keys `<prefix><number>` of a layer, in order.
pub(crate) fn keys_in_layer(prefix: &str, wanted: u8, count: usize) -> Vec<String> {
    (100_000..1_000_000)
        .map(|number| format!("{prefix}{number}"))
        .filter(|key| layer(key) == wanted)
        .take(count)
        .collect()
}
