use super::*;
use crate::block::{cid_from_text, cid_of_nothing, cid_text};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// MST-1.
#[test]
fn layers_agree_with_the_published_ones() {
    let published = [
        ("", 0),
        ("asdf", 0),
        ("2653ae71", 0),
        ("blue", 1),
        ("88bfafc7", 2),
        ("2a92d355", 4),
        ("884976f5", 6),
        ("app.bsky.feed.post/454397e440ec", 4),
        ("app.bsky.feed.post/9adeb165882c", 8),
        ("key1", 0),
        ("key7", 1),
        ("key515", 4),
    ];
    for (key, height) in published {
        assert_eq!(layer(key), height, "{key}");
    }
}

/// MST-2: prefixes count bytes.
#[test]
fn prefixes_are_counted_in_bytes() {
    let rows = [("", "abc", 0), ("ab", "abc", 2), ("abcde", "abb", 2), ("abc", "abc\0", 3)];
    for (left, right, length) in rows {
        assert_eq!(common_prefix(left, right), length);
    }
    assert_eq!(common_prefix("é", "è"), 1);
}

/// INV-8, spec 2.5: root of the empty tree, and its block.
#[test]
fn the_empty_tree_has_the_published_root() {
    let (root, blocks) = Tree::new().root_and_blocks();
    assert_eq!(cid_text(&root), "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
    assert_eq!(blocks[&root], [0xa2, 0x61, 0x65, 0x80, 0x61, 0x6c, 0xf6]);
    assert_eq!(CachedTree::new().root(), root);
}

/// Roots that several implementations publish in their tests.
#[test]
fn known_trees_have_their_published_roots() {
    let leaf =
        cid_from_text("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454").unwrap();
    let trees: [(&[&str], &str); 3] = [
        (
            &["com.example.record/3jqfcqzm3fo2j"],
            "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu",
        ),
        (
            &["com.example.record/3jqfcqzm3fx2j"],
            "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai",
        ),
        (
            &[
                "com.example.record/3jqfcqzm3fp2j",
                "com.example.record/3jqfcqzm3fr2j",
                "com.example.record/3jqfcqzm3fs2j",
                "com.example.record/3jqfcqzm3ft2j",
                "com.example.record/3jqfcqzm4fc2j",
            ],
            "bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m",
        ),
    ];
    for (keys, root) in trees {
        let mut tree = Tree::new();
        for key in keys {
            tree.insert(*key, leaf);
        }
        assert_eq!(cid_text(&tree.root()), root, "{keys:?}");
    }
}

/// Both trees agree after every one of many random changes; the proof holds what it must.
#[test]
fn the_cached_tree_agrees_with_the_naive_one() {
    let mut rng = StdRng::seed_from_u64(20_260_101);
    for round in 0..40 {
        let mut naive = Tree::new();
        let mut cached = CachedTree::new();
        for step in 0..60_u64 {
            let key = format!("app.bsky.feed.post/{:03}", rng.random_range(0..80));
            if rng.random_bool(0.6) {
                let value = cid_of_nothing(step);
                assert_eq!(cached.insert(&key, value), naive.insert(&*key, value));
            } else {
                assert_eq!(cached.remove(&key), naive.remove(&key));
            }
            assert_eq!(cached.len(), naive.len());
            assert_eq!(cached.get(&key), naive.get(&key));

            let (root, proof) = cached.root_and_proof(&[key.as_str()]);

            assert_eq!(root, naive.root(), "round {round} step {step}");
            assert_eq!(proof, naive.proof(&[key.as_str()]), "round {round} step {step}");
        }
        assert_eq!(cached.root_and_blocks(), naive.root_and_blocks());
    }
}

/// `at_or_after` and `neighbours` agree with the sorted map.
#[test]
fn neighbours_agree_with_the_sorted_map() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut naive = Tree::new();
    let mut cached = CachedTree::new();
    for step in 0..300_u64 {
        let key = format!("k/{:04}", rng.random_range(0..2000));
        naive.insert(&*key, cid_of_nothing(step));
        cached.insert(&key, cid_of_nothing(step));
    }
    for probe in 0..2000 {
        let probe = format!("k/{probe:04}");
        let before = naive.leaves().range(..probe.clone()).next_back().map(|(key, _)| key.as_str());
        let later = naive.leaves().range(probe.clone()..);
        let after = later.clone().find(|(key, _)| **key != probe).map(|(key, _)| key.as_str());
        assert_eq!(cached.neighbours(&probe), (before, after), "{probe}");
        let first = later.clone().next().map(|(key, value)| (key.clone(), *value));
        assert_eq!(cached.at_or_after(&probe), first);
    }
}

/// MST-7: the proof of several changes leads back to the root before, also after losing or
/// growing layers; without one of its nodes it mostly does not.
#[test]
fn proofs_lead_back_to_the_root_before() {
    let mut rng = StdRng::seed_from_u64(77);
    let mut tree = CachedTree::new();
    let mut number = 0;
    let mut insufficient = 0;
    for _ in 0..400 {
        let before = tree.root();
        let mut changes: Vec<(String, Option<Cid36>, Option<Cid36>)> = Vec::new();
        for _ in 0..rng.random_range(1..5) {
            number += 1;
            let key = format!("app.bsky.feed.like/{:04}", rng.random_range(0..300));
            if changes.iter().any(|(other, ..)| *other == key) {
                continue;
            }
            let value = cid_of_nothing(number);
            let old = tree.get(&key);
            if old.is_some() && rng.random_bool(0.7) {
                tree.remove(&key);
                changes.push((key, None, old));
            } else {
                tree.insert(&key, value);
                changes.push((key, Some(value), old));
            }
        }
        let keys: Vec<&str> = changes.iter().map(|(key, ..)| key.as_str()).collect();
        let (root, proof) = tree.root_and_proof(&keys);
        let undone: Vec<_> =
            changes.iter().map(|(key, after, before)| (key.as_str(), *after, *before)).collect();

        assert_eq!(undo::undo(&root, &proof, &undone), Ok(before), "{changes:?}");

        let victim = *proof.keys().nth(rng.random_range(0..proof.len())).unwrap();
        let mut partial = proof.clone();
        partial.remove(&victim);
        insufficient += u32::from(undo::undo(&root, &partial, &undone) != Ok(before));
    }
    assert!(insufficient > 200, "{insufficient} of 400 spoilt proofs were refused");
}
