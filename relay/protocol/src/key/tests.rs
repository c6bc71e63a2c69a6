//! KEY-1…5 with the keys and signatures that the specification and its vectors publish.

use super::*;

const P256: &str = "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo";
const P256_LEGACY: &str = "zxdM8dSstjrpZaRUwBmDvjGXweKuEMVN95A9oJBFjkWMh";
const K256: &str = "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc";
const K256_LEGACY: &str = "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t";
const UNCOMPRESSED: &str =
    "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR";
const UNCOMPRESSED_MULTIKEY: &str = "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF";
/// `{"hello": "world"}` and its signatures by the two keys above.
const MESSAGE: &[u8] = b"\xa1\x65hello\x65world";
const P256_SIGNATURE: &str = "da f6 4d b0 6d d4 2a fb ce fc 20 e5 ad db f2 65 12 12 38 5c a5 8a 70 61 d0 9b a9 73 a2 9c 5a 82 \
    56 13 11 e9 b4 27 dd b8 f9 5e 0d b1 b7 ae 4a 37 61 99 e7 f4 bc 34 22 3a 62 c5 59 9e c4 90 de 82";
const K256_SIGNATURE: &str = "e5 6a 5d 22 e1 14 51 f5 54 61 aa 33 b2 2f 06 d0 1d dc 58 ed 3d 72 06 5b 20 8c 20 d6 dd 98 29 d5 \
    27 fc 51 33 9c e9 dd b3 3f ea 82 26 1b f3 dc f0 c5 80 9b 07 bd 5f ef 24 0a e4 ba fb 35 ab 1f a0";

