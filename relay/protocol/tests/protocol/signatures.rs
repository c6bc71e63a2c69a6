//! KEY-1…5, T11: the published keys and signatures, and agreement with two other libraries.

use data_encoding::{BASE64_NOPAD, HEXLOWER};
use rand::{RngExt, rngs::StdRng};
use relay_protocol::{Curve, VerifyingKey};

use crate::{seed::seeded, vectors::interop_cases};

/// The same operations on both curves, by the libraries of `RustCrypto`.
macro_rules! other_library {
    ($name:ident, $library:ident, $codec:expr) => {
        mod $name {
            use sha2::{Digest as _, Sha256};
            use $library::ecdsa::{
                Signature, SigningKey, VerifyingKey,
                signature::hazmat::{PrehashSigner as _, PrehashVerifier as _},
            };

            pub(super) fn key(bytes: &[u8]) -> Option<SigningKey> {
                SigningKey::from_slice(bytes).ok()
            }

            /// Low S, high S, and the low one in DER.
            pub(super) fn sign(key: &SigningKey, message: &[u8]) -> [Vec<u8>; 3] {
                let signed: Signature = key.sign_prehash(&Sha256::digest(message)).unwrap();
                let low = signed.normalize_s();
                let (r, s) = low.split_scalars();
                let high = Signature::from_scalars(r, -s).unwrap();
                [low.to_vec(), high.to_vec(), low.to_der().as_bytes().to_vec()]
            }

            /// KEY-1 and KEY-2 by this library; the low S it leaves to its caller.
            pub(super) fn verifies(key: &SigningKey, message: &[u8], signature: &[u8]) -> bool {
                Signature::from_slice(signature).is_ok_and(|signature| {
                    let digest = Sha256::digest(message);
                    signature.normalize_s() == signature
                        && key.verifying_key().verify_prehash(&digest, &signature).is_ok()
                })
            }

            pub(super) fn point(key: &SigningKey, compress: bool) -> Vec<u8> {
                key.verifying_key().to_sec1_point(compress).as_bytes().to_vec()
            }

            pub(super) fn is_on_curve(point: &[u8]) -> bool {
                VerifyingKey::from_sec1_bytes(point).is_ok()
            }

            pub(super) fn multikey(point: &[u8]) -> String {
                super::base58(&[&$codec, point].concat())
            }
        }
    };
}

other_library!(k256_library, k256, [0xe7_u8, 0x01]);
other_library!(p256_library, p256, [0x80_u8, 0x24]);

fn base58(bytes: &[u8]) -> String {
    format!("z{}", bs58::encode(bytes).into_string())
}

/// T1, T11: each key in both of its texts, each signature with its verdict.
#[test]
pub(crate) fn published_signatures_get_their_published_verdicts() {
    for vector in interop_cases("crypto/signature-fixtures.json") {
        let field = |name: &str| vector[name].as_str().unwrap();
        let comment = field("comment");
        let multikey = field("publicKeyDid").strip_prefix("did:key:").unwrap();
        let key = VerifyingKey::from_multikey(multikey).unwrap();
        let curve = match field("didDocSuite") {
            "EcdsaSecp256r1VerificationKey2019" => Curve::P256,
            _ => Curve::K256,
        };
        assert_eq!(key.curve(), curve, "{comment}");
        assert_eq!(VerifyingKey::from_legacy(field("publicKeyMultibase"), curve), Ok(key.clone()));

        let message = BASE64_NOPAD.decode(field("messageBase64").as_bytes()).unwrap();
        let signature = BASE64_NOPAD.decode(field("signatureBase64").as_bytes()).unwrap();
        let valid = key.verify(&message, &signature).is_ok();
        assert_eq!(Some(valid), vector["validSignature"].as_bool(), "{comment}");
    }
}

/// T1, KEY-3: the text of a public key follows from the private one.
#[test]
pub(crate) fn published_private_keys_have_their_published_public_keys() {
    for vector in interop_cases("crypto/w3c_didkey_K256.json") {
        let private = vector["privateKeyBytesHex"].as_str().unwrap().as_bytes();
        let private = k256_library::key(&HEXLOWER.decode(private).unwrap()).unwrap();
        assert_public(&k256_library::multikey(&k256_library::point(&private, true)), &vector);
    }
    for vector in interop_cases("crypto/w3c_didkey_P256.json") {
        let private = bs58::decode(vector["privateKeyBytesBase58"].as_str().unwrap()).into_vec();
        let private = p256_library::key(&private.unwrap()).unwrap();
        assert_public(&p256_library::multikey(&p256_library::point(&private, true)), &vector);
    }
}

fn assert_public(multikey: &str, vector: &serde_json::Value) {
    assert_eq!(Some(format!("did:key:{multikey}").as_str()), vector["publicDidKey"].as_str());
    let key = VerifyingKey::from_multikey(multikey);
    assert_eq!(key.map(|key| key.to_multikey()).as_deref(), Ok(multikey));
}

/// A message and a signature of it with at most one thing wrong; the kind repeats every ten rounds.
fn vary(
    round: u32,
    [low, high, der]: [Vec<u8>; 3],
    message: &mut Vec<u8>,
    rng: &mut StdRng,
) -> Vec<u8> {
    let mut signature = low;
    match round % 10 {
        0..3 => {}
        3 => signature = high,
        4 => signature = der,
        5 => signature.truncate(rng.random_range(0..64)),
        6 => signature.push(rng.random()),
        7 => signature[rng.random_range(0..64)] ^= 1 << rng.random_range(0..8),
        8 => message.push(rng.random()),
        _ => signature[if rng.random() { 0..32 } else { 32..64 }].fill(rng.random::<bool>().into()),
    }
    signature
}

