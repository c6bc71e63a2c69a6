//! Keys that were mined so that few records make a deep tree.
//!
//! The layer of a key is the number of leading zero bits of its SHA-256 in pairs, so that a key of
//! layer 14 took about 2^28 hashes to find; each further layer costs four times as much. These are one
//! key per layer, the higher ones first in order: together they make a chain of fifteen nodes with one
//! entry each, and every change of the lowest rewrites and proves all of them. A tree of a real
//! repository of that depth would hold about 4^14 records.

use crate::{mst::CachedTree, repo::Write};
use ipld_core::ipld::Ipld;

/// One key for each layer from 14 down to 0.
pub const DEEP_KEYS: [&str; 15] = [
    "com.example.deep/a1574a6e",
    "com.example.deep/b1d5b0fa",
    "com.example.deep/c232c5",
    "com.example.deep/d20a809",
    "com.example.deep/ebcd04",
    "com.example.deep/fbe339",
    "com.example.deep/g1a3f7",
    "com.example.deep/ha14",
    "com.example.deep/i1565",
    "com.example.deep/j17a",
    "com.example.deep/k186",
    "com.example.deep/l2b",
    "com.example.deep/m23",
    "com.example.deep/n1",
    "com.example.deep/o2",
];

/// Creates the keys that are not there and deletes the others, so that the tree grows its tower or
/// loses it at once.
pub(crate) fn toggle(tree: &CachedTree) -> impl Iterator<Item = Write> {
    let is_there: Vec<bool> = DEEP_KEYS.iter().map(|key| tree.get(key).is_some()).collect();
    DEEP_KEYS.iter().zip(is_there).map(|(key, is_there)| {
        if is_there {
            return Write::delete(*key);
        }
        let fields = [
            ("$type".to_owned(), Ipld::String("com.example.deep".to_owned())),
            ("key".to_owned(), Ipld::String((*key).to_owned())),
        ];
        Write::create(*key, Ipld::Map(fields.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block::cid_of, mst::layer};

    /// MST-1: the keys lie where the table says, which is what makes the tree deep.
    #[test]
    fn the_mined_keys_make_a_chain_of_fifteen_nodes() {
        for (below, key) in DEEP_KEYS.iter().enumerate() {
            assert_eq!(usize::from(layer(key)) + below, 14, "{key}");
        }
        let mut tree = CachedTree::new();
        for key in DEEP_KEYS {
            tree.insert(key, cid_of(key.as_bytes()));
        }
        let (_, blocks) = tree.root_and_proof(&[DEEP_KEYS[14]]);
        assert_eq!(blocks.len(), 15, "one node per layer, all on the path of the lowest key");
    }

    /// What was created is deleted the next time.
    #[test]
    fn the_tower_comes_and_goes() {
        let mut tree = CachedTree::new();
        assert!(toggle(&tree).all(|write| matches!(write, Write::Create { .. })));
        for key in DEEP_KEYS {
            tree.insert(key, cid_of(key.as_bytes()));
        }
        assert!(toggle(&tree).all(|write| matches!(write, Write::Delete { .. })));
    }
}
