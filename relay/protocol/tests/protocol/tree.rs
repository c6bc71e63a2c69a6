//! MST-1…6: nodes and trees that break one rule each, beside the same tree that does not (T12).
//!
//! A tree is checked without operations: then a valid one gives its own root.

use relay_protocol::{EMPTY_TREE, Inversion, key_layer};
use relay_simnet::{
    block::{Blocks, Cid36, cid_of, cid_of_nothing},
    mst::{NodeData, layer},
};

use crate::{
    change::{Change, data, structure, tree_of},
    forge::{Entry, add, entries, head, keys_in_layer, node},
    vectors::{interop, interop_cases},
};

fn check(root: Cid36, blocks: Blocks) -> Inversion {
    Change::none(root, blocks).invert()
}

/// Checks a node that is the whole tree.
fn check_root(block: Vec<u8>) -> Inversion {
    let mut blocks = Blocks::new();
    let root = add(&mut blocks, block);
    check(root, blocks)
}

/// Keys of layers 0 to 3, three of each, whose order is that of their layers: `0…`, `1…`, `2…`, `3…`.
fn keys() -> [Vec<String>; 4] {
    [0_u8, 1, 2, 3].map(|wanted| keys_in_layer(&format!("com.example.{wanted}/"), wanted, 3))
}

/// MST-1, T1.
#[test]
pub(crate) fn layers_of_keys_are_the_published_ones() {
    for vector in interop_cases("mst/key_heights.json") {
        let key = vector["key"].as_str().unwrap();
        assert_eq!(Some(u64::from(key_layer(key.as_bytes()))), vector["height"].as_u64(), "{key}");
    }
    for key in interop("mst/example_keys.txt").iter().flat_map(|file| file.lines()) {
        let height: u32 = key[1..2].parse().unwrap();
        assert_eq!(key_layer(key.as_bytes()), height, "{key}");
    }
}

/// MST-2, T1: prefixes count bytes. In a tree the second key of a node shows its prefix.
#[test]
pub(crate) fn prefixes_are_the_published_ones() {
    for vector in interop_cases("mst/common_prefix.json") {
        let (left, right) = (vector["left"].as_str().unwrap(), vector["right"].as_str().unwrap());
        let prefix = usize::try_from(vector["len"].as_u64().unwrap()).unwrap();
        if left.is_empty() || left >= right || layer(left) != layer(right) {
            continue;
        }
        let pair = entries(&[(left, None), (right, None)]);
        assert_eq!(pair[1].prefix, prefix);
        assert_eq!(check_root(node(None, &pair)), Inversion::Ok, "{left} {right}");
    }
}

/// MST-4, INV-8.
#[test]
fn a_repository_without_keys_is_one_empty_node() {
    let empty = node(None, &[]);
    assert_eq!(data(&cid_of(&empty)), EMPTY_TREE);
    assert_eq!(
        EMPTY_TREE.to_string(),
        "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
    );
    assert_eq!(check_root(empty), Inversion::Ok);
}

/// INV-10: prefixes that are too short or too long, keys out of order, empty or too long.
#[test]
fn entries_whose_keys_are_badly_written_are_refused() {
    let [zero, ..] = keys();
    let good = entries(&[(&zero[0], None), (&zero[1], None), (&zero[2], None)]);
    assert_eq!(check_root(node(None, &good)), Inversion::Ok);

    let with = |place: usize, prefix: usize, suffix: &[u8]| {
        let mut bad = good.clone();
        bad[place] = Entry { prefix, suffix: suffix.to_vec(), ..bad[place].clone() };
        structure(check_root(node(None, &bad)))
    };
    let (first, second) = (zero[0].as_bytes(), zero[1].as_bytes());
    let shared = good[1].prefix;
    assert_eq!(with(1, shared, &second[shared..]), "no structure error");
    assert_eq!(with(1, shared - 1, &second[shared - 1..]), "a key's prefix is not maximal");
    assert_eq!(with(1, 0, second), "a key's prefix is not maximal");
    assert_eq!(with(0, 1, &first[1..]), "a key's prefix is longer than the key before it");
    assert_eq!(with(1, first.len() + 1, b"x"), "a key's prefix is longer than the key before it");
    assert_eq!(with(1, first.len(), b""), "a key is empty or not after the one before it");
    assert_eq!(with(0, 0, b""), "a key is empty or not after the one before it");
    assert_eq!(with(1, shared, b"\0"), "the keys of a node are not in order");
    assert_eq!(with(2, 0, &[b'z'; 1_025]), "a key is too long");
    assert_eq!(with(2, 3, &[b'z'; 1_022]), "a key is too long");
}