macro_rules! agree {
    ($library:ident, $curve:expr, $rng:expr) => {{
        let rng: &mut StdRng = $rng;
        let (mut valid, mut refused) = (0, 0);
        for round in 0..5_000 {
            let mut private: [u8; 32] = rng.random();
            private[0] &= 0x7f; // below the order of either curve
            let private = $library::key(&private).unwrap();
            let mut message = vec![0; rng.random_range(0..300)];
            rng.fill(message.as_mut_slice());
            let signatures = $library::sign(&private, &message);
            let signature = vary(round, signatures, &mut message, rng);

            let point = $library::point(&private, true);
            let mut key = VerifyingKey::from_multikey(&$library::multikey(&point)).unwrap();
            if round % 100 == 1 {
                let other = $library::key(&rng.random::<[u8; 32]>().map(|byte| byte >> 1)).unwrap();
                let text = base58(&$library::point(&other, false));
                let own = key;
                key = VerifyingKey::from_legacy(&text, $curve).unwrap();
                assert_ne!(key, own);
                let multikey = $library::multikey(&$library::point(&other, true));
                assert_eq!(key.to_multikey(), multikey, "the parity of y");
                assert!(key.verify(&message, &signature).is_err(), "another key");
                refused += 1;
                continue;
            }

            let expected = $library::verifies(&private, &message, &signature);
            let found = key.verify(&message, &signature);
            assert_eq!(found.is_ok(), expected, "round {round}: {found:?}");
            if expected { valid += 1 } else { refused += 1 }
        }
        assert!(valid >= 1_400 && refused >= 3_400, "{valid} valid, {refused} refused");
    }};
}

/// KEY-1, KEY-2: 10,000 signatures, of which about 7,000 have one thing wrong: a high S, DER, a
/// wrong length, a changed bit, another message, numbers out of range, another key.
#[test]
fn random_signatures_get_the_verdicts_of_two_other_libraries() {
    let mut rng = seeded("random_signatures_get_the_verdicts_of_two_other_libraries", 3);
    agree!(k256_library, Curve::K256, &mut rng);
    agree!(p256_library, Curve::P256, &mut rng);
}

/// KEY-3, KEY-4: about half of all x coordinates belong to a point, and hardly any pair does.
#[test]
fn random_points_are_keys_when_two_other_libraries_say_so() {
    let mut rng = seeded("random_points_are_keys_when_two_other_libraries_say_so", 4);
    let (mut on, mut off) = (0, 0);
    for round in 0..1_000_u32 {
        let mut point: [u8; 33] = [0; 33];
        rng.fill(point.as_mut_slice());
        point[0] = [2, 3, 2, 3, 0, 4, 6][usize::try_from(round % 7).unwrap()];
        for (multikey, curve, expected) in [
            (k256_library::multikey(&point), Curve::K256, k256_library::is_on_curve(&point)),
            (p256_library::multikey(&point), Curve::P256, p256_library::is_on_curve(&point)),
        ] {
            let found = VerifyingKey::from_multikey(&multikey);
            assert_eq!(found.is_ok(), expected, "{multikey}");
            assert_eq!(VerifyingKey::from_legacy(&base58(&point), curve), found);
            if expected { on += 1 } else { off += 1 }
        }
    }
    assert!(on > 400 && off > 800, "{on} on the curves, {off} not");

    let private = [5; 32];
    let points = [
        (Curve::K256, k256_library::point(&k256_library::key(&private).unwrap(), false)),
        (Curve::P256, p256_library::point(&p256_library::key(&private).unwrap(), false)),
    ];
    for (curve, point) in points {
        assert!(VerifyingKey::from_legacy(&base58(&point), curve).is_ok());
        for bit in 0..64 * 8 {
            let mut moved = point.clone();
            moved[1 + bit / 8] ^= 1 << (bit % 8);
            assert!(VerifyingKey::from_legacy(&base58(&moved), curve).is_err(), "bit {bit}");
        }
    }
}

/// KEY-3: of all texts one character away from a key's, those that are taken are the text of another
/// key, and no shorter or longer one is taken.
#[test]
fn mutated_key_texts_are_refused_or_canonical() {
    for good in [
        "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
        "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
    ] {
        assert!(VerifyingKey::from_multikey(good).is_ok());
        let (mut taken, mut refused) = (0, 0);
        for place in 0..good.len() {
            let (before, after) = (&good[..place], &good[place + 1..]);
            assert!(VerifyingKey::from_multikey(before).is_err(), "{before}");
            for other in (b' '..=b'~').map(char::from) {
                let changed = format!("{before}{other}{after}");
                match VerifyingKey::from_multikey(&changed) {
                    Ok(key) => {
                        assert_eq!(key.to_multikey(), changed);
                        taken += 1;
                    }
                    Err(_) => refused += 1,
                }
                let longer = format!("{good}{other}");
                assert!(VerifyingKey::from_multikey(&longer).is_err(), "{longer}");
            }
        }
        assert!(taken > 500 && refused > 2_000, "{taken} taken, {refused} refused");
    }
}