fn hex(text: &str) -> Vec<u8> {
    text.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn base58(bytes: &[u8]) -> String {
    format!("z{}", bs58::encode(bytes).into_string())
}

/// KEY-3, KEY-4, KEY-5.
#[test]
fn the_published_keys_have_one_stored_form_whatever_their_text() {
    for (multikey, legacy, curve) in [
        (P256, P256_LEGACY, Curve::P256),
        (K256, K256_LEGACY, Curve::K256),
        (UNCOMPRESSED_MULTIKEY, UNCOMPRESSED, Curve::K256),
    ] {
        let key = VerifyingKey::from_multikey(multikey).unwrap();

        assert_eq!(key.curve(), curve);
        assert_eq!(key.to_multikey(), multikey);
        assert_eq!(VerifyingKey::from_legacy(legacy, curve).unwrap(), key);
        assert_eq!(VerifyingKey::from_bytes(&key.to_bytes()).unwrap(), key);
        assert_eq!(format!("{key:?}"), format!("VerifyingKey({multikey})"));
    }
}

/// KEY-3: the text is refused for its first letter, alphabet, length, codec or point.
#[test]
fn key_text_of_another_form_is_refused() {
    let [_tag, point @ ..] = VerifyingKey::from_multikey(K256).unwrap().to_bytes();
    let with = |prefix: &[u8], rest: &[u8]| base58(&[prefix, rest].concat());
    assert!(VerifyingKey::from_multikey(&with(&[0xe7, 1], &point)).is_ok());

    for (text, what) in [
        (String::new(), "the key is not base58btc multibase"),
        (K256.to_uppercase(), "the key is not base58btc multibase"),
        (format!("{K256}0"), "the key is not base58"),
        (format!("{K256}é"), "the key is not base58"),
        (with(&[0xe7, 1], point.split_last().unwrap().1), "the key has a wrong length"),
        (with(&[0xe7, 1], &[&point[..], &[0]].concat()), "the key has a wrong length"),
        (with(&[0xe7, 1], &[0; 90]), "the key has a wrong length"),
        (format!("z{}", "1".repeat(250)), "the key has a wrong length"),
        // Told by its length alone: reading base58 takes the square of it.
        ("0".repeat(251), "the key has a wrong length"),
        (with(&[0xed, 1], &point), "the key has an unknown codec"),
        (with(&[0xe7, 1], &[&[4], &point[1..]].concat()), "the key is not a point of its curve"),
        (with(&[0xe7, 1], &[0; 33]), "the key is not a point of its curve"),
        (
            with(&[0xe7, 1], &[&[2], &[0xff; 32][..]].concat()),
            "the key is not a point of its curve",
        ),
        (
            with(&[0x80, 0x24], &[&[2], &[0xff; 32][..]].concat()),
            "the key is not a point of its curve",
        ),
    ] {
        assert_eq!(VerifyingKey::from_multikey(&text).unwrap_err().what, what, "{text}");
    }
}

/// KEY-4: a legacy point may be compressed or not, and must be on the curve of its type.
#[test]
fn legacy_points_off_their_curve_are_refused() {
    let good = bs58::decode(UNCOMPRESSED.trim_start_matches('z')).into_vec().unwrap();
    assert!(VerifyingKey::from_legacy(&base58(&good), Curve::K256).is_ok());

    let mut off_curve = good.clone();
    *off_curve.last_mut().unwrap() ^= 2;
    let mut hybrid = good.clone();
    hybrid[0] = 6 | (good[64] & 1);
    for bytes in [off_curve, hybrid, good[..64].to_vec(), vec![0], vec![4; 65]] {
        for curve in [Curve::K256, Curve::P256] {
            assert!(VerifyingKey::from_legacy(&base58(&bytes), curve).is_err());
        }
    }
    assert!(VerifyingKey::from_legacy(&base58(&good), Curve::P256).is_err());
    assert!(VerifyingKey::from_legacy(P256, Curve::P256).is_err(), "a Multikey is not legacy");
}

#[test]
fn stored_keys_of_an_unknown_curve_are_refused() {
    let good = VerifyingKey::from_multikey(P256).unwrap().to_bytes();
    for tag in [0, 3, 255] {
        let mut bytes = good;
        bytes[0] = tag;
        assert!(VerifyingKey::from_bytes(&bytes).is_err());
    }
    assert!(VerifyingKey::from_bytes(&good).is_ok());
}

/// KEY-1, KEY-2: the bounds of r and s on both curves.
#[test]
fn signatures_are_refused_at_the_first_value_out_of_range() {
    for (key, signature) in [(P256, P256_SIGNATURE), (K256, K256_SIGNATURE)] {
        let key = VerifyingKey::from_multikey(key).unwrap();
        let (order, half_order) = key.curve().order();
        let good = hex(signature);
        assert_eq!(key.verify(MESSAGE, &good), Ok(()));
        assert_eq!(key.verify(b"another", &good), Err(WRONG_SIGNATURE));

        let form = |r: &[u8], s: &[u8]| {
            check_signature_form(key.curve(), &[r, s].concat()).map_err(|invalid| invalid.what)
        };
        let one_more = |number: &[u8; 32]| {
            let mut more = *number;
            more[31] += 1;
            more
        };
        let one = one_more(&[0; 32]);
        assert_eq!(form(&one, half_order), Ok(()));
        assert_eq!(form(&one, &one_more(half_order)), Err("the signature has a high S"));
        assert_eq!(form(&one, &[0; 32]), Err("the signature's numbers are out of range"));
        assert_eq!(form(&[0; 32], &one), Err("the signature's numbers are out of range"));
        assert_eq!(form(order, &one), Err("the signature's numbers are out of range"));
        assert_eq!(form(&one, &one[1..]), Err("the signature is not 64 bytes"));
        assert_eq!(form(&one, &[&one[..], &[0]].concat()), Err("the signature is not 64 bytes"));
        assert_eq!(form(&[], &[]), Err("the signature is not 64 bytes"));
    }
}

/// KEY-2: the half of an odd number, rounded down, is what twice and one gives back.
#[test]
fn half_orders_are_half_of_the_orders() {
    for (order, half_order) in [Curve::P256.order(), Curve::K256.order()] {
        let mut sum = [0; 32];
        let mut carry = 1_u16; // order = 2 * half + 1
        for i in (0..32).rev() {
            let digit = 2 * u16::from(half_order[i]) + carry;
            sum[i] = u8::try_from(digit & 0xff).unwrap();
            carry = digit >> 8;
        }
        assert_eq!((&sum, carry), (order, 0));
    }
}