/// INV-10: a key whose layer is not that of its node, in the root and below it.
#[test]
fn keys_in_a_wrong_layer_are_refused() {
    let [zero, one, ..] = keys();
    assert_eq!(check_root(node(None, &entries(&[(&zero[0], None)]))), Inversion::Ok);
    assert_eq!(check_root(node(None, &entries(&[(&one[0], None)]))), Inversion::Ok);
    let mixed = node(None, &entries(&[(&zero[0], None), (&one[0], None)]));
    assert_eq!(structure(check_root(mixed)), "a key is not in the layer of its node");

    let below = |key: &str| {
        let mut blocks = Blocks::new();
        let child = add(&mut blocks, node(None, &entries(&[(key, None)])));
        let root = add(&mut blocks, node(Some(child), &entries(&[("com.example.9/5", None)])));
        check(root, blocks)
    };
    assert_eq!(layer("com.example.9/5"), 1, "chosen for its layer");
    assert_eq!(below(&zero[0]), Inversion::Ok);
    assert_eq!(structure(below(&one[0])), "a key is not in the layer of its node");
}

/// INV-10: a child whose keys lie on the wrong side of a key of its parent, or of a key further up.
#[test]
fn children_outside_the_range_of_their_place_are_refused() {
    let [zero, _, two, upper] = keys();
    // upper[0] … upper[1], and between them two layers further down a key of layer 0.
    let tree = |low: &str, high: &str, key: &str| {
        let mut blocks = Blocks::new();
        let leaf = add(&mut blocks, node(None, &entries(&[(key, None)])));
        let wrapper = add(&mut blocks, node(Some(leaf), &[]));
        let middle = add(&mut blocks, node(Some(wrapper), &[]));
        let root = add(&mut blocks, node(None, &entries(&[(low, Some(middle)), (high, None)])));
        check(root, blocks)
    };
    let inside = keys_in_layer(&upper[0], 0, 1).remove(0);
    assert_eq!(tree(&upper[0], &upper[1], &inside), Inversion::Ok);
    for outside in [&zero[0], &keys_in_layer("com.example.4/", 0, 1)[0]] {
        let refused = tree(&upper[0], &upper[1], outside);
        assert_eq!(structure(refused), "a key lies outside the range of its subtree");
    }

    let left = |key: &str| {
        let mut blocks = Blocks::new();
        let leaf = add(&mut blocks, node(None, &entries(&[(key, None)])));
        let wrapper = add(&mut blocks, node(Some(leaf), &[]));
        let root = add(&mut blocks, node(Some(wrapper), &entries(&[(&two[0], None)])));
        check(root, blocks)
    };
    assert_eq!(left(&zero[0]), Inversion::Ok);
    assert_eq!(structure(left(&inside)), "a key lies outside the range of its subtree");
}

/// INV-10: skipped layers, nodes below layer 0, empty nodes and bare pointers.
#[test]
fn nodes_in_a_place_that_cannot_be_are_refused() {
    let [zero, _, two, _] = keys();
    let mut blocks = Blocks::new();
    let leaf = add(&mut blocks, node(None, &entries(&[(&zero[0], None)])));
    let wrapper = add(&mut blocks, node(Some(leaf), &[]));
    let empty = add(&mut blocks, node(None, &[]));
    let below = |child: Cid36, key: &str| {
        let mut blocks = blocks.clone();
        let root = add(&mut blocks, node(Some(child), &entries(&[(key, None)])));
        check(root, blocks)
    };

    assert_eq!(below(wrapper, &two[0]), Inversion::Ok);
    assert_eq!(structure(below(leaf, &two[0])), "a key is not in the layer of its node");
    assert_eq!(structure(below(empty, &two[0])), "a node below the root is empty");
    assert_eq!(structure(below(leaf, &zero[1])), "a node lies below layer 0");
    assert_eq!(structure(below(cid_of_nothing(1), &zero[1])), "a node lies below layer 0");
    assert_eq!(structure(check(wrapper, blocks.clone())), "the root is only a pointer");
    assert_eq!(check(leaf, blocks.clone()), Inversion::Ok);

    let behind = node(None, &entries(&[(&zero[1], Some(cid_of_nothing(1)))]));
    assert_eq!(structure(check_root(behind)), "a node lies below layer 0");
    let deep = add(&mut blocks, node(Some(wrapper), &[]));
    let root = add(&mut blocks, node(Some(deep), &entries(&[(&two[0], None)])));
    assert_eq!(structure(check(root, blocks)), "a node lies below layer 0");
}

/// ENC-13, INV-10.
#[test]
fn a_block_that_does_not_hash_to_its_cid_is_refused() {
    let tree = tree_of(["com.example.a/1", "com.example.b/2"]);
    let (root, mut blocks) = tree.root_and_blocks();
    assert_eq!(check(root, blocks.clone()), Inversion::Ok);

    *blocks.get_mut(&root).unwrap() = node(None, &[]);
    assert_eq!(structure(check(root, blocks)), "a block does not hash to its CID");
}

