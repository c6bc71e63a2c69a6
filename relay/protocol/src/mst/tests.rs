//! What no tree can show, because nobody can make a key for it, and tables of published facts.

use super::*;
use crate::Invalid;

/// MST-1: the published layers.
#[test]
fn layers_count_pairs_of_leading_zero_bits() {
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
    for (key, layer) in published {
        assert_eq!(key_layer(key.as_bytes()), layer, "{key}");
    }
}

/// MST-6, T26: a key of layer 33 would take 2^66 attempts, so its digest stands for it.
#[test]
fn layers_above_32_are_refused() {
    let with_zero_bits = |bits: usize| {
        let mut digest = [u32::MAX; 8];
        digest[..bits / 32].fill(0);
        digest[bits / 32] >>= bits % 32;
        digest_layer(&digest)
    };
    assert_eq!(with_zero_bits(0), 0);
    assert_eq!(with_zero_bits(1), 0);
    assert_eq!(with_zero_bits(9), 4);
    assert_eq!(walk::check_layer_max(with_zero_bits(65)), Ok(()));
    let refused = Err(Invalid::new("a key's layer is too high"));
    assert_eq!(walk::check_layer_max(with_zero_bits(66)), refused);
    assert_eq!(digest_layer(&[0; 8]), 128);
}

/// MST-2: the published prefixes, in bytes.
#[test]
fn prefixes_are_the_published_ones() {
    let published = [
        ("", "", 0),
        ("abc", "abc", 3),
        ("", "abc", 0),
        ("abc", "", 0),
        ("ab", "abc", 2),
        ("abc", "ab", 2),
        ("abcde", "abc", 3),
        ("abc", "abcde", 3),
        ("abcde", "abc1", 3),
        ("abcde", "abb", 2),
        ("abcde", "qbb", 0),
        ("abc", "abc\0", 3),
        ("abc\0", "abc", 3),
        ("é", "è", 1),
        ("app.bsky.feed.post/3k1", "app.bsky.feed.post/3k2", 21),
        ("app.bsky.feed.post/3k1", "app.bsky", 8),
        ("app.bsky", "app.bskx", 7),
        ("app.bsky.feed.po", "app.bsky.feed.post", 16),
    ];
    for (left, right, length) in published {
        assert_eq!(rebuild::common_prefix(left.as_bytes(), right.as_bytes()), length);
    }
}