/// ENC-9, ENC-12, MST-2: fields that are missing, extra, of a wrong type or in another encoding.
#[test]
fn nodes_with_another_encoding_are_refused() {
    let link = |codec: u8| {
        let mut link = vec![0xd8, 0x2a, 0x58, 0x25, 0x00, 0x01, codec, 0x12, 0x20];
        link.extend([7; 32]);
        link
    };
    // A node of one entry, from the head of that entry's map, its k, p, t and v, and the node's end.
    let parts = |[map, key, prefix, right, value, tail]: [&[u8]; 6]| {
        let entry =
            [map, b"\x61k", key, b"\x61p", prefix, b"\x61t", right, b"\x61v", value].concat();
        [b"\xa2\x61e\x81".as_slice(), &entry, tail].concat()
    };
    let what = |block: Vec<u8>| structure(check_root(block));
    let (value, raw) = (link(0x71), link(0x55));
    let good: [&[u8]; 6] = [b"\xa4", b"\x42k1", b"\x00", b"\xf6", &value, b"\x61l\xf6"];
    assert_eq!(check_root(parts(good)), Inversion::Ok);

    let node_shape = "a node is not a map of e and l";
    let entry_shape = "a node's entry is not a map of k, p, t and v";
    let not_shortest = "an integer or length is not in its shortest form";
    let spoilt: [(usize, &[u8], &str); 11] = [
        (0, b"\xa3", entry_shape),
        (0, b"\xbf", entry_shape),
        (1, b"\x58\x02k1", not_shortest),
        (1, b"\x62k1", "expected a byte string"),
        (2, b"\x20", "expected an unsigned integer"),
        (2, b"\x18\x00", not_shortest),
        (3, &raw, "a link is not to a dag-cbor block"),
        (4, b"\xf6", "expected a CID link"),
        (4, &raw, "a link is not to a dag-cbor block"),
        (5, b"\x61m\xf6", node_shape),
        (5, b"\x61l\xf6\x00", "bytes follow the CBOR value"),
    ];
    for (part, bytes, refusal) in spoilt {
        let mut bad = good;
        bad[part] = bytes;
        assert_eq!(what(parts(bad)), refusal, "part {part} {bytes:02x?}");
    }
    let whole: [(&[u8], &str); 6] = [
        (b"", node_shape),
        (b"\xa1\x61e\x80", node_shape),
        (b"\xa3\x61e\x80\x61l\xf6\x61x\x00", node_shape),
        (b"\xa2\x61l\xf6\x61e\x80", node_shape),
        (b"\xbf\x61e\x80\x61l\xf6\xff", node_shape),
        (b"\xa2\x61e\x9f\xff\x61l\xf6", "a CBOR length is indefinite"),
    ];
    for (block, refusal) in whole {
        assert_eq!(what(block.to_vec()), refusal, "{block:02x?}");
    }
    let mut swapped = vec![0xa2, 0x61, b'e', 0x81, 0xa4, 0x61, b'p', 0, 0x61, b'k'];
    head(&mut swapped, 2, 2);
    swapped.extend(b"k1\x61t\xf6\x61v");
    swapped.extend(&value);
    swapped.extend(b"\x61l\xf6");
    assert_eq!(what(swapped), entry_shape);
}

/// ENC-9: every truncation and extension of a node is refused, and whatever changed byte passes
/// makes a block that another codec reads and writes just so.
#[test]
fn mutated_nodes_are_refused_or_canonical() {
    let [_, one, ..] = keys();
    let absent = |number| Some(cid_of_nothing(number));
    let good = node(absent(1), &entries(&[(&one[0], None), (&one[1], absent(2)), (&one[2], None)]));
    assert_eq!(check_root(good.clone()), Inversion::Ok);

    for end in 0..good.len() {
        assert_ne!(
            structure(check_root(good[..end].to_vec())),
            "no structure error",
            "cut at {end}"
        );
    }
    for byte in 0..=255 {
        let longer = [good.as_slice(), &[byte]].concat();
        assert_eq!(structure(check_root(longer)), "bytes follow the CBOR value");
    }
    let (mut passed, mut refused) = (0, 0);
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[place] ^= 1 << bit;
            if check_root(flipped.clone()) != Inversion::Ok {
                refused += 1;
                continue;
            }
            passed += 1;
            let read = NodeData::decode(&flipped).unwrap();
            let keys: Vec<_> = read.entries.iter().map(|(key, _, right)| (key, *right)).collect();
            let mut again = entries(&keys);
            for (entry, (_, value, _)) in again.iter_mut().zip(&read.entries) {
                entry.value = *value;
            }
            assert_eq!(node(read.left, &again), flipped, "byte {place} bit {bit}");
        }
    }
    // Of the digests of five links, any bit may be another.
    assert!(passed >= 5 * 32 * 8 && refused > 500, "{passed} passed, {refused} refused");
}
